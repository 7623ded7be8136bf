#!/bin/bash
# SPDX-License-Identifier: MIT
# A kubectl session for the benchmark: kubectl port-forward → the API server's stand-in → cri-shim → a server.
#
# usage: session.sh WAY FOLDER PORT TARGET-PORT POD-NETNS
#
# WAY is plain (the shim connects by itself, to a server that this starts in the netns that all of it is in), dial, or
# serve; for these two the server is in the pod. Becomes kubectl, which listens on PORT; all else are its children.
# The programs are on PATH; FOLDER is emptied.
set -u
way=$1 folder=$2 port=$3 target=$4 pod_netns=$5

wait_for() {
	local i

	for ((i = 0; i < 300; i++)); do
		"$@" && return
		sleep 0.05
	done
	echo "not within 15 s: $*" >&2
	exit 1
}

rm -rf "$folder"
mkdir -p "$folder"
export HOME=$folder KUBECONFIG=$folder/kubeconfig CONTAINER_RUNTIME_ENDPOINT=unix://$folder/cri.sock
export VZFWD_PODS_DIR=$folder/pods
annotation="\"vzfwd.io/endpoint\": \"unix://$folder/guest.sock\""
options=(--way "$way" --serve-socket "$folder/serve.sock")
case $way in
plain)
	annotation='"vzfwd.io/address": "127.0.0.1"'
	options=(--plain)
	load serve "$target" &
	;;
*)
	vzfwd-guest --listen "unix://$folder/guest.sock" --pod-netns "$pod_netns" &
	wait_for test -S "$folder/guest.sock"
	;;
esac
if [ "$way" = serve ]; then
	vzfwd serve --socket "$folder/serve.sock" &
	wait_for test -S "$folder/serve.sock"
fi
cri-shim --listen "$CONTAINER_RUNTIME_ENDPOINT" --state-dir "$folder/state" "${options[@]}" 2>"$folder/shim.out" &
wait_for test -S "$folder/cri.sock"
cat >"$folder/pod.json" <<END
{"metadata": {"name": "bench", "namespace": "default", "uid": "1"}, "annotations": {$annotation}}
END
crictl runp "$folder/pod.json" || exit
apiserver "$CONTAINER_RUNTIME_ENDPOINT" "$KUBECONFIG" &
wait_for test -s "$KUBECONFIG"
exec kubectl-newest port-forward --address 127.0.0.1 pod/bench "$port:$target"
