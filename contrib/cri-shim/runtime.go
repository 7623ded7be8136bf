// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
)

const version = "0.1.0"

// A Runtime is the CRI's runtime service: the life of sandboxes, and PortForward. Everything else is Unimplemented.
type Runtime struct {
	cri.UnimplementedRuntimeServiceServer

	pods      Registry
	plain     bool // pods goes without vzfwd
	streaming streaming.Server

	// Whoever makes, stops or removes a sandbox has claimed it, and asks the registry without mu: that may take long, and
	// is one sandbox's matter.
	claims Claims

	mu    sync.Mutex // of what follows
	store *Store
	live  map[string]*lifetime // of the sandboxes that something was forwarded to
}

// A lifetime ends with its sandbox.
type lifetime struct {
	ctx context.Context
	end context.CancelCauseFunc
}

var errStopped = failure(notRunning, "the sandbox was stopped")

func (r *Runtime) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{
		Version:           "0.1.0", // of the kubelet's runtime API; always this
		RuntimeName:       "vzfwd-cri-shim",
		RuntimeVersion:    version,
		RuntimeApiVersion: "v1",
	}, nil
}

func (r *Runtime) Status(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error) {
	return &cri.StatusResponse{Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{
		{Type: cri.RuntimeReady, Status: true},
		{Type: cri.NetworkReady, Status: true},
	}}}, nil
}

// RunPodSandbox makes the pod's netns, unless it has one elsewhere, and registers the pod. All of it or nothing.
func (r *Runtime) RunPodSandbox(ctx context.Context, req *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
	config := req.GetConfig()
	if config.GetMetadata() == nil {
		return nil, failure(invalid, "sandbox config without metadata")
	}
	if err := checkAnnotations(config.Annotations, r.plain); err != nil {
		return nil, err
	}
	sandbox := &Sandbox{
		ID:             newID(),
		Metadata:       config.Metadata,
		Labels:         config.Labels,
		Annotations:    config.Annotations,
		RuntimeHandler: req.RuntimeHandler,
		HostNetwork: config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork() ==
			cri.NamespaceMode_NODE,
		CreatedAt: time.Now().UnixNano(),
	}
	release, err := r.claims.take(ctx, sandbox.metadataKey())
	if err != nil {
		return nil, err
	}
	defer release()
	if err = r.unique(sandbox); err != nil {
		return nil, err
	}
	if sandbox.ownsNetns() {
		sandbox.Netns = r.store.netns(sandbox.ID)
		if err = makeNetns(sandbox.Netns); err != nil {
			return nil, failure(internal, "making a netns: %v", err)
		}
	}
	if err = r.pods.Add(ctx, sandbox.pod()); err == nil {
		err = r.publish(sandbox)
	}
	if err != nil {
		r.unmake(context.WithoutCancel(ctx), sandbox)
		return nil, err
	}
	return &cri.RunPodSandboxResponse{PodSandboxId: sandbox.ID}, nil
}

// unique refuses another sandbox of a pod that has one which runs.
func (r *Runtime) unique(sandbox *Sandbox) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.store.byID {
		if other.metadataKey() == sandbox.metadataKey() && other.state() == cri.PodSandboxState_SANDBOX_READY {
			return status.Errorf(codes.AlreadyExists, "sandbox %s is this pod's, and still runs", other.ID)
		}
	}
	return nil
}

func (r *Runtime) publish(sandbox *Sandbox) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.store.put(sandbox)
}

// unmake undoes what RunPodSandbox made outside of the store.
func (r *Runtime) unmake(ctx context.Context, sandbox *Sandbox) error {
	err := r.pods.Remove(ctx, sandbox.ID)
	if sandbox.Netns != "" {
		err = errors.Join(err, removeNetns(sandbox.Netns))
	}
	return err
}

