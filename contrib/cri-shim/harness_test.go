// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// patience is how long a test waits for what has to happen soon.
const patience = 20 * time.Second

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain waited for: %s", what)
		}
	}
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// program is a program that the environment names, and without which the test is skipped.
func program(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("$%s is not set", variable)
	}
	return must(filepath.Abs(path))(t)
}

// isolate gives the test a registry of its own.
func isolate(t *testing.T) {
	if variable := "VZFWD_PODS_DIR"; !strings.HasPrefix(os.Getenv(variable), os.TempDir()) {
		t.Setenv(variable, filepath.Join(t.TempDir(), "pods"))
	}
}

// startServer starts a program that makes a socket, and returns what kills it.
func startServer(t *testing.T, socket, path string, args ...string) (kill func()) {
	t.Helper()
	isolate(t)
	cmd := exec.Command(path, args...)
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
	eventually(t, "it listens", func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return kill
}

// startServe starts `vzfwd serve` and returns its socket.
func startServe(t *testing.T) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "vzfwd.sock")
	startServer(t, socket, program(t, "VZFWD"), "serve", "--socket", socket)
	return socket
}

// startGuest starts a dialer as a VM has one, on a Unix socket.
func startGuest(t *testing.T, socket string, args ...string) (kill func()) {
	t.Helper()
	return startServer(t, socket, program(t, "VZFWD_GUEST"), append([]string{"--listen", "unix://" + socket}, args...)...)
}

// A shim is one that runs in this process.
type shim struct {
	cri.RuntimeServiceClient
	options options
	end     func() // ends it
	stop    func() // ends it and checks that it leaves nothing behind, the test's own ends of connections included
}

// startShim starts a shim in a folder of its own, with the pods registered there.
func startShim(t *testing.T, o options) *shim {
	t.Helper()
	isolate(t)
	dir := t.TempDir()
	o.listen = "unix://" + filepath.Join(dir, "cri.sock")
	o.stateDir = filepath.Join(dir, "state")
	o.streamAddr = "127.0.0.1:0"
	return restartShim(t, o)
}

func restartShim(t *testing.T, o options) *shim {
	t.Helper()
	before := runtime.NumGoroutine()
	files, processes := openFiles(t), children(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o) }()

	conn := must(grpc.NewClient(o.listen, grpc.WithTransportCredentials(insecure.NewCredentials())))(t)
	s := &shim{cri.NewRuntimeServiceClient(conn), o, nil, nil}
	s.end = sync.OnceFunc(func() {
		cancel()
		conn.Close()
		if err := <-ended; err != nil {
			t.Error("the shim ended with", err)
		}
	})
	s.stop = sync.OnceFunc(func() {
		s.end()
		eventually(t, "no child left", func() bool { return children(t) <= processes })
		eventually(t, "no goroutine left", func() bool { return runtime.NumGoroutine() <= before })
		eventually(t, "no descriptor left", func() bool { return openFiles(t) <= files })
	})
	t.Cleanup(s.stop)
	ready, end := context.WithTimeout(t.Context(), patience)
	defer end()
	must(s.Version(ready, &cri.VersionRequest{}, grpc.WaitForReady(true)))(t)
	return s
}

// openFiles counts this process's descriptors.
func openFiles(t *testing.T) int {
	return len(must(os.ReadDir("/proc/self/fd"))(t))
}

// children counts the processes that this one has started and that are not gone, zombies too.
func children(t *testing.T) int {
	t.Helper()
	lists := must(filepath.Glob("/proc/self/task/*/children"))(t)
	n := 0
	for _, list := range lists {
		pids, _ := os.ReadFile(list) // the thread may be gone by now
		n += len(strings.Fields(string(pids)))
	}
	return n
}

// config is the sandbox config of a pod with annotations, or of one in the host's netns: the test's own.
func config(name string, annotations map[string]string) *cri.PodSandboxConfig {
	c := &cri.PodSandboxConfig{
		Metadata:    &cri.PodSandboxMetadata{Name: name, Namespace: "default", Uid: "uid-" + name},
		Annotations: annotations,
	}
	if annotations == nil {
		c.Linux = &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{
			NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE}}}
	}
	return c
}

