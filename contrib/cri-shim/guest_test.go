// SPDX-License-Identifier: MIT

package main

import (
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// vmWays are the ways that lead into a VM.
func vmWays(t *testing.T, test func(t *testing.T, s *shim)) {
	for _, name := range []string{"dial", "serve"} {
		t.Run(name, func(t *testing.T) { test(t, startShim(t, ways[name](t))) })
	}
}

// A session outlives a restart of the VM's dialer, as long as nobody connects in between; who does is told.
func TestGuestRestarted(t *testing.T) {
	vmWays(t, func(t *testing.T, s *shim) {
		socket := filepath.Join(t.TempDir(), "guest.sock")
		kill := startGuest(t, socket, "--pod-netns", hostNetns)
		sandbox := s.runSandbox(t, config("vm", map[string]string{endpointAnnotation: "unix://" + socket}))
		port := server(t, echo)

		k := s.openSession(t, sandbox)
		exchange(t, k, port)
		_, told := k.forward(t, closedPort(t))
		expect(t, told, "")
		exchange(t, k, port)

		open, told := k.forward(t, port)
		open.Write([]byte("x"))
		open.Read(make([]byte, 1)) // connected
		kill()
		open.Read(make([]byte, 1)) // the end
		open.Reset()
		expect(t, told, "") // the link was cut, and that is one connection's matter
		kill = startGuest(t, socket, "--pod-netns", hostNetns)
		exchange(t, k, port)

		kill()
		_, told = k.forward(t, port)
		expect(t, told, "nobody listens")
	})
}

// Handle and container of the annotations are those of the dialer, and their lack ends the session.
func TestGuestNames(t *testing.T) {
	vmWays(t, func(t *testing.T, s *shim) {
		socket := filepath.Join(t.TempDir(), "guest.sock")
		startGuest(t, socket, "--netns", "web="+hostNetns, "--netns", "sidecar="+hostNetns)
		port := server(t, echo)
		for _, test := range []struct{ handle, container, told string }{
			{"web", "", ""},
			{"web", "sidecar", ""},
			{"other", "", "other"},
			{"web", "other", "other"},
		} {
			annotations := map[string]string{endpointAnnotation: "unix://" + socket, handleAnnotation: test.handle}
			if test.container != "" {
				annotations[containerAnnotation] = test.container
			}
			k := s.openSession(t, s.runSandbox(t, config("vm-"+test.handle+test.container, annotations)))
			if test.told == "" {
				exchange(t, k, port)
				continue
			}
			_, told := k.forward(t, port)
			expect(t, told, test.told)
		}
	})
}

// Annotations are the pod's author's, and must not lead to the host's shell or netns. An address is for the plain way.
func TestAnnotations(t *testing.T) {
	plain := startShim(t, options{plain: true})
	for _, endpoint := range []string{"exec:id", "netns:/proc/1/ns/net", "pid:1", "fd:3", "unix:relative", "", "web"} {
		refuse(t, plain, map[string]string{endpointAnnotation: endpoint})
	}
	refuse(t, plain, map[string]string{addressAnnotation: "example.com"})
	for _, way := range []options{{way: "dial", vzfwd: "true"}, {way: "serve", serveSocket: startFakeServe(t).socket}} {
		s := startShim(t, way)
		for _, address := range []string{"127.0.0.1", "example.com", ""} {
			refuse(t, s, map[string]string{addressAnnotation: address})
		}
		refuse(t, s, map[string]string{addressAnnotation: "127.0.0.1", endpointAnnotation: "vsock://3"})
	}
}

func refuse(t *testing.T, s *shim, annotations map[string]string) {
	t.Helper()
	_, err := s.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: config("bad", annotations)})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("%q: %v", annotations, err)
	}
}

// Only a sandbox that was given the host's netns is in it, whatever a file of the store says.
func TestHostNetns(t *testing.T) {
	host := "netns:" + hostNetns
	for endpoint, sandbox := range map[string]*Sandbox{
		host:        {HostNetwork: true},
		"netns:/x":  {Netns: "/x"},
		"vsock://3": {HostNetwork: true, Annotations: map[string]string{endpointAnnotation: "vsock://3"}},
		"":          {Annotations: map[string]string{addressAnnotation: "127.0.0.1"}},
	} {
		if got := sandbox.pod().Endpoint; got != endpoint {
			t.Errorf("%+v is at %q, not %q", sandbox, got, endpoint)
		}
	}
}
