#!/bin/bash
# SPDX-License-Identifier: MIT
# The API socket of a real Docker Engine in a pod, by curl and by docker itself. Run by scripts/check --all, since that is
# large.
. "$(dirname "$0")/../functions.sh"
requires_root
requires curl docker dockerd

pod=$(pod_new)
spawn in_pod "$pod" dockerd --host unix:///run/docker.sock --data-root /run/engine --exec-root /run/exec \
	--pidfile /run/dockerd.pid --storage-driver vfs --bridge none --iptables=false --ip6tables=false \
	--ip-forward=false --ip-masq=false >"$tmp/dockerd.log" 2>&1
wait_for 60 curl -sSf --unix-socket /run/docker.sock http://docker/_ping
guest_start "$pod" --allow-unix /run/docker.sock
vzfwd pod add web "$guest_endpoint"
spawn vzfwd listen -p web "unix:$tmp/api.sock:unix:/run/docker.sock" 2375:unix:/run/docker.sock \
	>"$tmp/listen.out" 2>"$tmp/listen.log"
wait_for 10 tcp_listens 2375

export DOCKER_CONFIG=$tmp/config # nobody's own
engine() {
	docker --host "unix://$tmp/api.sock" "$@"
}
is "$(curl -sS --unix-socket "$tmp/api.sock" http://docker/_ping)" OK "curl --unix-socket"
is "$(curl -sS http://127.0.0.1:2375/_ping)" OK "curl over a port"
is "$(curl -sS -o /dev/null -w '%{http_code}' --unix-socket "$tmp/api.sock" http://docker/none)" 404 "an error of its own"
version=$(dockerd --version | sed 's/^Docker version \([^,]*\),.*/\1/')
is "$(engine version --format '{{.Server.Version}}')" "$version" "docker version"
is "$(docker --host tcp://127.0.0.1:2375 version --format '{{.Server.Version}}')" "$version" "the same over a port"

# Bulk both ways, and an answer that goes on while others come and go.

mkdir "$tmp/image"
head -c 50000000 /dev/urandom >"$tmp/image/data"
spawn engine events --since 10m --format '{{.Action}}' >"$tmp/events"
ok "an image is sent" eval 'tar -C "$tmp/image" -c data | engine import - vzfwd:test'
engine save vzfwd:test >"$tmp/saved.tar"
mkdir "$tmp/layers"
tar -C "$tmp/layers" -xf "$tmp/saved.tar"
tar -C "$tmp/layers" -xf "$(find "$tmp/layers" -name layer.tar)"
same "$tmp/layers/data" "$tmp/image/data" "and comes back, byte for byte"
ok "an image is deleted" engine rmi vzfwd:test
ok "events come as they happen" wait_for 10 grep -qx delete "$tmp/events"
is "$(cat "$tmp/listen.log")" "" "without a complaint"
done_testing
