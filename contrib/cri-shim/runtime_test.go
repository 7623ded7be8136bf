// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func expectCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Fatalf("%v, not %s", err, want)
	}
}

func (s *shim) list(t *testing.T, filter *cri.PodSandboxFilter) (ids []string) {
	t.Helper()
	resp := must(s.ListPodSandbox(t.Context(), &cri.ListPodSandboxRequest{Filter: filter}))(t)
	for _, item := range resp.Items {
		ids = append(ids, item.Id)
	}
	return ids
}

func (s *shim) state(t *testing.T, id string) cri.PodSandboxState {
	t.Helper()
	return must(s.PodSandboxStatus(t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: id}))(t).Status.State
}

// registered lists the pods that vzfwd knows.
func registered(t *testing.T, vzfwd string) string {
	t.Helper()
	return string(must(exec.Command(vzfwd, "pod", "list").Output())(t))
}

// serverIn is an echo server on 127.0.0.1 of a netns.
func serverIn(t *testing.T, netns string) (port int) {
	t.Helper()
	made := make(chan net.Listener)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		defer close(made)
		file, err := os.Open(netns)
		if err != nil {
			return
		}
		defer file.Close()
		if err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		if listener, err := net.Listen("tcp4", "127.0.0.1:0"); err == nil {
			made <- listener
		}
	}()
	listener := <-made
	if listener == nil {
		t.Fatal("no server in", netns)
	}
	return serve(t, listener, echo)
}

// The life of a sandbox with a netns of the shim's: made with lo up, registered, kept over a restart of the shim, gone.
func TestLife(t *testing.T) {
	vzfwd := program(t, "VZFWD")
	if os.Getuid() != 0 {
		t.Skip("makes network namespaces, so it wants root")
	}
	s := startShim(t, options{way: "dial", vzfwd: vzfwd})
	pod := config("web", map[string]string{})
	pod.Labels = map[string]string{"app": "web"}
	id := s.runSandbox(t, pod)
	netns := filepath.Join(s.options.stateDir, "netns", id)
	if !strings.Contains(registered(t, vzfwd), id) {
		t.Fatal("the pod is not registered")
	}
	exchange(t, s.openSession(t, id), serverIn(t, netns))
	_, err := s.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: pod})
	expectCode(t, err, codes.AlreadyExists)

	other := s.runSandbox(t, config("other", nil))
	for _, test := range []struct {
		filter *cri.PodSandboxFilter
		want   string
	}{
		{nil, other + " " + id},
		{&cri.PodSandboxFilter{Id: id[:10]}, id},
		{&cri.PodSandboxFilter{LabelSelector: map[string]string{"app": "web"}}, id},
		{&cri.PodSandboxFilter{State: &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_NOTREADY}}, ""},
	} {
		if got := strings.Join(s.list(t, test.filter), " "); got != test.want {
			t.Fatalf("%v lists %q, not %q", test.filter, got, test.want)
		}
	}

	s.end()
	s = restartShim(t, s.options)
	if len(s.list(t, nil)) != 2 || s.state(t, id[:12]) != cri.PodSandboxState_SANDBOX_READY {
		t.Fatal("not everything survived the restart")
	}
	for range 2 { // stopping is idempotent
		must(s.StopPodSandbox(t.Context(), &cri.StopPodSandboxRequest{PodSandboxId: id}))(t)
	}
	if s.state(t, id) != cri.PodSandboxState_SANDBOX_NOTREADY || strings.Contains(registered(t, vzfwd), id) {
		t.Fatal("not stopped")
	}
	if _, err = os.Stat(netns); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("the netns is still there:", err)
	}
	_, err = s.PortForward(t.Context(), &cri.PortForwardRequest{PodSandboxId: id})
	expectCode(t, err, codes.FailedPrecondition)

	again := s.runSandbox(t, pod) // the pod is restarted: another sandbox
	for range 2 {
		must(s.RemovePodSandbox(t.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: id}))(t)
	}
	_, err = s.PortForward(t.Context(), &cri.PortForwardRequest{PodSandboxId: id})
	expectCode(t, err, codes.NotFound)
	_, err = s.PodSandboxStatus(t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: id})
	expectCode(t, err, codes.NotFound)
	for _, id := range []string{again, other} {
		must(s.RemovePodSandbox(t.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: id}))(t)
	}
	left := must(filepath.Glob(filepath.Join(s.options.stateDir, "*")))(t)
	if len(left) != 2 { // the lock and the folder netns
		t.Fatal("left behind:", left)
	}
	if left = must(filepath.Glob(filepath.Join(s.options.stateDir, "netns", "*")))(t); len(left) != 0 {
		t.Fatal("left behind:", left)
	}
}

// A netns that is gone, as after a reboot, is a sandbox that is not ready.
func TestNetnsGone(t *testing.T) {
	vzfwd := program(t, "VZFWD")
	if os.Getuid() != 0 {
		t.Skip("makes network namespaces, so it wants root")
	}
	s := startShim(t, options{way: "dial", vzfwd: vzfwd})
	id := s.runSandbox(t, config("web", map[string]string{}))
	k := s.openSession(t, id)
	if err := unix.Unmount(filepath.Join(s.options.stateDir, "netns", id), unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if s.state(t, id) != cri.PodSandboxState_SANDBOX_NOTREADY {
		t.Fatal("ready, without a netns")
	}
	_, told := k.forward(t, 80)
	expect(t, told, "not running")
	must(s.RemovePodSandbox(t.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: id}))(t)
}

