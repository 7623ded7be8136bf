// SPDX-License-Identifier: MIT

// Package forwarding holds the steps that crictl port-forward and critest's port-forward specs share, as cri-tools
// has them (cmd/crictl/portforward.go, pkg/common, pkg/validate/streaming.go): call, URL, dialer, client-go.
package forwarding

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/streaming/pkg/httpstream"
)

// New asks the runtime for the streaming URL of the pod sandbox with this ID and returns what will forward the ports
// over it until ctx is done. ready, unless nil, is closed as soon as the ports listen.
func New(ctx context.Context, runtime internalapi.RuntimeService, transport, id string, ports []string,
	ready chan struct{}, out io.Writer) (*portforward.PortForwarder, error) {
	answer, err := runtime.PortForward(ctx, &runtimeapi.PortForwardRequest{PodSandboxId: id})
	if err != nil {
		return nil, err
	}
	location, err := url.Parse(answer.Url)
	if err != nil {
		return nil, err
	}
	dialer, err := newDialer(transport, location)
	if err != nil {
		return nil, err
	}
	return portforward.NewOnAddressesForStreamingWithContext(ctx, dialer, []string{"127.0.0.1"}, ports, ready, out,
		os.Stderr)
}

func newDialer(transport string, location *url.URL) (httpstream.Dialer, error) {
	config := &rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	switch transport {
	case "spdy":
		tripper, upgrader, err := spdy.RoundTripperFor(config)
		if err != nil {
			return nil, err
		}
		return spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: tripper}, http.MethodPost, location), nil
	case "websocket":
		return portforward.NewSPDYOverWebsocketDialerForStreaming(location, config)
	}
	return nil, fmt.Errorf("no such transport: %q", transport)
}
