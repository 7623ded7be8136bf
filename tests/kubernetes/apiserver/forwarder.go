// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/proxy"
	translation "k8s.io/apiserver/pkg/util/proxy"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// forwarder is the portforward subresource, put together as the API server's is (PortForwardREST.Connect in
// pkg/registry/core/pod/rest): SPDY is passed on as it is; in a WebSocket with SPDY in it (KEP-4006) the tunnel
// ends here. The kubelet in between, which passes on to the runtime's URL by the same proxy handler, is left out.
type forwarder struct {
	runtime internalapi.RuntimeService
}

func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	location, err := f.locate(r)
	if err != nil {
		replyError(w, err)
		return
	}
	protocol := "spdy"
	if wsstream.IsWebSocketRequestWithTunnelingProtocol(r) {
		protocol = "websocket"
	}
	fmt.Println("portforward", r.PathValue("name"), protocol)
	spdy := proxy.NewUpgradeAwareHandler(location, nil, false, true, proxy.NewErrorResponder(responder{w}))
	translation.NewTranslatingHandler(spdy, translation.NewTunnelingHandler(spdy),
		wsstream.IsWebSocketRequestWithTunnelingProtocol).ServeHTTP(w, r)
}

// locate asks the runtime where the pod's streams are taken.
func (f *forwarder) locate(r *http.Request) (*url.URL, error) {
	sandbox, err := findPod(r, f.runtime)
	if err != nil {
		return nil, err
	}
	answer, err := f.runtime.PortForward(r.Context(), &runtimeapi.PortForwardRequest{PodSandboxId: sandbox.Id})
	if err != nil {
		return nil, err
	}
	return url.Parse(answer.Url)
}

type responder struct{ http.ResponseWriter }

func (r responder) Error(err error) { replyError(r, err) }

// replyError tells an error as the API server does, which is how kubectl shows its text.
func replyError(w http.ResponseWriter, err error) {
	reason := apierrors.APIStatus(nil)
	if !errors.As(err, &reason) {
		code := http.StatusInternalServerError
		if status.Code(err) == codes.NotFound {
			code = http.StatusNotFound
		}
		reason = &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: int32(code), Message: err.Error()}}
	}
	answer := reason.Status()
	answer.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(answer.Code))
	json.NewEncoder(w).Encode(answer)
}
