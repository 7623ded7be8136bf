// SPDX-License-Identifier: MIT

package main

import (
	"path/filepath"
	"strings"
	"testing"

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

// Annotations are the pod's author's, and must not lead to the host's shell or netns.
func TestAnnotations(t *testing.T) {
	s := startShim(t, options{plain: true})
	for _, endpoint := range []string{"exec:id", "netns:/proc/1/ns/net", "pid:1", "fd:3", "unix:relative", "", "web"} {
		_, err := s.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{
			Config: config("bad", map[string]string{endpointAnnotation: endpoint})})
		if err == nil || !strings.Contains(err.Error(), "InvalidArgument") {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	_, err := s.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{
		Config: config("bad", map[string]string{addressAnnotation: "example.com"})})
	if err == nil || !strings.Contains(err.Error(), "InvalidArgument") {
		t.Error(err)
	}
}
