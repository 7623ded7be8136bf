# shellcheck shell=bash
# shellcheck disable=SC2154 # functions.sh and kubernetes.sh set them
# SPDX-License-Identifier: MIT
#
# The core set, which every client goes through: sourced after kubernetes.sh.
#
#	targets_start           in the pod of the last pod_run: servers for core(), and bulk, how much that moves each way
#	core CLIENT POD         the checks; POD as for session()
#	matrix WAY              all clients over this way of the shim

core_ports=(80 7001 7002 7003 7004 7005 7006)
all=${VZFWD_KUBERNETES_ALL:-no}
bulk=20000000
[ "$all" = no ] || bulk=200000000

targets_start() {
	mkdir -p "$tmp/www"
	head -c 100000 /dev/urandom >"$tmp/www/page"
	spawn in_pod "$pod_netns" python3 "$tools/http-server.py" 127.0.0.1 80 "$tmp/www" 2>"$tmp/http.out"
	# Nobody is on 7005. What has eof reads to the end before it goes on: 3 s later on 7003.
	spawn in_pod "$pod_netns" python3 "$tools/target.py" "$tmp/target.out" 7001=eof,say:whole "7002=send:$bulk" \
		7003=eof,sleep:3,say:late 7004=line,say:FATAL,reset 7006=echo
	wait_for 10 tcp_listens 80 "$pod_netns" && wait_for 10 tcp_listens 7006 "$pod_netns"
}

pattern_sha256() {
	python3 -B -c 'import hashlib, sys; sys.path.insert(0, sys.argv[1]); import target
digest = hashlib.sha256()
for piece in target.pieces(int(sys.argv[2])):
    digest.update(piece)
print(digest.hexdigest())' "$tools" "$1"
}

page_comes() {
	rm -f "$tmp/page"
	get 80 page "$tmp/page" && cmp "$tmp/page" "$tmp/www/page"
}

many_pages() {
	rm -rf "$tmp/many"
	mkdir "$tmp/many"
	curl -sS -m 60 --no-progress-meter --parallel --parallel-immediate --parallel-max 100 -o "$tmp/many/#1" \
		"http://127.0.0.1:$(local_of 80)/page?[1-100]" || return
	for page in "$tmp"/many/*; do
		cmp "$page" "$tmp/www/page" || return
	done
	[ "$(find "$tmp/many" -type f | wc -l)" = 100 ]
}

upload() {
	: >"$tmp/target.out"
	client 7001 "pattern:$bulk" eof expect:whole expect-eof &&
		grep -x "7001 eof $bulk $bulk_sha256" "$tmp/target.out"
}

core() {
	local what="$1" asked

	command -v "${1%:*}" >/dev/null || {
		skip "needs it" "$1"
		return
	}
	bulk_sha256=${bulk_sha256:-$(pattern_sha256 "$bulk")}
	asked=$(wc -l <"$tmp/api.out")
	ok "$what: forwards" session "$1" "$2" "${core_ports[@]}"
	ok "$what: an HTTP GET" page_comes
	ok "$what: 100 at a time" many_pages
	ok "$what: $bulk bytes up" upload
	ok "$what: $bulk bytes down" client 7002 "expect-pattern:$bulk" expect-eof
	ok "$what: 10 MB both ways at once" client 7006 echo:10000000 eof expect-eof
	ok "$what: a half-close, and the answer 3 s later" client 7003 send:question eof expect:late expect-eof
	# kubectl can't pass a reset on: what came before it, then an end.
	ok "$what: a server that tells an error and resets" client 7004 $'send:hello\n' expect:FATAL expect-end
	ok "$what: the session goes on" page_comes
	ok "$what: a port that refuses" client 7005 expect-end
	ok "$what: the session goes on after it" page_comes
	ok "$what: it was one session without an error" session_lives
	# kubectl falls back from WebSocket to SPDY without a word.
	[ "$what" = crictl:spdy ] ||
		is "$(tail -n "+$((asked + 1))" "$tmp/api.out")" "portforward $2 ${1#*:}" "$what: and of this protocol"
	stop "$session_pid"
}

# What is served (both ways of the shim, each a test), from where (a VM, a netns), to whom. The everyday check makes what
# has a *, with a tenth of the bytes; scripts/check --all (VZFWD_KUBERNETES_ALL=yes) makes all:
#
#	                              vm     netns
#	kubectl-newest:websocket      core*  core
#	kubectl-newest:spdy           core
#	kubectl-installed:websocket          core
#	kubectl-installed:spdy               core
#	kubectl-debian:spdy           core
#	crictl:spdy                   core   core*
#	crictl:websocket                     refused*
#
# The other tests (killed.sh, restart.sh, clients.sh) take both ways, the newest kubectl, and the pods that their subject
# is about; critest.sh has the specs of critest.
matrix() {
	ok "a shim" runtime_start "$1"
	ok "a pod behind a vzfwd-guest" pod_run vm vm
	ok "servers in it" targets_start
	ok "an API server" api_start
	core kubectl-newest:websocket vm
	if [ "$all" = yes ]; then
		core kubectl-newest:spdy vm
		core kubectl-debian:spdy vm
		core crictl:spdy "$pod_id"
	fi
	ok "a pod in a netns" pod_run netns netns
	ok "servers in it" targets_start
	if [ "$all" = yes ]; then
		core kubectl-newest:websocket netns
		core kubectl-installed:websocket netns
		core kubectl-installed:spdy netns
	fi
	core crictl:spdy "$pod_id"
	# The streaming library takes no SPDY in a WebSocket, with containerd and CRI-O neither.
	run timeout 20 crictl port-forward --transport websocket "$pod_id" :80
	is "$status" 1 "crictl:websocket is refused"
	like "$(<"$tmp/err")" 'websocket: bad handshake \(403 Forbidden\)$' "crictl:websocket: by the library"
}
