// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A fakeServe answers as `vzfwd serve` does, as far as the shim asks. Its pods are all in its own netns.
type fakeServe struct {
	socket string

	mu   sync.Mutex
	pods map[string]string // endpoints by name
	last map[string]any    // the params of the last call
	gate *gate
}

// A gate holds up all calls that add or remove pods of one endpoint.
type gate struct {
	endpoint string
	opened   chan struct{}
	held     atomic.Int32 // how many it has held up
}

func startFakeServe(t *testing.T) *fakeServe {
	t.Helper()
	f := &fakeServe{socket: filepath.Join(t.TempDir(), "serve.sock"), pods: make(map[string]string)}
	serveUnix(t, f.socket, func(conn *net.UnixConn) {
		defer conn.Close()
		line, err := bufio.NewReader(conn).ReadBytes('\n')
		var call struct {
			Method string
			Params map[string]any
		}
		if err != nil || json.Unmarshal(line, &call) != nil {
			return
		}
		f.pass(call.Params)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.last = call.Params
		f.answer(conn, call.Method, call.Params)
	})
	return f
}

// hold makes a gate, and what opens it.
func (f *fakeServe) hold(t *testing.T, endpoint string) (g *gate, open func()) {
	g = &gate{endpoint: endpoint, opened: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate = g
	open = sync.OnceFunc(func() { close(g.opened) })
	t.Cleanup(open)
	return g, open
}

// pass waits until a gate that the call comes to is open.
func (f *fakeServe) pass(params map[string]any) {
	name, _ := params["name"].(string)
	f.mu.Lock()
	g := f.gate
	holds := g != nil && (params["endpoint"] == g.endpoint || f.pods[name] == g.endpoint)
	f.mu.Unlock()
	if holds {
		g.held.Add(1)
		<-g.opened
	}
}

func (f *fakeServe) endpoint(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pods[name]
}

func (f *fakeServe) params() map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// serveUnix runs serve on each connection.
func serveUnix(t *testing.T, path string, serve func(conn *net.UnixConn)) {
	t.Helper()
	listener := must(net.Listen("unix", path))(t)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn.(*net.UnixConn))
		}
	}()
}

const fakeResult = `{"jsonrpc":"2.0","id":1,"result":{}}` + "\n"

func fakeError(reason Reason, message string) []byte {
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":%q,"data":{"reason":%q}}}`+"\n",
		message, reason)
}

func (f *fakeServe) answer(conn *net.UnixConn, method string, params map[string]any) {
	name, _ := params["name"].(string)
	switch method {
	case "pod.add":
		f.pods[name], _ = params["endpoint"].(string)
		conn.Write([]byte(fakeResult))
	case "pod.remove":
		if f.pods[name] == "" {
			conn.Write(fakeError(notFound, "no such pod"))
			return
		}
		delete(f.pods, name)
		conn.Write([]byte(fakeResult))
	case "pod.portDial":
		if handle, _ := params["handle"].(string); f.pods[handle] == "" {
			conn.Write(fakeError(notFound, "no such pod"))
			return
		}
		target, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%v", params["port"]))
		if errors.Is(err, syscall.ECONNREFUSED) {
			conn.Write(fakeError(refused, "connection refused"))
			return
		} else if err != nil {
			return
		}
		defer target.Close()
		file, err := target.(*net.TCPConn).File()
		if err != nil {
			return
		}
		defer file.Close()
		conn.WriteMsgUnix([]byte(fakeResult), unix.UnixRights(int(file.Fd())), nil)
	}
}

func TestServeParams(t *testing.T) {
	f := startFakeServe(t)
	way := serveWay(f.socket)
	pod := Pod{Name: "web", Endpoint: "vsock://3", Handle: "inside", Container: "c1"}
	if err := way.Add(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	compareParams(t, f, `{"name":"web","endpoint":"vsock://3","handle":"inside","replace":true}`)
	stream := must(way.Dial(t.Context(), pod, int32(server(t, echo))))(t)
	stream.Close()
	compareParams(t, f, fmt.Sprintf(`{"handle":"web","containerID":"c1","network":"tcp","port":%v,"timeoutMs":10000,`+
		`"passFd":true}`, f.params()["port"]))
	for range 2 { // the second finds nothing to remove
		if err := way.Remove(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := way.Dial(t.Context(), pod, 1)
	if !isNotFound(err) {
		t.Fatalf("%v, not NotFound", err)
	}
}

func compareParams(t *testing.T, f *fakeServe, want string) {
	t.Helper()
	var expected map[string]any
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(f.params()), fmt.Sprint(expected); got != want {
		t.Fatalf("params %s, not %s", got, want)
	}
}

// A serve that answers nonsense is an error, and costs no descriptor.
func TestServeNonsense(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		fds    int
		reason Reason
	}{
		"nothing":        {"", 0, unreachable},
		"half a line":    {`{"jsonrpc":"2.0"`, 1, unreachable},
		"no JSON":        {"hello\n", 1, internal},
		"no result":      {"{}\n", 1, internal},
		"no descriptor":  {fakeResult, 0, internal},
		"many":           {fakeResult, 3, unreachable},
		"error with one": {string(fakeError(denied, "no")), 1, denied},
		"too long":       {strings.Repeat("x", 2*maxAnswer), 1, unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "serve.sock")
			serveUnix(t, socket, func(conn *net.UnixConn) {
				defer conn.Close()
				bufio.NewReader(conn).ReadBytes('\n')
				var fds []int
				for range test.fds {
					fds = append(fds, 0)
				}
				conn.WriteMsgUnix([]byte(test.answer), unix.UnixRights(fds...), nil)
			})
			before := openFiles(t)
			_, err := serveWay(socket).Dial(t.Context(), Pod{Name: "web"}, 80)
			var failed *DialError
			if !errors.As(err, &failed) || failed.Reason != test.reason {
				t.Fatalf("%v, not %s", err, test.reason)
			}
			eventually(t, "no descriptor left", func() bool { return openFiles(t) <= before })
		})
	}
}
