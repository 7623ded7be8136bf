// SPDX-License-Identifier: MIT

// The steps of critest's port forwarding specs (cri-tools, pkg/validate/streaming.go and streaming_linux.go), rebuilt with
// the libraries that they use: cri-tools itself is no module that can be built everywhere. Theirs have a container for the
// web server, which the shim doesn't run; here it is this process that listens in the sandbox's netns.
//
// $CONTAINER_RUNTIME_ENDPOINT is the runtime; without it there is nothing to test.
package critest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	cri "k8s.io/cri-client/pkg"

	"vzfwd/tests/kubernetes/forwarding"
)

const (
	page    = "<title>Welcome!</title>"
	timeout = 10 * time.Second
)

func connect(t *testing.T) internalapi.RuntimeService {
	endpoint := os.Getenv("CONTAINER_RUNTIME_ENDPOINT")
	if endpoint == "" {
		t.Skip("needs $CONTAINER_RUNTIME_ENDPOINT")
	}
	service, err := cri.NewRemoteRuntimeService(t.Context(), endpoint, timeout, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// runSandbox makes a sandbox with a port mapping to containerPort, which is stopped and removed at the test's end.
func runSandbox(t *testing.T, service internalapi.RuntimeService, mode runtimeapi.NamespaceMode, containerPort int) string {
	config := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: strings.ToLower(t.Name()), Namespace: "critest", Uid: t.Name()},
		Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Network: mode}}},
		PortMappings: []*runtimeapi.PortMapping{{ContainerPort: int32(containerPort)}},
	}
	id, err := service.RunPodSandbox(t.Context(), config, "")
	if err != nil {
		t.Fatal("RunPodSandbox:", err)
	}
	t.Cleanup(func() {
		if err := service.StopPodSandbox(context.Background(), id); err != nil {
			t.Error("StopPodSandbox:", err)
		}
		if err := service.RemovePodSandbox(context.Background(), id); err != nil {
			t.Error("RemovePodSandbox:", err)
		}
		request := &runtimeapi.PortForwardRequest{PodSandboxId: id}
		if _, err := service.PortForward(context.Background(), request); status.Code(err) != codes.NotFound {
			t.Error("PortForward of a removed sandbox:", err)
		}
	})
	return id
}

// netnsOf reads the verbose status for the file of the sandbox's netns.
func netnsOf(t *testing.T, service internalapi.RuntimeService, id string) string {
	answer, err := service.PodSandboxStatus(t.Context(), id, true)
	if err != nil {
		t.Fatal("PodSandboxStatus:", err)
	}
	var pod struct{ Endpoint string }
	if err := json.Unmarshal([]byte(answer.Info["pod"]), &pod); err != nil {
		t.Fatal(err)
	}
	path, found := strings.CutPrefix(pod.Endpoint, "netns:")
	if !found {
		t.Fatal("not in a netns:", pod.Endpoint)
	}
	return path
}

// serve listens in the netns and serves the page until the test ends.
func serve(t *testing.T, netns string, port int) {
	type result struct {
		listener net.Listener
		err      error
	}
	made := make(chan result)
	go func() {
		// The thread is not unlocked, so it ends with the goroutine, and its netns with it.
		runtime.LockOSThread()
		file, err := os.Open(netns)
		if err == nil {
			defer file.Close()
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			made <- result{nil, err}
			return
		}
		listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		made <- result{listener, err}
	}()
	got := <-made
	if got.err != nil {
		t.Fatal(got.err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, page)
	})}
	go server.Serve(got.listener)
	t.Cleanup(func() { server.Close() })
}

// checkForwarding forwards a free local port to containerPort and fetches the page from there.
func checkForwarding(t *testing.T, service internalapi.RuntimeService, id string, containerPort int) {
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	forwarder, err := forwarding.New(ctx, service, "spdy", id, []string{fmt.Sprintf(":%d", containerPort)}, ready,
		io.Discard)
	if err != nil {
		t.Fatal("PortForward:", err)
	}
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal("ForwardPorts:", err)
	case <-time.After(timeout):
		t.Fatal("the port does not listen")
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: timeout}
	answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); string(body) != page || err != nil {
		t.Fatalf("got %q, %v", body, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error("ForwardPorts:", err)
	}
}

// "runtime should support portforward"
func TestPortForward(t *testing.T) {
	service := connect(t)
	id := runSandbox(t, service, runtimeapi.NamespaceMode_POD, 80)
	serve(t, netnsOf(t, service, id), 80)
	checkForwarding(t, service, id, 80)
}

// "runtime should support portforward in host network"
func TestPortForwardInHostNetwork(t *testing.T) {
	service := connect(t)
	id := runSandbox(t, service, runtimeapi.NamespaceMode_NODE, 12003)
	serve(t, "/proc/self/ns/net", 12003)
	checkForwarding(t, service, id, 12003)
}
