// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"net"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Annotations of a sandbox that say where its pod is. Without an endpoint the shim makes a netns for it.
const (
	endpointAnnotation  = "vzfwd.io/endpoint"  // a VM's dialer: unix:///PATH, vsock://CID[:PORT], hvsock:///PATH[:PORT]
	handleAnnotation    = "vzfwd.io/handle"    // the pod's name there
	containerAnnotation = "vzfwd.io/container" // a container there with a netns of its own
	addressAnnotation   = "vzfwd.io/address"   // with --plain: the IP address to connect to
)

// A Sandbox is what the shim knows of a pod sandbox, as it is stored; not changed once it is.
type Sandbox struct {
	ID             string
	Metadata       *cri.PodSandboxMetadata
	Labels         map[string]string
	Annotations    map[string]string
	RuntimeHandler string
	HostNetwork    bool
	CreatedAt      int64 // nanoseconds since 1970
	Stopped        bool
	Netns          string // the file of the netns that the shim made, or empty
}

// checkAnnotations refuses what reaches further than a VM. The author of a pod writes its annotations, and exec:, netns: and
// pid: would hand them a shell on the node or other pods' ports; with an address there is neither a VM nor a netns of the
// pod's own, and only the plain way knows what to do with it.
func checkAnnotations(annotations map[string]string, plain bool) error {
	endpoint, ok := annotations[endpointAnnotation]
	if ok && !strings.HasPrefix(endpoint, "unix:///") && !strings.HasPrefix(endpoint, "vsock://") &&
		!strings.HasPrefix(endpoint, "hvsock:///") {
		return failure(invalid, "annotation %s: not a unix, vsock or hvsock endpoint: %q", endpointAnnotation, endpoint)
	}
	address, ok := annotations[addressAnnotation]
	if ok && !plain {
		return failure(invalid, "annotation %s: is for --plain only", addressAnnotation)
	}
	if ok && net.ParseIP(address) == nil {
		return failure(invalid, "annotation %s: not an IP address: %q", addressAnnotation, address)
	}
	return nil
}

// ownsNetns tells whether the sandbox's pod is in a netns that the shim makes.
func (s *Sandbox) ownsNetns() bool {
	return !s.HostNetwork && s.Annotations[endpointAnnotation] == "" && s.Annotations[addressAnnotation] == ""
}

// pod is where the sandbox's ports are. Without an endpoint, which no registry takes, it is for the plain way only: the
// host's netns is for sandboxes that were given it.
func (s *Sandbox) pod() Pod {
	pod := Pod{
		Name:      s.ID,
		Endpoint:  s.Annotations[endpointAnnotation],
		Handle:    s.Annotations[handleAnnotation],
		Container: s.Annotations[containerAnnotation],
		Address:   s.Annotations[addressAnnotation],
	}
	switch {
	case pod.Endpoint != "":
	case s.Netns != "":
		pod.Endpoint = "netns:" + s.Netns
	case s.HostNetwork:
		pod.Endpoint = "netns:" + hostNetns
	}
	return pod
}

// state is looked up anew each time: after a reboot the netns is gone, whatever the file says.
func (s *Sandbox) state() cri.PodSandboxState {
	if s.Stopped || s.Netns != "" && !isNetns(s.Netns) {
		return cri.PodSandboxState_SANDBOX_NOTREADY
	}
	return cri.PodSandboxState_SANDBOX_READY
}

// metadataKey is the same for sandboxes with the same metadata, and looks like no sandbox's ID.
func (s *Sandbox) metadataKey() string {
	m := s.Metadata
	return fmt.Sprintf("%q %q %q %d", m.GetNamespace(), m.GetName(), m.GetUid(), m.GetAttempt())
}

// matches applies ListPodSandbox's filter.
func (s *Sandbox) matches(filter *cri.PodSandboxFilter) bool {
	if !strings.HasPrefix(s.ID, filter.GetId()) {
		return false
	}
	if filter.GetState() != nil && filter.State.State != s.state() {
		return false
	}
	for label, value := range filter.GetLabelSelector() {
		if s.Labels[label] != value {
			return false
		}
	}
	return true
}

func (s *Sandbox) summary() *cri.PodSandbox {
	return &cri.PodSandbox{
		Id:             s.ID,
		Metadata:       s.Metadata,
		State:          s.state(),
		CreatedAt:      s.CreatedAt,
		Labels:         s.Labels,
		Annotations:    s.Annotations,
		RuntimeHandler: s.RuntimeHandler,
	}
}

func (s *Sandbox) status() *cri.PodSandboxStatus {
	mode := cri.NamespaceMode_POD
	if s.HostNetwork {
		mode = cri.NamespaceMode_NODE
	}
	return &cri.PodSandboxStatus{
		Id:             s.ID,
		Metadata:       s.Metadata,
		State:          s.state(),
		CreatedAt:      s.CreatedAt,
		Labels:         s.Labels,
		Annotations:    s.Annotations,
		RuntimeHandler: s.RuntimeHandler,
		Network:        &cri.PodSandboxNetworkStatus{},
		Linux: &cri.LinuxPodSandboxStatus{
			Namespaces: &cri.Namespace{Options: &cri.NamespaceOption{Network: mode}},
		},
	}
}
