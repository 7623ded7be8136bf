// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// killDelay is how long a vzfwd that was told to end may take to.
const killDelay = 10 * time.Second

// The dial way runs `vzfwd dial` for each connection, and `vzfwd pod` for the registry. The string is its path.
type dialWay string

// statusLine is what --status-fd carries.
type statusLine struct{ Status, Reason, Message string }

// Dial starts vzfwd and waits for its first status line.
func (vzfwd dialWay) Dial(ctx context.Context, pod Pod, port int32) (Stream, error) {
	args := []string{"dial", "--half-close", "--status-fd", "3"}
	if pod.Container != "" {
		args = append(args, "--container", pod.Container)
	}
	args = append(args, pod.Name, "tcp", fmt.Sprintf(":%d", port))

	running, end := context.WithCancel(ctx)
	cmd := exec.CommandContext(running, string(vzfwd), args...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killDelay

	s := &dialStream{cmd: cmd, end: end, ended: make(chan struct{})}
	status, err := s.start()
	if err != nil {
		end()
		return nil, failure(startFailure(err), "starting vzfwd: %v", err)
	}
	lines := json.NewDecoder(status)
	var first statusLine
	if err = lines.Decode(&first); err == nil && first.Status == "connected" {
		go s.reap(lines, status)
		return s, nil
	}
	s.stdin.Close()
	s.stdout.Close()
	cmd.Wait()
	status.Close()
	end()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if first.Reason == "" {
		return nil, failure(reasonOfExit(cmd.ProcessState.ExitCode()), "vzfwd: %v", cmd.ProcessState)
	}
	return nil, failure(Reason(first.Reason), "%s", first.Message)
}

// startFailure tells a lack of descriptors or processes, which passes, from a vzfwd that can't be run.
func startFailure(err error) Reason {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EAGAIN) ||
		errors.Is(err, syscall.ENOMEM) {
		return exhausted
	}
	return internal
}

// A dialStream is a running `vzfwd dial`.
type dialStream struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *os.File
	end    context.CancelFunc // sends SIGTERM, and SIGKILL if need be

	// Both have to be true for vzfwd to end by itself.
	readAll, wroteAll atomic.Bool

	ended chan struct{} // closed when vzfwd has gone and was waited for
	err   error         // why it ended; not before ended is closed
}

// start starts the process and returns the descriptor with its status lines.
//
// stdin is a StdinPipe, which the caller feeds. Were it cmd.Stdin, a Reader, then Wait would wait for the client to send or
// to close something, long after vzfwd has gone. stdout is no StdoutPipe, since Wait closes that with what was not read yet.
func (s *dialStream) start() (status *os.File, err error) {
	var statusW, stdoutW *os.File
	defer func() {
		statusW.Close() // these are the child's, which has them by now
		stdoutW.Close()
		if err != nil {
			status.Close()
			s.stdout.Close()
		}
	}()
	if status, statusW, err = os.Pipe(); err != nil {
		return
	}
	if s.stdout, stdoutW, err = os.Pipe(); err != nil {
		return
	}
	s.cmd.Stdout = stdoutW
	s.cmd.ExtraFiles = []*os.File{statusW}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return
	}
	err = s.cmd.Start()
	return
}

// reap reads the last status line and waits for vzfwd, so that no zombie stays while the client goes on.
func (s *dialStream) reap(lines *json.Decoder, status *os.File) {
	var last statusLine
	err := lines.Decode(&last)
	status.Close()
	s.cmd.Wait()
	switch {
	case err != nil:
		s.err = failure(broken, "vzfwd: %v", s.cmd.ProcessState)
	case last.Reason == "reset" || last.Reason == "cut":
		s.err = failure(broken, "the connection was %s", last.Reason)
	}
	close(s.ended)
}

func (s *dialStream) Read(p []byte) (int, error) {
	n, err := s.stdout.Read(p)
	if err == io.EOF {
		s.readAll.Store(true)
	}
	return n, err
}

func (s *dialStream) Write(p []byte) (int, error) { return s.stdin.Write(p) }

func (s *dialStream) CloseWrite() error {
	s.wroteAll.Store(true)
	return s.stdin.Close()
}

// Close returns when vzfwd has gone. stdin stays open until then, since its end would be passed on as the client's.
func (s *dialStream) Close() error {
	if !s.readAll.Load() || !s.wroteAll.Load() {
		s.end()
	}
	s.stdout.Close() // else vzfwd would try to get rid of what it has
	<-s.ended
	s.end()
	s.stdin.Close()
	return s.err
}

func (vzfwd dialWay) Add(ctx context.Context, pod Pod) error {
	args := []string{"pod", "add", "--replace"}
	if pod.Handle != "" {
		args = append(args, "--handle", pod.Handle)
	}
	return vzfwd.run(ctx, append(args, pod.Name, pod.Endpoint)...)
}

func (vzfwd dialWay) Remove(ctx context.Context, name string) error {
	err := vzfwd.run(ctx, "pod", "rm", name)
	var failed *DialError
	if errors.As(err, &failed) && failed.Reason == notFound {
		return nil
	}
	return err
}

// run runs a command that prints nothing but what went wrong.
func (vzfwd dialWay) run(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, string(vzfwd), args...).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		return failure(reasonOfExit(exit.ExitCode()), "%s", strings.TrimSpace(string(out)))
	}
	return failure(internal, "%v", err)
}
