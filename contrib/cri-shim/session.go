// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lookInterval is how often it is looked whether a client is still there, where nothing tells.
const lookInterval = time.Second

// Sessions knows the callers of the streaming server: one TCP connection each, which carries the streams of any number of
// connections to the pod. The streaming library calls PortForward with a context that never ends, and a stream doesn't tell
// that its session has ended: it reads EOF, as one does whose client has half-closed it. So the session is found again
// by the caller's address.
type Sessions struct {
	handler http.Handler

	mu   sync.Mutex
	open map[string]*session // by the caller's address
}

type session struct {
	ctx  context.Context
	end  context.CancelFunc
	conn net.Conn
}

// endedSession is the session of a stream whose own is not known any more.
var endedSession = func() *session {
	ctx, end := context.WithCancel(context.Background())
	end()
	return &session{ctx: ctx, end: end}
}()

// anySession is that of a stream that doesn't say whose it is. It never ends.
var anySession = &session{ctx: context.Background()}

type connKey struct{}

// server makes each request of handler a session.
func (s *Sessions) server() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
	}
}

// ServeHTTP returns when the session is over: when the library does, having seen the caller go.
func (s *Sessions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, end := context.WithCancel(context.Background())
	defer end()
	session := &session{ctx, end, r.Context().Value(connKey{}).(net.Conn)}
	s.mu.Lock()
	s.open[r.RemoteAddr] = session
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.open, r.RemoteAddr)
		s.mu.Unlock()
	}()
	go session.watch()
	s.handler.ServeHTTP(w, r)
}

// find finds the session of a stream by the address of its peer.
func (s *Sessions) find(caller net.Addr) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if session := s.open[caller.String()]; session != nil {
		return session
	}
	return endedSession
}

// end ends all sessions. http.Server's Close doesn't: it has handed their connections over.
func (s *Sessions) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, session := range s.open {
		session.end()
		session.conn.Close()
	}
}

// watch ends the session when the caller has closed its connection. The library sees that too, but not while a target
// takes no bytes: then it waits in front of that one stream and reads nothing more of the caller.
func (s *session) watch() {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for !s.gone() {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
	}
	s.end()
}

// gone looks whether the session has ended or the caller has closed its connection, whatever is still unread of it.
func (s *session) gone() bool {
	if s.ctx.Err() != nil {
		return true
	}
	raw, err := s.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		look := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(look, 0)
		closed = err == nil && n > 0
	})
	return closed || err != nil
}
