// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// echo sends back what it gets, and ends when the client has.
func echo(conn *net.TCPConn) {
	io.Copy(conn, conn)
	conn.Close()
}

// exchange sends text through a new connection and expects it back.
func exchange(t *testing.T, k *kubectl, port int) {
	t.Helper()
	text := bytes.Repeat([]byte("over there and back again\n"), 10000)
	stream, told := k.forward(t, port)
	go func() {
		stream.Write(text)
		stream.Close()
	}()
	if got := must(io.ReadAll(stream))(t); !bytes.Equal(got, text) {
		t.Fatalf("%d bytes came back of %d, or others", len(got), len(text))
	}
	stream.Reset()
	expect(t, told, "")
}

func TestEcho(t *testing.T) {
	s := startShim(t, options{way: "dial", vzfwd: program(t, "VZFWD")})
	k := s.openSession(t, s.runSandbox(t, config("web", nil)))
	exchange(t, k, server(t, echo))
}