func (s *shim) runSandbox(t *testing.T, config *cri.PodSandboxConfig) string {
	t.Helper()
	return must(s.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: config}))(t).PodSandboxId
}

// A kubectl is a session as kubectl has one, without its listeners.
type kubectl struct {
	httpstream.Connection
	tcp  *net.TCPConn
	next atomic.Int64 // the next request's ID
}

// openSession does what kubectl, the API server and the kubelet do together.
func (s *shim) openSession(t *testing.T, sandbox string) *kubectl {
	t.Helper()
	url := must(s.PortForward(t.Context(), &cri.PortForwardRequest{PodSandboxId: sandbox}))(t).Url
	return openURL(t, url)
}

func openURL(t *testing.T, url string) *kubectl {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), "POST", url, nil))(t)
	tcp := must(net.Dial("tcp", req.URL.Host))(t)
	req.Header.Set(httpstream.HeaderConnection, httpstream.HeaderUpgrade)
	req.Header.Set(httpstream.HeaderUpgrade, spdy.HeaderSpdy31)
	req.Header.Set(httpstream.HeaderProtocolVersion, portforward.ProtocolV1Name)
	if err := req.Write(tcp); err != nil {
		t.Fatal(err)
	}
	upgraded(t, tcp)
	k := &kubectl{Connection: must(spdy.NewClientConnection(tcp))(t), tcp: tcp.(*net.TCPConn)}
	t.Cleanup(func() { k.Close() })
	return k
}

// upgraded reads an HTTP answer to its end, and not a byte of what follows.
func upgraded(t *testing.T, tcp net.Conn) {
	t.Helper()
	var answer []byte
	for !strings.HasSuffix(string(answer), "\r\n\r\n") {
		b := make([]byte, 1)
		if _, err := io.ReadFull(tcp, b); err != nil {
			t.Fatal(err)
		}
		answer = append(answer, b...)
	}
	if !strings.Contains(string(answer), " 101 ") {
		t.Fatalf("not upgraded: %s", answer)
	}
}

// kill is a SIGKILL of kubectl: the kernel closes its connection.
func (k *kubectl) kill() { k.tcp.Close() }

// forward opens a connection. Its error stream is read to its end, which comes when the shim has done with the connection.
func (k *kubectl) forward(t *testing.T, port int) (data httpstream.Stream, told <-chan string) {
	t.Helper()
	headers := http.Header{}
	headers.Set(portforward.StreamType, portforward.StreamTypeError)
	headers.Set(portforward.PortHeader, strconv.Itoa(port))
	headers.Set(portforward.PortForwardRequestIDHeader, strconv.FormatInt(k.next.Add(1), 10))
	errors := must(k.CreateStream(headers))(t)
	errors.Close()
	done := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(errors)
		done <- string(text)
	}()
	headers.Set(portforward.StreamType, portforward.StreamTypeData)
	data = must(k.CreateStream(headers))(t)
	t.Cleanup(func() { data.Reset() }) // as kubectl does
	return data, done
}

// expect waits for the end of a connection and compares what was told of it.
func expect(t *testing.T, told <-chan string, want string) {
	t.Helper()
	select {
	case got := <-told:
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Fatalf("told %q, not %q", got, want)
		}
	case <-time.After(patience):
		t.Fatal("the connection did not end")
	}
}

// server runs handle on each connection to a port of 127.0.0.1.
func server(t *testing.T, handle func(conn *net.TCPConn)) (port int) {
	t.Helper()
	return serve(t, must(net.Listen("tcp4", "127.0.0.1:0"))(t), handle)
}

func serve(t *testing.T, listener net.Listener, handle func(conn *net.TCPConn)) (port int) {
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go handle(conn.(*net.TCPConn))
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}
