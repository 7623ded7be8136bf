// SPDX-License-Identifier: MIT

// The port forwarding of Kubernetes without the rest of it: kubectl's side (client-go's portforward, over SPDY)
// and the node's side (the kubelet's streaming library with the copy that CRI runtimes do), joined by
// a Unix socket. No TLS and no API server between, so a real cluster is slower.
//
//	kubectl node SOCKET
//	kubectl port-forward SOCKET LOCAL:REMOTE
//	kubectl version
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/httpstream/spdy"
	kubectl "k8s.io/client-go/tools/portforward"
	node "k8s.io/kubelet/pkg/cri/streaming/portforward"
)

type pod struct{}

func (pod) PortForward(_ context.Context, _ string, _ types.UID, port int32, stream io.ReadWriteCloser) error {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, stream)
		conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	return err
}

func serveNode(socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		node.ServePortForward(w, r, pod{}, "pod", "uid", &node.V4Options{}, 4*time.Hour, 30*time.Second,
			node.SupportedProtocols)
	}))
}

// dialer upgrades a connection to the Unix socket, as kubectl does one to the API server.
type dialer string

type upgraded struct {
	net.Conn
	reader *bufio.Reader
}

func (u upgraded) Read(p []byte) (int, error) { return u.reader.Read(p) }

func (socket dialer) Dial(protocols ...string) (httpstream.Connection, string, error) {
	conn, err := net.Dial("unix", string(socket))
	if err != nil {
		return nil, "", err
	}
	request, err := http.NewRequest("POST", "http://pod/portforward", nil)
	if err != nil {
		return nil, "", err
	}
	request.Header.Set(httpstream.HeaderConnection, httpstream.HeaderUpgrade)
	request.Header.Set(httpstream.HeaderUpgrade, spdy.HeaderSpdy31)
	request.Header[httpstream.HeaderProtocolVersion] = protocols
	if err = request.Write(conn); err != nil {
		return nil, "", err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return nil, "", err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return nil, "", errors.New(response.Status)
	}
	link, err := spdy.NewClientConnectionWithPings(upgraded{conn, reader}, 5*time.Second)
	return link, response.Header.Get(httpstream.HeaderProtocolVersion), err
}

func portForward(socket, ports string) error {
	forwarder, err := kubectl.NewOnAddresses(dialer(socket), []string{"127.0.0.1"}, []string{ports},
		make(chan struct{}), make(chan struct{}), os.Stdout, os.Stderr)
	if err != nil {
		return err
	}
	return forwarder.ForwardPorts()
}

func printVersion() {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "k8s.io/client-go" {
			fmt.Println("client-go", module.Version)
		}
	}
}

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "version":
		printVersion()
		return
	case len(os.Args) == 3 && os.Args[1] == "node":
		log.Fatal(serveNode(os.Args[2]))
	case len(os.Args) == 4 && os.Args[1] == "port-forward":
		log.Fatal(portForward(os.Args[2], os.Args[3]))
	}
	log.Fatal("usage: kubectl node SOCKET | kubectl port-forward SOCKET LOCAL:REMOTE | kubectl version")
}
