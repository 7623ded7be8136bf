// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"io"
)

// A Pod is what a way needs to know of a sandbox: where its dialer is, and what that calls it.
type Pod struct {
	Name      string // the sandbox's ID; the name under which the pod is registered with vzfwd
	Endpoint  string // as of vzfwd(1): netns:PATH, unix:///PATH, vsock://CID, hvsock:///PATH
	Handle    string // the pod's name on the wire; empty: Name
	Container string // a container with a netns of its own; empty: the pod's netns
	Address   string // of the plain way: the IP address to connect to
}

// A Stream is a connection with a port of a pod.
//
// Read ends with io.EOF when the pod has ended its side; CloseWrite ends ours, and Read goes on. Close ends both. If
// both have ended already it lets what was written arrive first, and may take as long as the pod does, or until the
// context of Dial ends; else the pod sees a reset, as far as the link can tell one. Close returns what was wrong with the
// connection, where that is known no earlier: a *DialError with the reason "broken" if the pod reset it or the link was
// cut. It may be called while Read and Write block, and more than once.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// A Dialer connects to ports of pods.
//
// Dial returns when the port's connect() has succeeded, or with a *DialError, or with the cause of ctx's end. When ctx ends
// the caller still has to close the stream.
type Dialer interface {
	Dial(ctx context.Context, pod Pod, port int32) (Stream, error)
}

// A Registry makes pods known to vzfwd. Adding a pod again replaces it; removing one that is not there is no error.
// Errors are *DialErrors.
type Registry interface {
	Add(ctx context.Context, pod Pod) error
	Remove(ctx context.Context, name string) error
}

// A Way leads to pods.
type Way interface {
	Dialer
	Registry
}
