# shellcheck shell=bash
# shellcheck disable=SC2154 # functions.sh sets them
# SPDX-License-Identifier: MIT
#
# What the tests with Kubernetes' clients share; sourced after functions.sh. scripts/check builds their programs into
# $VZFWD_KUBERNETES and names the kubectls that it has found; without them a test is skipped.
#
#	kubectl-newest          of k8s.io/kubectl's newest module: WebSocket unless told otherwise, then SPDY
#	kubectl-installed       that of the machine, if it has one: WebSocket since 1.31, by KUBECTL_PORT_FORWARD_WEBSOCKETS
#	                        since 1.30
#	kubectl-debian          of Debian's kubernetes-client: in Debian 12 that is 1.20, which speaks SPDY only
#	crictl critest apiserver cri-shim
#
#	runtime_start WAY       cri-shim that dials by WAY: dial or serve, then with a `vzfwd serve`; sets shim_pid, serve_pid
#	runtime_stop            both of them and the API server, with all sandboxes
#	api_start               the API server's stand-in, and $KUBECONFIG
#	pod_run NAME KIND       a pod sandbox; KIND is netns, or vm for one behind a vzfwd-guest; sets pod_id and pod_netns, the
#	                        name of its netns in /run/netns, which in_pod() takes
#	session CLIENT POD PORT...    a client's forwarding of free local ports; CLIENT is kubectl-NAME:spdy,
#	                        kubectl-NAME:websocket, crictl:spdy (POD is an ID then); sets session_pid, session_out
#	local_of PORT           the session's local port for PORT of the pod
#	session_lives           it runs, and has told of no error
#	client PORT STEP...     pod-client.py's steps on a connection with PORT of the pod
#	get PORT PATH FILE      an HTTP GET

requires_root
requires python3 curl
[ -n "${VZFWD_KUBERNETES:-}" ] || skip_all "needs the programs that scripts/check builds"
PATH=$VZFWD_KUBERNETES:$PATH
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")/../e2e" && pwd)
export HOME=$tmp CONTAINER_RUNTIME_ENDPOINT=unix://$tmp/cri.sock KUBECONFIG=$tmp/kubeconfig
serve_socket=$tmp/serve.sock
unset KUBECTL_PORT_FORWARD_WEBSOCKETS

runtime_start() {
	local way=$1

	serve_pid=
	if [ "$way" = serve ]; then
		spawn vzfwd serve --socket "$serve_socket" >"$tmp/serve.log" 2>&1
		serve_pid=$!
		wait_for 10 unix_listens "$serve_socket" || return
	fi
	spawn cri-shim --listen "$CONTAINER_RUNTIME_ENDPOINT" --state-dir /run/cri --way "$way" \
		--serve-socket "$serve_socket" >"$tmp/shim.out" 2>"$tmp/shim.log"
	shim_pid=$!
	wait_for 10 test -s "$tmp/shim.out"
}

runtime_stop() {
	local id pid

	crictl pods | while read -r id _; do
		crictl rmp "$id"
	done
	for pid in ${api_pid:-} $shim_pid $serve_pid; do
		stop "$pid"
	done
}

api_start() {
	rm -f "$KUBECONFIG"
	spawn apiserver "$CONTAINER_RUNTIME_ENDPOINT" "$KUBECONFIG" >"$tmp/api.out" 2>"$tmp/api.log"
	api_pid=$!
	wait_for 10 test -s "$KUBECONFIG"
}

pod_run() {
	local name=$1 kind=$2 annotations='{}'

	if [ "$kind" = vm ]; then
		pod_netns=$(pod_new)
		guest_start "$pod_netns" || return
		annotations="{\"vzfwd.io/endpoint\": \"$guest_endpoint\"}"
	fi
	# A pod that is made anew keeps its name and has another uid.
	cat >"$tmp/$name.json" <<-END
		{"metadata": {"name": "$name", "namespace": "default", "uid": "$(cat /proc/sys/kernel/random/uuid)"},
		 "annotations": $annotations}
	END
	pod_id=$(crictl runp "$tmp/$name.json") || return
	if [ "$kind" = netns ]; then
		pod_netns=$pod_id
		ln -s "$(crictl inspectp "$pod_id" | sed -n 's/.*"Endpoint":"netns:\([^"]*\)".*/\1/p')" \
			"/run/netns/$pod_id"
	fi
}

session() {
	local client=${1%:*} transport=${1#*:} pod=$2 ports=("${@:3}") websockets=false

	session_count=$((${session_count:-0} + 1))
	session_out=$tmp/session$session_count.out
	session_err=$tmp/session$session_count.log
	[ "$transport" = spdy ] || websockets=true
	case $client in
	crictl) set -- crictl port-forward --transport "$transport" "$pod" "${ports[@]/#/:}" ;;
	*) set -- env KUBECTL_PORT_FORWARD_WEBSOCKETS=$websockets "$client" port-forward --address 127.0.0.1 \
		"pod/$pod" "${ports[@]/#/:}" ;;
	esac
	spawn "$@" >"$session_out" 2>"$session_err"
	session_pid=$!
	wait_for 20 session_ready "${#ports[@]}"
}

session_ready() {
	[ "$(grep -c '^Forwarding from 127' "$session_out")" = "$1" ]
}

local_of() {
	sed -n "s/^Forwarding from 127.0.0.1:\([0-9]*\) -> $1\$/\1/p" "$session_out"
}

session_lives() {
	! gone "$session_pid" && ! grep -i error "$session_err"
}

client() {
	timeout 120 python3 "$tools/pod-client.py" "127.0.0.1:$(local_of "$1")" "${@:2}"
}

get() {
	curl -sS -m 20 -o "$3" "http://127.0.0.1:$(local_of "$1")/$2"
}
