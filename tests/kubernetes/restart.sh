#!/bin/bash
# SPDX-License-Identifier: MIT
# What restarts under kubectl: a pod, the vzfwd-guest of a VM, the shim, `vzfwd serve`.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/kubernetes.sh"

# Servers in the pod: one greets, with the name of its instance.
greeter_start() {
	spawn in_pod "$pod_netns" python3 "$tools/target.py" "$tmp/target.out" "7001=say:$1,eof" 7002=echo
	wait_for 10 tcp_listens 7002 "$pod_netns"
}

greeted() {
	client 7001 "expect:$1" eof expect-eof
}

session_ends() {
	wait_for 20 gone "$session_pid" && grep "$1" "$session_err"
}

# A connection that is open at the end of its pod, with bytes in both directions until then.
open_connection() {
	rm -f "$tmp/open"
	client 7002 echo:100000 "touch:$tmp/open" expect-end >"$tmp/connection.out" 2>&1 &
	connection_pid=$!
	wait_for 20 test -e "$tmp/open"
}

connection_ends() {
	wait "$connection_pid" && return
	cat "$tmp/connection.out"
	return 1
}

netns_pod() {
	ok "$way: a pod in a netns" pod_run web netns
	ok "$way: with servers" greeter_start first
	ok "$way: a session" session kubectl-newest:websocket web 7001 7002
	ok "$way: reaches it" greeted first
	ok "$way: a connection stays" open_connection
	ok "$way: the pod is stopped" crictl stopp "$pod_id"
	ok "$way: and the connection ends" connection_ends
	# The next one tells, at the latest, that this session will not be of use any more.
	client 7001 expect-end 2>/dev/null
	ok "$way: so does the session, and says why" session_ends "sandbox .* is not running\|the sandbox was stopped"
	run timeout 20 kubectl-newest port-forward pod/web :7001
	like "$(cat "$tmp/err")" "pod is not running" "$way: a stopped pod is no target"
	ok "$way: the same pod anew" pod_run web netns
	ok "$way: with servers" greeter_start second
	ok "$way: a session" session kubectl-newest:spdy web 7001
	ok "$way: reaches the new one" greeted second
	stop "$session_pid"
}

guest_restart() {
	local where=$guest_endpoint

	stop "$guest_pid"
	spawn vzfwd-guest --listen "$where" --pod-netns "/run/netns/$pod_netns" >"$tmp/again.log" 2>&1
	guest_pid=$!
	wait_for 10 unix_listens "${where#unix://}"
}

vm_pod() {
	ok "$way: a pod in a VM" pod_run vm vm
	ok "$way: with servers" greeter_start vm
	ok "$way: a session" session kubectl-newest:websocket vm 7001 7002
	ok "$way: reaches it" greeted vm
	ok "$way: a connection stays" open_connection
	ok "$way: vzfwd-guest is started anew" guest_restart
	ok "$way: the connection has ended" connection_ends
	ok "$way: the same session goes on" greeted vm
	stop "$guest_pid"
	client 7001 expect-end 2>/dev/null
	ok "$way: without vzfwd-guest the session ends, and says why" session_ends "error forwarding port 7001"
	ok "$way: it is back" guest_restart
	ok "$way: another session" session kubectl-newest:spdy vm 7001
	ok "$way: reaches the pod" greeted vm
}

# With the session of vm_pod().
server_restart() {
	stop "$serve_pid"
	spawn vzfwd serve --socket "$serve_socket" >"$tmp/serve.log" 2>&1
	serve_pid=$!
	wait_for 10 unix_listens "$serve_socket"
}

shim_restart() {
	stop "$shim_pid"
	stop "$api_pid"
	[ -z "$serve_pid" ] || stop "$serve_pid"
	runtime_start "$way" && api_start
}

for way in dial serve; do
	ok "$way: a shim" runtime_start "$way"
	ok "$way: an API server" api_start
	netns_pod
	vm_pod
	if [ "$way" = serve ]; then
		ok "$way: vzfwd serve is started anew" server_restart
		ok "$way: the same session goes on" greeted vm
	fi
	ok "$way: the shim is started anew" shim_restart
	ok "$way: with its session" session_ends "lost connection to pod"
	like "$(crictl pods)" " SANDBOX_READY vm" "$way: it knows its pods"
	ok "$way: a session" session kubectl-newest:websocket vm 7001
	ok "$way: reaches the pod" greeted vm
	stop "$session_pid"
	runtime_stop
done
done_testing
