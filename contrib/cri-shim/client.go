// SPDX-License-Identifier: MIT

package main

import (
	"io"
	"net"
	"time"
)

// A client is the far end of a connection: a stream of its session. Close ends our direction only.
type client struct {
	io.ReadWriteCloser
	spdy    spdyStream // the same stream, or nil if it is one of plain WebSocket
	session *session
}

// spdyStream is what the streams of SPDY can do besides. Those of plain WebSocket have no half-close either.
type spdyStream interface {
	Reset() error     // gives both directions up
	IsFinished() bool // we have closed the stream, or the client has reset it
	RemoteAddr() net.Addr
}

func newClient(stream io.ReadWriteCloser, sessions *Sessions) *client {
	c := &client{ReadWriteCloser: stream, session: anySession}
	if spdy, ok := stream.(spdyStream); ok {
		c.spdy = spdy
		c.session = sessions.find(spdy.RemoteAddr())
	}
	return c
}

// reset gives both directions up. After Close the client hears nothing of it; but as long as something is unread that it has
// sent, a worker of the library waits for a reader, and every fifth stream of the session with it.
func (c *client) reset() {
	if c.spdy != nil {
		c.spdy.Reset()
	}
}

// wasReset tells whether the client has given the stream up: reads end then as after a half-close, and writes succeed and
// go nowhere. Not to be asked after Close.
func (c *client) wasReset() bool { return c.spdy != nil && c.spdy.IsFinished() }

// settleTime is for the library, which ends a reset stream's reads first and marks the stream then.
const settleTime = time.Millisecond

// hasLeft tells whether the end of the client's bytes was no half-close: the client is gone, and its bytes may
// not be complete. Not to be asked after Close.
func (c *client) hasLeft() bool {
	if c.spdy == nil || c.session.gone() {
		return true
	}
	time.Sleep(settleTime)
	return c.wasReset()
}
