// SPDX-License-Identifier: MIT

// The steps of crictl (cri-tools), with the libraries that it uses: cri-tools itself is no module that can be built
// everywhere. What is rebuilt here is what a test of port forwarding needs:
//
//	crictl [-r ENDPOINT] runp CONFIG.json         the pod sandbox's ID
//	crictl [-r ENDPOINT] stopp|rmp ID
//	crictl [-r ENDPOINT] pods                     "ID STATE NAME" a line
//	crictl [-r ENDPOINT] inspectp ID              the runtime's own words on it, "KEY VALUE" a line
//	crictl [-r ENDPOINT] version                  "NAME VERSION APIVERSION"
//	crictl [-r ENDPOINT] port-forward [--transport spdy|websocket] ID [LOCAL:]REMOTE...
//
// The endpoint may come from $CONTAINER_RUNTIME_ENDPOINT, as crictl's.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	cri "k8s.io/cri-client/pkg"
)

const timeout = 10 * time.Second // of each call

// command runs with the words behind its name.
type command func(ctx context.Context, runtime internalapi.RuntimeService, args []string) error

var commands = map[string]command{
	"runp":         runPod,
	"stopp":        withID(internalapi.RuntimeService.StopPodSandbox),
	"rmp":          withID(internalapi.RuntimeService.RemovePodSandbox),
	"pods":         listPods,
	"inspectp":     withID(inspectPod),
	"version":      printVersion,
	"port-forward": portForward,
}

func runPod(ctx context.Context, runtime internalapi.RuntimeService, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("runp needs a file")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	config := &runtimeapi.PodSandboxConfig{}
	if err := protojson.Unmarshal(text, config); err != nil {
		return err
	}
	id, err := runtime.RunPodSandbox(ctx, config, "")
	if err == nil {
		fmt.Println(id)
	}
	return err
}

func withID(call func(internalapi.RuntimeService, context.Context, string) error) command {
	return func(ctx context.Context, runtime internalapi.RuntimeService, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("needs a pod's ID")
		}
		return call(runtime, ctx, args[0])
	}
}

func listPods(ctx context.Context, runtime internalapi.RuntimeService, _ []string) error {
	pods, err := runtime.ListPodSandbox(ctx, nil)
	for _, pod := range pods {
		fmt.Println(pod.Id, pod.State, pod.Metadata.GetName())
	}
	return err
}

func inspectPod(runtime internalapi.RuntimeService, ctx context.Context, id string) error {
	answer, err := runtime.PodSandboxStatus(ctx, id, true)
	for key, value := range answer.GetInfo() {
		fmt.Println(key, value)
	}
	return err
}

func printVersion(ctx context.Context, runtime internalapi.RuntimeService, _ []string) error {
	version, err := runtime.Version(ctx, "v1")
	if err == nil {
		fmt.Println(version.RuntimeName, version.RuntimeVersion, version.RuntimeApiVersion)
	}
	return err
}

func run() error {
	endpoint := flag.String("r", os.Getenv("CONTAINER_RUNTIME_ENDPOINT"), "the runtime's `endpoint`")
	flag.Parse()
	command, known := commands[flag.Arg(0)]
	if !known {
		return fmt.Errorf("no such command: %q", flag.Arg(0))
	}
	ctx := context.Background()
	runtime, err := cri.NewRemoteRuntimeService(ctx, *endpoint, timeout, nil, false)
	if err != nil {
		return err
	}
	return command(ctx, runtime, flag.Args()[1:])
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "crictl:", err)
		os.Exit(1)
	}
}
