// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/streaming/pkg/httpstream"
)

// plainCopy is io.Copy without splice(2), whose pipes Go keeps until a garbage collection.
func plainCopy(to io.Writer, from io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
}

// echo sends back what it gets, and ends when the client has.
func echo(conn *net.TCPConn) {
	plainCopy(conn, conn)
	conn.Close()
}

// resetTCP ends a connection the hard way, behind what was written.
func resetTCP(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

// once is a server for one connection, which the test gets.
func once(t *testing.T) (port int, accepted <-chan *net.TCPConn) {
	conns := make(chan *net.TCPConn, 1)
	port = server(t, func(conn *net.TCPConn) {
		t.Cleanup(func() { conn.Close() })
		conns <- conn
	})
	return port, conns
}

// connect opens a connection to a server of its own, and returns both ends when a byte has gone through.
func connect(t *testing.T, k *kubectl) (stream httpstream.Stream, told <-chan string, conn *net.TCPConn) {
	t.Helper()
	port, accepted := once(t)
	stream, told = k.forward(t, port)
	conn = <-accepted
	conn.Write([]byte("!"))
	if _, err := io.ReadFull(stream, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return stream, told, conn
}

// closedPort is one that nobody listens on.
func closedPort(t *testing.T) int {
	listener := must(net.Listen("tcp4", "127.0.0.1:0"))(t)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// ways are the options for a shim, by the way that it goes.
var ways = map[string]func(t *testing.T) options{
	"dial":  func(t *testing.T) options { return options{way: "dial", vzfwd: program(t, "VZFWD")} },
	"serve": func(t *testing.T) options { return options{way: "serve", serveSocket: startServe(t)} },
	"plain": func(t *testing.T) options { return options{plain: true} },
}

// eachWay runs a test with each way to the port, each with a shim, a sandbox in the host's netns and a session of its own.
func eachWay(t *testing.T, test func(t *testing.T, s *shim, sandbox string, k *kubectl)) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			s := startShim(t, way(t))
			sandbox := s.runSandbox(t, config("web", nil))
			test(t, s, sandbox, s.openSession(t, sandbox))
		})
	}
}

// exchange sends text through a new connection and expects it back.
func exchange(t *testing.T, k *kubectl, port int) {
	t.Helper()
	text := randomBytes(250_000)
	stream, told := k.forward(t, port)
	go func() {
		stream.Write(text)
		stream.Close()
	}()
	if got, err := io.ReadAll(stream); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes came back of %d, or others; %v", len(got), len(text), err)
	}
	expect(t, told, "")
}

func TestManyAtATime(t *testing.T) {
	eachWay(t, func(t *testing.T, _ *shim, _ string, k *kubectl) {
		port := server(t, echo)
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() { exchange(t, k, port) })
		}
		group.Wait()
	})
}

// A refused port is no reason to end the session; and what the client has sent to it holds up no other connection.
func TestRefused(t *testing.T) {
	eachWay(t, func(t *testing.T, _ *shim, _ string, k *kubectl) {
		port := closedPort(t)
		for range 5 {
			stream, told := k.forward(t, port)
			stream.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
			expect(t, told, "")
			if got, err := io.ReadAll(stream); len(got) != 0 || err != nil {
				t.Fatalf("%q, %v from a refused port", got, err)
			}
		}
		alive := server(t, echo)
		for range 5 {
			exchange(t, k, alive)
		}
	})
}

// A server that says why and resets, as PostgreSQL does: the client reads it, and the session goes on.
func TestResetByServer(t *testing.T) {
	eachWay(t, func(t *testing.T, _ *shim, _ string, k *kubectl) {
		port := server(t, func(conn *net.TCPConn) {
			conn.Read(make([]byte, 1))
			conn.Write([]byte("FATAL: no"))
			resetTCP(conn)
		})
		for range 5 {
			stream, told := k.forward(t, port)
			stream.Write(randomBytes(10_000))
			if got, err := io.ReadAll(stream); string(got) != "FATAL: no" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			expect(t, told, "")
		}
		exchange(t, k, server(t, echo))
	})
}