func newID() string {
	var id [32]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// StopPodSandbox ends the sandbox's connections and its netns. It may be called any number of times.
func (r *Runtime) StopPodSandbox(ctx context.Context, req *cri.StopPodSandboxRequest) (*cri.StopPodSandboxResponse, error) {
	if err := r.stop(ctx, req.PodSandboxId, false); err != nil {
		return nil, err
	}
	return &cri.StopPodSandboxResponse{}, nil
}

// RemovePodSandbox stops a sandbox if need be, and forgets it.
func (r *Runtime) RemovePodSandbox(ctx context.Context, req *cri.RemovePodSandboxRequest) (*cri.RemovePodSandboxResponse, error) {
	if err := r.stop(ctx, req.PodSandboxId, true); err != nil {
		return nil, err
	}
	return &cri.RemovePodSandboxResponse{}, nil
}

// stop stops a sandbox, and forgets it if it is to. One that is not there, or not any more, is no error.
func (r *Runtime) stop(ctx context.Context, id string, forget bool) error {
	sandbox, err := r.find(id)
	if err == nil {
		var release func()
		if release, err = r.claims.take(ctx, sandbox.ID); err != nil {
			return err
		}
		defer release()
		sandbox, err = r.markStopped(sandbox.ID)
	}
	if isNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	if err = r.unmake(ctx, sandbox); err != nil || !forget {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.store.remove(sandbox.ID)
}

func (r *Runtime) find(id string) (*Sandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.store.find(id)
}

// markStopped ends the sandbox's connections, and from here on there are no new ones.
func (r *Runtime) markStopped(id string) (*Sandbox, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sandbox, err := r.store.find(id)
	if err != nil {
		return nil, err
	}
	if !sandbox.Stopped {
		stopped := *sandbox
		stopped.Stopped = true
		if err = r.store.put(&stopped); err != nil {
			return nil, err
		}
	}
	if life := r.live[id]; life != nil {
		life.end(errStopped)
		delete(r.live, id)
	}
	return sandbox, nil
}

func isNotFound(err error) bool { return status.Code(err) == codes.NotFound }

func (r *Runtime) PodSandboxStatus(_ context.Context, req *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	sandbox, err := r.find(req.PodSandboxId)
	if err != nil {
		return nil, err
	}
	resp := &cri.PodSandboxStatusResponse{Status: sandbox.status()}
	if req.Verbose {
		info, err := json.Marshal(sandbox.pod())
		if err != nil {
			return nil, err
		}
		resp.Info = map[string]string{"pod": string(info)}
	}
	return resp, nil
}

func (r *Runtime) ListPodSandbox(_ context.Context, req *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	resp := &cri.ListPodSandboxResponse{}
	for _, sandbox := range r.store.all() {
		if sandbox.matches(req.Filter) {
			resp.Items = append(resp.Items, sandbox.summary())
		}
	}
	return resp, nil
}

// PortForward answers with the URL at which the caller opens its session; nothing is connected yet.
func (r *Runtime) PortForward(_ context.Context, req *cri.PortForwardRequest) (*cri.PortForwardResponse, error) {
	pod, _, err := r.running(req.PodSandboxId)
	if err != nil {
		return nil, err
	}
	return r.streaming.GetPortForward(&cri.PortForwardRequest{PodSandboxId: pod.Name, Port: req.Port})
}

// running finds the pod of a sandbox that runs, and a context that ends with it.
func (r *Runtime) running(id string) (Pod, context.Context, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sandbox, err := r.store.find(id)
	if err != nil {
		return Pod{}, nil, err
	}
	if sandbox.state() != cri.PodSandboxState_SANDBOX_READY {
		return Pod{}, nil, failure(notRunning, "sandbox %s is not running", sandbox.ID)
	}
	life := r.live[sandbox.ID]
	if life == nil {
		life = new(lifetime)
		life.ctx, life.end = context.WithCancelCause(context.Background())
		r.live[sandbox.ID] = life
	}
	return sandbox.pod(), life.ctx, nil
}
