// SPDX-License-Identifier: MIT

// cri-shim is a CRI runtime endpoint that does one thing: kubectl port-forward, through vzfwd. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
)

type options struct {
	listen      string
	stateDir    string
	way         string
	vzfwd       string
	serveSocket string
	streamAddr  string
	plain       bool
}

func parseOptions(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("cri-shim", flag.ContinueOnError)
	flags.StringVar(&o.listen, "listen", "unix:///run/vzfwd/cri.sock", "the CRI `endpoint`")
	flags.StringVar(&o.stateDir, "state-dir", "/run/vzfwd/cri", "where sandboxes are kept")
	flags.StringVar(&o.way, "way", "dial", "dial: run vzfwd for each connection; serve: ask vzfwd serve")
	flags.StringVar(&o.vzfwd, "vzfwd", "vzfwd", "the vzfwd to run")
	flags.StringVar(&o.serveSocket, "serve-socket", "/run/vzfwd/vzfwd.sock", "the socket of vzfwd serve")
	flags.StringVar(&o.streamAddr, "stream-addr", "127.0.0.1:0", "where streams are served")
	flags.BoolVar(&o.plain, "plain", false, "connect without vzfwd, for comparison")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return o, nil
}

func (o *options) newWay() (Way, error) {
	switch {
	case o.plain:
		return plainWay{}, nil
	case o.way == "dial":
		return dialWay(o.vzfwd), nil
	case o.way == "serve":
		return serveWay(o.serveSocket), nil
	}
	return nil, fmt.Errorf("no such way: %q", o.way)
}

// run serves until ctx ends, and leaves no connection and no child behind.
func run(ctx context.Context, o options) error {
	way, err := o.newWay()
	if err != nil {
		return err
	}
	store, err := openStore(o.stateDir)
	if err != nil {
		return err
	}
	defer store.close()
	control, err := listenUnix(o.listen)
	if err != nil {
		return err
	}
	defer control.Close()
	streams, err := net.Listen("tcp", o.streamAddr)
	if err != nil {
		return err
	}
	defer streams.Close()

	runtime := &Runtime{pods: way, plain: o.plain, store: store, live: make(map[string]*lifetime)}
	sessions := &Sessions{open: make(map[string]*session)}
	forwarder := &Forwarder{way: way, sessions: sessions, running: runtime.running}
	config := streaming.DefaultConfig
	config.BaseURL = &url.URL{Scheme: "http", Host: streams.Addr().String()}
	library, err := streaming.NewServer(config, forwarder)
	if err != nil {
		return err
	}
	runtime.streaming = library
	sessions.handler = library

	web := sessions.server()
	api := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(api, runtime)
	failed := make(chan error, 2)
	go func() { failed <- web.Serve(streams) }()
	go func() { failed <- api.Serve(control) }()
	fmt.Printf("cri-shim: ready on %s, streams on %s\n", o.listen, config.BaseURL)

	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	api.Stop()
	web.Close()
	sessions.end()
	forwarder.wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

func main() {
	o, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "cri-shim:", err)
		os.Exit(64)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err = run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cri-shim:", err)
		os.Exit(1)
	}
}
