// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"sync"

	"google.golang.org/grpc/status"
)

// Claims are locks by name, for what takes longer than a mutex should be held. The zero value has none held.
type Claims struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when released
}

// take waits until nobody has the name, which then is the caller's until it calls release; or until ctx ends.
func (c *Claims) take(ctx context.Context, name string) (release func(), err error) {
	mine := make(chan struct{})
	for {
		other := c.try(name, mine)
		if other == nil {
			return func() { c.release(name) }, nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}

// try takes the name, or returns what is closed when another has released it.
func (c *Claims) try(name string, mine chan struct{}) (other <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.held[name]; other != nil {
		return other
	}
	if c.held == nil {
		c.held = make(map[string]chan struct{})
	}
	c.held[name] = mine
	return nil
}

func (c *Claims) release(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.held[name])
	delete(c.held, name)
}
