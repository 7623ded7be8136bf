// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"net/http"
	"runtime/debug"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// newHandler answers what kubectl asks: JSON whatever it says that it accepts, and 404 for the newer
// forms of discovery, from which it falls back to these.
func newHandler(runtime internalapi.RuntimeService) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { reply(w, serverVersion()) })
	mux.HandleFunc("GET /api", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, &metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
	})
	mux.HandleFunc("GET /apis", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}})
	})
	mux.HandleFunc("GET /api/v1", func(w http.ResponseWriter, _ *http.Request) { reply(w, resources()) })
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/{name}", func(w http.ResponseWriter, r *http.Request) {
		sandbox, err := findPod(r, runtime)
		if err != nil {
			replyError(w, err)
			return
		}
		reply(w, podOf(sandbox))
	})
	mux.Handle("/api/v1/namespaces/{namespace}/pods/{name}/portforward", &forwarder{runtime})
	return mux
}

// serverVersion is that of the module whose handlers proxy here: v0.37.2 is Kubernetes' v1.37.2.
func serverVersion() *version.Info {
	info := &version.Info{Major: "1"}
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path == "k8s.io/apiserver" {
			info.GitVersion = "v1" + strings.TrimPrefix(module.Version, "v0")
			info.Minor = strings.Split(info.GitVersion, ".")[1]
		}
	}
	return info
}

func resources() *metav1.APIResourceList {
	return &metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: "v1",
		APIResources: []metav1.APIResource{
			{Name: "pods", SingularName: "pod", Namespaced: true, Kind: "Pod", Verbs: metav1.Verbs{"get", "list"},
				ShortNames: []string{"po"}},
			{Name: "pods/portforward", Namespaced: true, Kind: "PodPortForwardOptions",
				Verbs: metav1.Verbs{"create", "get"}},
		},
	}
}

// findPod returns the newest pod sandbox of this name, one that is ready before any that is not.
func findPod(r *http.Request, runtime internalapi.RuntimeService) (*runtimeapi.PodSandbox, error) {
	name := r.PathValue("name")
	sandboxes, err := runtime.ListPodSandbox(r.Context(), nil)
	if err != nil {
		return nil, err
	}
	var found *runtimeapi.PodSandbox
	for _, sandbox := range sandboxes {
		if sandbox.Metadata.GetName() != name || sandbox.Metadata.GetNamespace() != r.PathValue("namespace") {
			continue
		}
		if found == nil || sandbox.State < found.State ||
			sandbox.State == found.State && sandbox.CreatedAt > found.CreatedAt {
			found = sandbox
		}
	}
	if found == nil {
		return nil, apierrors.NewNotFound(corev1.Resource("pods"), name)
	}
	return found, nil
}

func podOf(sandbox *runtimeapi.PodSandbox) *corev1.Pod {
	phase := corev1.PodRunning
	if sandbox.State != runtimeapi.PodSandboxState_SANDBOX_READY {
		phase = corev1.PodSucceeded
	}
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{
			Name: sandbox.Metadata.GetName(), Namespace: sandbox.Metadata.GetNamespace(),
			UID: types.UID(sandbox.Metadata.GetUid()),
		},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
		Status: corev1.PodStatus{Phase: phase},
	}
}

func reply(w http.ResponseWriter, object any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(object)
}
