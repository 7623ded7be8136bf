// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// startGuest starts a dialer as a VM has one, on a Unix socket, and returns what kills it.
func startGuest(t *testing.T, path, socket string, args ...string) (kill func()) {
	t.Helper()
	cmd := exec.Command(path, append([]string{"--listen", "unix://" + socket}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	t.Cleanup(kill)
	eventually(t, "the dialer listens", func() bool { _, err := os.Stat(socket); return err == nil })
	return kill
}

// A session outlives a restart of the VM's dialer, as long as nobody connects in between; who does is told.
func TestGuestRestarted(t *testing.T) {
	vzfwd, guest := program(t, "VZFWD"), program(t, "VZFWD_GUEST")
	socket := filepath.Join(t.TempDir(), "guest.sock")
	kill := startGuest(t, guest, socket, "--pod-netns", hostNetns)
	defer func() { kill() }()
	s := startShim(t, options{way: "dial", vzfwd: vzfwd})
	sandbox := s.runSandbox(t, config("vm", map[string]string{endpointAnnotation: "unix://" + socket}))
	port := server(t, echo)

	k := s.openSession(t, sandbox)
	exchange(t, k, port)
	_, told := k.forward(t, closedPort(t))
	expect(t, told, "")
	exchange(t, k, port)

	open, told := k.forward(t, server(t, echo))
	open.Write([]byte("x"))
	open.Read(make([]byte, 1)) // connected
	kill()
	expect(t, told, "") // the link was cut, and that is one connection's matter
	os.Remove(socket)
	kill = startGuest(t, guest, socket, "--pod-netns", hostNetns)
	exchange(t, k, port)

	kill()
	_, told = k.forward(t, port)
	expect(t, told, "nobody listens")
}

// Handle and container of the annotations are those of the dialer, and their lack ends the session.
func TestGuestNames(t *testing.T) {
	vzfwd, guest := program(t, "VZFWD"), program(t, "VZFWD_GUEST")
	socket := filepath.Join(t.TempDir(), "guest.sock")
	startGuest(t, guest, socket, "--netns", "web="+hostNetns, "--netns", "sidecar="+hostNetns)
	s := startShim(t, options{way: "dial", vzfwd: vzfwd})
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
		sandbox := s.runSandbox(t, config("vm-"+test.handle+test.container, annotations))
		k := s.openSession(t, sandbox)
		if test.told == "" {
			exchange(t, k, port)
			continue
		}
		_, told := k.forward(t, port)
		expect(t, told, test.told)
	}
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
