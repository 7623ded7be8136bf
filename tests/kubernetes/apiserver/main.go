// SPDX-License-Identifier: MIT

// A stand-in for the API server and the kubelet behind it, with as much of both as `kubectl port-forward` needs:
// discovery, GET of a pod, and the pod's portforward subresource, proxied to a CRI runtime by the same
// handlers that the API server uses. What the runtime's ListPodSandbox names is a pod.
//
//	apiserver RUNTIME-ENDPOINT KUBECONFIG
//
// It listens on a free port of 127.0.0.1, with TLS, and writes the kubeconfig once it does. Each forwarding
// is told on stdout in a line: "portforward NAME spdy|websocket".
package main

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	cri "k8s.io/cri-client/pkg"
)

func writeKubeconfig(path string, server *httptest.Server) error {
	config := api.NewConfig()
	certificate := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	config.Clusters["test"] = &api.Cluster{Server: server.URL, CertificateAuthorityData: pem.EncodeToMemory(certificate)}
	config.AuthInfos["test"] = &api.AuthInfo{Token: "test"}
	config.Contexts["test"] = &api.Context{Cluster: "test", AuthInfo: "test"}
	config.CurrentContext = "test"
	// Whole or not there: tests wait for the file.
	if err := clientcmd.WriteToFile(*config, path+".new"); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func run(endpoint, kubeconfig string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	runtime, err := cri.NewRemoteRuntimeService(ctx, endpoint, 10*time.Second, nil, false)
	if err != nil {
		return err
	}
	server := httptest.NewTLSServer(newHandler(runtime))
	if err := writeKubeconfig(kubeconfig, server); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: apiserver RUNTIME-ENDPOINT KUBECONFIG")
		os.Exit(64)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "apiserver:", err)
		os.Exit(1)
	}
}
