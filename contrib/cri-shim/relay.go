// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"syscall"
	"time"
)

// copyBuffer is how much is read at a time, and so what a frame to the client holds.
const copyBuffer = 64 << 10

// silence is how long a client may send nothing once the target has ended, before that ends the connection.
const silence = 200 * time.Millisecond

// errClientGone ends what the client has given up. Nobody is left to read it.
var errClientGone = failure(broken, "the client is gone")

// relay copies both ways until both have ended. It returns sooner, with the reason, when ctx ends, the client is gone or
// the target was reset. It closes the target, gives the client's stream up, and leaves nothing running.
func relay(ctx context.Context, client *client, target Stream) error {
	source := &reader{client: client}
	up := start(func() error { return upload(target, source) })
	down := start(func() error { return download(client, target) })
	err := transfer(ctx, client, source, target, up, down)
	err = errors.Join(err, target.Close())
	client.reset()
	<-up.done
	<-down.done
	return err
}

// A task is a function that runs in a goroutine. err is not to be read before done is closed.
type task struct {
	done chan struct{}
	err  error
}

func start(f func() error) *task {
	t := &task{done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.err = f()
	}()
	return t
}

// A reader reads what the client sends, and knows since when it waits for that.
type reader struct {
	client  *client
	waiting atomic.Pointer[time.Time] // nil when it doesn't
}

func (r *reader) Read(p []byte) (int, error) {
	now := time.Now()
	r.waiting.Store(&now)
	defer r.waiting.Store(nil)
	return r.client.Read(p)
}

// silent tells whether the client has sent nothing for a while, though it could have.
func (r *reader) silent() bool {
	since := r.waiting.Load()
	return since != nil && time.Since(*since) >= silence
}

// transfer passes each direction's end on and returns when both have ended, or with what ended them all.
func transfer(ctx context.Context, client *client, source *reader, target Stream, up, down *task) error {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	upDone, downDone := up.done, down.done
	for upDone != nil || downDone != nil {
		select {
		case <-upDone:
			upDone = nil
			switch {
			case up.err != nil: // the target takes no more; what it has said is still under way
			case downDone != nil && client.hasLeft():
				return errClientGone
			default:
				target.CloseWrite()
			}
		case <-downDone:
			if down.err != nil {
				return down.err
			}
			downDone = nil
			client.Close()
			ticker.Reset(silence)
		case <-ticker.C:
			switch {
			case downDone != nil && client.wasReset():
				return errClientGone
			case downDone == nil && source.silent():
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// upload returns nil at the client's end, and an error if the target takes no more.
func upload(target Stream, client io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{target}, client, make([]byte, copyBuffer))
	return err
}

// download returns nil at the target's end.
func download(client *client, target Stream) error {
	buffer := make([]byte, copyBuffer)
	for {
		n, err := target.Read(buffer)
		if n > 0 {
			if _, err := client.Write(buffer[:n]); err != nil {
				return errClientGone
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, syscall.ECONNRESET):
			return failure(broken, "the connection was reset")
		case err != nil:
			return failure(broken, "reading from the target: %v", err)
		}
	}
}