// A pod that cannot be registered is no sandbox, and leaves no netns.
func TestRunFails(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("makes network namespaces, so it wants root")
	}
	s := startShim(t, options{way: "serve", serveSocket: "/nonexistent/vzfwd.sock"})
	_, err := s.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: config("web", map[string]string{})})
	expectCode(t, err, codes.Unavailable)
	left := must(filepath.Glob(filepath.Join(s.options.stateDir, "netns", "*")))(t)
	if len(left) != 0 || len(s.list(t, nil)) != 0 {
		t.Fatal("left behind:", left, s.list(t, nil))
	}
}

// A registry that does not answer holds up the sandbox that it was asked about, and no other.
func TestSlowRegistry(t *testing.T) {
	f := startFakeServe(t)
	s := startShim(t, options{way: "serve", serveSocket: f.socket})
	web := s.runSandbox(t, config("web", nil))
	slow := config("slow", map[string]string{endpointAnnotation: "vsock://3"})
	port := server(t, echo)
	others := func() {
		t.Helper()
		if got := s.list(t, nil); len(got) == 0 || s.state(t, web) != cri.PodSandboxState_SANDBOX_READY {
			t.Fatal(got)
		}
		exchange(t, s.openSession(t, web), port)
		other := s.runSandbox(t, config("other", nil))
		must(s.StopPodSandbox(t.Context(), &cri.StopPodSandboxRequest{PodSandboxId: other}))(t)
		must(s.RemovePodSandbox(t.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: other}))(t)
	}

	// One pod is run three times at once: one of them asks the registry, and two wait and find it there.
	gate, open := f.hold(t, "vsock://3")
	runs := make(chan error, 3)
	for range cap(runs) {
		go func() {
			_, err := s.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: slow})
			runs <- err
		}()
	}
	pending(t, gate, runs, others)
	open()
	var made, exist int
	for range cap(runs) {
		switch err := <-runs; status.Code(err) {
		case codes.OK:
			made++
		case codes.AlreadyExists:
			exist++
		default:
			t.Error(err)
		}
	}
	if made != 1 || exist != 2 {
		t.Fatalf("%d made, %d exist", made, exist)
	}

	// It is stopped and removed at once, and run again meanwhile, in another VM.
	id := s.list(t, nil)[0]
	gate, open = f.hold(t, "vsock://3")
	ends := make(chan error, 4)
	for range cap(ends) / 2 {
		go func() {
			_, err := s.StopPodSandbox(t.Context(), &cri.StopPodSandboxRequest{PodSandboxId: id})
			ends <- err
		}()
		go func() {
			_, err := s.RemovePodSandbox(t.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: id})
			ends <- err
		}()
	}
	var again string
	pending(t, gate, ends, func() {
		others()
		if s.state(t, id) != cri.PodSandboxState_SANDBOX_NOTREADY {
			t.Fatal("still ready")
		}
		_, err := s.PortForward(t.Context(), &cri.PortForwardRequest{PodSandboxId: id})
		expectCode(t, err, codes.FailedPrecondition)
		slow.Annotations[endpointAnnotation] = "vsock://4"
		again = s.runSandbox(t, slow)
	})
	open()
	for range cap(ends) {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	if got := s.list(t, nil); strings.Join(got, " ") != again+" "+web {
		t.Fatal("left:", got)
	}
	if f.endpoint(id) != "" || f.endpoint(again) != "vsock://4" {
		t.Fatal("not registered as it should be")
	}
}

// pending runs do while one of several calls is held up at the gate; none of them may have ended by then.
func pending(t *testing.T, g *gate, calls <-chan error, do func()) {
	t.Helper()
	eventually(t, "a call at the gate", func() bool { return g.held.Load() > 0 })
	do()
	select {
	case err := <-calls:
		t.Fatal("one has ended: ", err)
	default:
	}
	if held := g.held.Load(); held != 1 {
		t.Fatalf("%d calls at the gate", held)
	}
}

// A caller that is gone waits for nothing.
func TestClaims(t *testing.T) {
	var claims Claims
	release := must(claims.take(t.Context(), "a"))(t)
	must(claims.take(t.Context(), "b"))(t)()
	gone, leave := context.WithCancel(t.Context())
	leave()
	_, err := claims.take(gone, "a")
	expectCode(t, err, codes.Canceled)
	release()
	must(claims.take(t.Context(), "a"))(t)()
	if len(claims.held) != 0 {
		t.Fatal("still held:", claims.held)
	}
}

func TestUnimplemented(t *testing.T) {
	s := startShim(t, options{plain: true})
	_, err := s.ListContainers(t.Context(), &cri.ListContainersRequest{})
	expectCode(t, err, codes.Unimplemented)
	_, err = s.Exec(t.Context(), &cri.ExecRequest{ContainerId: "x", Stdout: true})
	expectCode(t, err, codes.Unimplemented)
}

// The socket is private, a dead one is replaced, a live one and its state are not.
func TestSocket(t *testing.T) {
	s := startShim(t, options{plain: true})
	path := strings.TrimPrefix(s.options.listen, "unix://")
	if mode := must(os.Stat(path))(t).Mode().Perm(); mode != 0o600 {
		t.Fatalf("mode %o", mode)
	}
	second := s.options
	if err := run(t.Context(), second); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatal("a second shim with this state: ", err)
	}
	second.stateDir = t.TempDir()
	if err := run(t.Context(), second); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatal("a second shim on this socket: ", err)
	}
	s.stop()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("the socket is still there:", err)
	}
	dead := must(net.Listen("unix", path))(t)
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	restartShim(t, s.options).stop()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), s.options); err == nil {
		t.Fatal("replaced what is no socket")
	}
}

func TestStoreRefuses(t *testing.T) {
	for name, text := range map[string]string{"ab": "{", "cd": `{"ID":"ef"}`, "gh": ""} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openStore(dir); err == nil || !strings.Contains(err.Error(), name+".json") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