func TestClientHalfClose(t *testing.T) {
	eachWay(t, func(t *testing.T, _ *shim, _ string, k *kubectl) {
		request, reply := randomBytes(100_000), randomBytes(100_000)
		stream, told, conn := connect(t, k)
		stream.Write(request)
		stream.Close()
		if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, request) {
			t.Fatalf("the server read %d bytes, %v", len(got), err)
		}
		time.Sleep(2 * lookInterval) // a slow server; nobody may take its silence for an end
		go func() {
			conn.Write(reply)
			conn.Close()
		}()
		if got, err := io.ReadAll(stream); err != nil || !bytes.Equal(got, reply) {
			t.Fatalf("the client read %d bytes, %v", len(got), err)
		}
		expect(t, told, "")
	})
}

func TestServerHalfClose(t *testing.T) {
	eachWay(t, func(t *testing.T, _ *shim, _ string, k *kubectl) {
		stream, told, conn := connect(t, k)
		conn.Write([]byte("go ahead"))
		conn.CloseWrite()
		if got, err := io.ReadAll(stream); string(got) != "go ahead" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		// A stream of this library reads nothing more now, but it can still write. The server is slow, so that there is
		// something on its way when the client ends.
		upload := randomBytes(8_000_000)
		go func() {
			stream.Write(upload)
			stream.Close()
		}()
		got, err := []byte(nil), error(nil)
		for buffer := make([]byte, 64<<10); err == nil; time.Sleep(5 * time.Millisecond) {
			var n int
			n, err = conn.Read(buffer)
			got = append(got, buffer[:n]...)
		}
		if err != io.EOF || sha256.Sum256(got) != sha256.Sum256(upload) {
			t.Fatalf("the server read %d bytes of %d, %v", len(got), len(upload), err)
		}
		conn.Close()
		expect(t, told, "")
	})
}

// kubectl up to 1.31 waits for the error stream's end, and sends none of its own until its client does.
func TestServerEndsFirst(t *testing.T) {
	eachWay(t, func(t *testing.T, _ *shim, _ string, k *kubectl) {
		port, accepted := once(t)
		stream, told := k.forward(t, port)
		conn := <-accepted
		conn.Write([]byte("bye"))
		conn.CloseWrite()
		if got, err := io.ReadAll(stream); string(got) != "bye" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		expect(t, told, "")
		conn.Close()
	})
}

// noEnd reads up to the end of a connection, which must not look like one of the client's.
func noEnd(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(patience))
	n, err := plainCopy(io.Discard, conn)
	if err == nil {
		t.Fatalf("an end after %d bytes, not a reset", n)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("no reset")
	}
}

// reset waits for a reset without a byte read or written, which might bring it about.
func reset(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	raw := must(conn.SyscallConn())(t)
	eventually(t, "a reset", func() bool {
		look := []unix.PollFd{{}}
		raw.Control(func(fd uintptr) {
			look[0].Fd = int32(fd)
			unix.Poll(look, 0)
		})
		return look[0].Revents&unix.POLLERR != 0
	})
}

// A writer writes until it fails.
type writer struct {
	count atomic.Int64
	ended chan struct{}
}

