// SPDX-License-Identifier: MIT

package main

import (
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A link is a connected stream socket that was passed to us: TCP for a pod on this host, else the raw link to the VM, over
// a Unix socket or AF_VSOCK. Package net doesn't know the last, so it is a file to us.
type link struct {
	file *os.File

	// Both have to be true for Close not to be a reset.
	readAll, wroteAll atomic.Bool
}

// newLink takes the descriptor over.
func newLink(fd int) (*link, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, failure(internal, "the passed descriptor: %v", err)
	}
	return &link{file: os.NewFile(uintptr(fd), "link")}, nil
}

func (l *link) Read(p []byte) (int, error) {
	n, err := l.file.Read(p)
	if err == io.EOF {
		l.readAll.Store(true)
	}
	return n, err
}

func (l *link) Write(p []byte) (int, error) { return l.file.Write(p) }

func (l *link) CloseWrite() error {
	l.wroteAll.Store(true)
	return l.control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
}

// Close resets a TCP connection that has not ended. Other links have no such thing: the pod sees an end.
func (l *link) Close() error {
	if !l.readAll.Load() || !l.wroteAll.Load() {
		l.control(func(fd int) error {
			return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		})
	}
	return l.file.Close()
}

func (l *link) control(f func(fd int) error) error {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err = raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}
