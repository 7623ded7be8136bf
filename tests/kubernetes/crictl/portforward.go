// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	internalapi "k8s.io/cri-api/pkg/apis"

	"vzfwd/tests/kubernetes/forwarding"
)

// portForward is crictl's: the runtime's PortForward call answers with a URL, and client-go forwards over it until
// SIGINT comes or the runtime ends the session.
func portForward(ctx context.Context, runtime internalapi.RuntimeService, args []string) error {
	flags := flag.NewFlagSet("port-forward", flag.ContinueOnError)
	transport := flags.String("transport", "spdy", "spdy or websocket")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() < 2 {
		return fmt.Errorf("port-forward needs a pod's ID and ports")
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	forwarder, err := forwarding.New(ctx, runtime, *transport, flags.Arg(0), flags.Args()[1:], nil, os.Stdout)
	if err != nil {
		return fmt.Errorf("port forward: %w", err)
	}
	return forwarder.ForwardPorts()
}