func write(to io.Writer) *writer {
	w := &writer{ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for buffer := make([]byte, 64<<10); ; {
			n, err := to.Write(buffer)
			w.count.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	return w
}

// stuck waits until nobody takes any more.
func (w *writer) stuck(t *testing.T) {
	before := int64(-1)
	eventually(t, "a stuck writer", func() bool {
		now := w.count.Load()
		if now == before {
			return true
		}
		before = now
		time.Sleep(300 * time.Millisecond) // that is how long "stuck" is
		return false
	})
}

// failed waits until the writer was told that its peer is gone.
func (w *writer) failed(t *testing.T) {
	t.Helper()
	select {
	case <-w.ended:
	case <-time.After(patience):
		t.Fatal("writes still succeed")
	}
}

// However kubectl goes, the server sees a reset and nothing stays behind (s.stop counts).
func TestKilled(t *testing.T) {
	// Each gets a connection into a state, kills, and checks what the server sees.
	for name, test := range map[string]func(t *testing.T, k *kubectl, stream httpstream.Stream, conn *net.TCPConn){
		"idle": func(t *testing.T, k *kubectl, _ httpstream.Stream, conn *net.TCPConn) {
			k.kill()
			noEnd(t, conn)
		},
		"while it reads": func(t *testing.T, k *kubectl, stream httpstream.Stream, conn *net.TCPConn) {
			w := write(conn)
			io.ReadFull(stream, make([]byte, 1_000_000))
			k.kill()
			w.failed(t)
		},
		"while it reads nothing": func(t *testing.T, k *kubectl, _ httpstream.Stream, conn *net.TCPConn) {
			w := write(conn)
			w.stuck(t)
			k.kill()
			w.failed(t)
		},
		"while it writes": func(t *testing.T, k *kubectl, stream httpstream.Stream, conn *net.TCPConn) {
			write(stream)
			io.ReadFull(conn, make([]byte, 1_000_000))
			k.kill()
			noEnd(t, conn)
		},
		"while nobody reads": func(t *testing.T, k *kubectl, stream httpstream.Stream, conn *net.TCPConn) {
			write(stream).stuck(t)
			k.tcp.SetLinger(0) // an end would wait behind what nobody reads
			k.kill()
			reset(t, conn)
		},
		"after a half-close": func(t *testing.T, k *kubectl, stream httpstream.Stream, conn *net.TCPConn) {
			stream.Close()
			io.ReadAll(conn)
			k.kill()
			reset(t, conn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, _ *shim, _ string, k *kubectl) {
				stream, _, conn := connect(t, k)
				test(t, k, stream, conn)
			})
		})
	}
}

// A client that gives up one connection ends that one, whatever it was doing.
func TestResetByClient(t *testing.T) {
	eachWay(t, func(t *testing.T, _ *shim, _ string, k *kubectl) {
		alive := server(t, echo)

		stream, told, conn := connect(t, k)
		stream.Reset()
		noEnd(t, conn)
		expect(t, told, "")
		exchange(t, k, alive)

		stream, told, conn = connect(t, k)
		w := write(conn)
		io.ReadFull(stream, make([]byte, 1_000_000))
		stream.Reset()
		w.failed(t)
		expect(t, told, "")
		exchange(t, k, alive)

		stream, told, conn = connect(t, k)
		stream.Close()
		io.ReadAll(conn)
		stream.(interface{ Cancel() error }).Cancel() // Reset would send nothing after Close
		reset(t, conn)
		expect(t, told, "")
		exchange(t, k, alive)
	})
}

// A shim that ends leaves no connection behind, in whatever state.
func TestShimEnds(t *testing.T) {
	eachWay(t, func(t *testing.T, s *shim, _ string, k *kubectl) {
		_, _, idle := connect(t, k)
		stream, _, stuck := connect(t, k)
		write(stream).stuck(t)
		s.end()
		noEnd(t, idle)
		reset(t, stuck)
	})
}

// A sandbox's connections end with it, and the session is told.
func TestStoppedSandbox(t *testing.T) {
	eachWay(t, func(t *testing.T, s *shim, sandbox string, k *kubectl) {
		_, told, conn := connect(t, k)
		must(s.StopPodSandbox(t.Context(), &cri.StopPodSandboxRequest{PodSandboxId: sandbox}))(t)
		noEnd(t, conn)
		expect(t, told, "stopped")
		_, told = k.forward(t, 80)
		expect(t, told, "not running")
	})
}
