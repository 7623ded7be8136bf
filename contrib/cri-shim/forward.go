// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// A Forwarder connects the streams of the streaming library with ports.
type Forwarder struct {
	way      Dialer
	sessions *Sessions
	running  func(sandbox string) (Pod, context.Context, error) // as Runtime.running
	count    atomic.Uint64
	open     sync.WaitGroup
}

// wait returns when no connection is open any more.
func (f *Forwarder) wait() { f.open.Wait() }

// PortForward connects a stream with a port of a sandbox, and returns when the connection has ended.
//
// The library writes an error to the connection's error stream, and kubectl ends its whole session on that. So there is
// one only for what the session cannot recover from: see endsSession.
func (f *Forwarder) PortForward(_ context.Context, sandbox string, port int32, stream io.ReadWriteCloser) error {
	f.open.Add(1)
	defer f.open.Done()
	client := newClient(stream, f.sessions)
	defer client.reset()
	log := slog.With("connection", f.count.Add(1), "sandbox", sandbox, "port", port)
	err := f.forward(client, sandbox, port, log)
	switch {
	case err == nil:
		log.Info("closed")
	case endsSession(err):
		log.Warn("failed; the session ends", "error", err)
		return err
	default:
		log.Info("failed", "error", err)
	}
	return nil
}

func (f *Forwarder) forward(client *client, sandbox string, port int32, log *slog.Logger) error {
	pod, life, err := f.running(sandbox)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(client.session.ctx)
	defer end(nil)
	defer context.AfterFunc(life, func() { end(context.Cause(life)) })()

	target, err := f.way.Dial(ctx, pod, port)
	if err != nil {
		return err
	}
	log.Info("connected")
	return relay(ctx, client, target)
}

// Exec and Attach are the library's other two; there are no containers.

func (*Forwarder) Exec(context.Context, string, []string, io.Reader, io.WriteCloser, io.WriteCloser, bool,
	<-chan remotecommand.TerminalSize) error {
	return status.Error(codes.Unimplemented, "exec is not implemented")
}

func (*Forwarder) Attach(context.Context, string, io.Reader, io.WriteCloser, io.WriteCloser, bool,
	<-chan remotecommand.TerminalSize) error {
	return status.Error(codes.Unimplemented, "attach is not implemented")
}
