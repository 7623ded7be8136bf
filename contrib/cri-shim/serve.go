// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// dialTimeout is what vzfwd may take to connect in the pod; reaching the VM comes on top.
	dialTimeout = 10 * time.Second
	// answerTimeout is after what time no answer is waited for any more.
	answerTimeout = dialTimeout + 15*time.Second
	// maxAnswer bounds an answer's line.
	maxAnswer = 64 << 10
)

// The serve way asks a running `vzfwd serve`, which passes the connected socket: no process is started and none stays in
// the path. The string is the path of its socket. Each call has a connection of its own, since a connection is answered in
// order and a slow pod should hold up nobody.
type serveWay string

type request struct {
	Version string `json:"jsonrpc"`
	ID      int    `json:"id"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

type answer struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
		Data    struct {
			Reason Reason `json:"reason"`
		} `json:"data"`
	} `json:"error"`
}

func (socket serveWay) Dial(ctx context.Context, pod Pod, port int32) (Stream, error) {
	params := struct {
		Handle    string `json:"handle"`
		Container string `json:"containerID,omitempty"`
		Network   string `json:"network"`
		Port      int32  `json:"port"`
		Timeout   int64  `json:"timeoutMs"`
		PassFd    bool   `json:"passFd"`
	}{pod.Name, pod.Container, "tcp", port, dialTimeout.Milliseconds(), true}
	fd, err := socket.call(ctx, "pod.portDial", params)
	if err != nil {
		return nil, err
	}
	if fd < 0 {
		return nil, failure(internal, "vzfwd serve passed no descriptor")
	}
	return newLink(fd)
}

func (socket serveWay) Add(ctx context.Context, pod Pod) error {
	return socket.do(ctx, "pod.add", struct {
		Name     string `json:"name"`
		Endpoint string `json:"endpoint"`
		Handle   string `json:"handle,omitempty"`
		Replace  bool   `json:"replace"`
	}{pod.Name, pod.Endpoint, pod.Handle, true})
}

func (socket serveWay) Remove(ctx context.Context, name string) error {
	err := socket.do(ctx, "pod.remove", struct {
		Name string `json:"name"`
	}{name})
	if isNotFound(err) {
		return nil
	}
	return err
}

// do makes a call that is answered without a descriptor.
func (socket serveWay) do(ctx context.Context, method string, params any) error {
	fd, err := socket.call(ctx, method, params)
	if fd >= 0 {
		unix.Close(fd)
	}
	return err
}

// call makes one call. It returns the descriptor that came with the answer, or -1.
func (socket serveWay) call(ctx context.Context, method string, params any) (fd int, err error) {
	line, err := json.Marshal(request{"2.0", 1, method, params})
	if err != nil {
		return -1, failure(internal, "%v", err)
	}
	ctx, end := context.WithTimeoutCause(ctx, answerTimeout, failure(timeout, "vzfwd serve did not answer in time"))
	defer end()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", string(socket))
	if err != nil {
		return -1, failure(unreachable, "vzfwd serve: %v", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err = conn.Write(append(line, '\n')); err != nil {
		return -1, failure(unreachable, "vzfwd serve: %v", err)
	}
	text, fd, err := readLine(conn.(*net.UnixConn))
	if err == nil {
		err = parseAnswer(text)
	} else {
		err = failure(unreachable, "vzfwd serve: %v", err)
	}
	if err != nil && fd >= 0 {
		unix.Close(fd)
		fd = -1
	}
	return fd, err
}

func parseAnswer(line []byte) error {
	var a answer
	switch err := json.Unmarshal(line, &a); {
	case err != nil:
		return failure(internal, "vzfwd serve: %v", err)
	case a.Error != nil:
		return failure(a.Error.Data.Reason, "%s", a.Error.Message)
	case a.Result == nil:
		return failure(internal, "vzfwd serve answered neither result nor error")
	}
	return nil
}

// readLine reads an answer's line and the descriptor that came with it, or -1. Nothing follows the line, since there is one
// request only. The descriptor is the caller's also when there is an error.
func readLine(conn *net.UnixConn) (line []byte, fd int, err error) {
	fd = -1
	buffer := make([]byte, 4096)
	control := make([]byte, unix.CmsgSpace(4))
	for !bytes.HasSuffix(line, []byte{'\n'}) {
		n, nControl, flags, _, err := conn.ReadMsgUnix(buffer, control)
		if nControl > 0 {
			passed := descriptors(control[:nControl])
			for i, got := range passed {
				if fd < 0 && i == 0 {
					fd = got
				} else {
					unix.Close(got)
				}
			}
		}
		switch {
		case err != nil:
			return nil, fd, err
		case n == 0:
			return nil, fd, errors.New("no answer")
		case flags&unix.MSG_CTRUNC != 0:
			return nil, fd, errors.New("too many descriptors, or no room for them")
		case len(line)+n > maxAnswer:
			return nil, fd, errors.New("an answer too long")
		}
		line = append(line, buffer[:n]...)
	}
	return line, fd, nil
}

// descriptors takes them out of control data. They are close-on-exec.
func descriptors(control []byte) (passed []int) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for _, message := range messages {
		if fds, err := unix.ParseUnixRights(&message); err == nil {
			passed = append(passed, fds...)
		}
	}
	return passed
}
