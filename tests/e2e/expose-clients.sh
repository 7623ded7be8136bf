#!/bin/bash
# SPDX-License-Identifier: MIT
# Programs in a pod that use what the host has, by `vzfwd expose`: curl, redis-cli, psql; and what another pod has.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/exposing.sh"
. "$(dirname "$0")/postgres.sh"
requires curl

guest_start "$pod" --allow-expose
vzfwd pod add web "$guest_endpoint"
client_pod=$pod
mkdir "$tmp/www"
head -c 20000000 /dev/urandom >"$tmp/www/big"
spawn python3 -m http.server -b 127.0.0.1 -d "$tmp/www" 8000 >"$tmp/http.out" 2>&1
wait_for 20 tcp_listens 8000
expose_start web 80:8000 6379 5432
wait_for 5 has_lines "$tmp/expose.out" Exposing 3
echo "$alias host.vz.internal" >"$tmp/hosts"

# In the pod, with the host's name where its programs look for it.
by_name() {
	in_pod "$client_pod" unshare --mount bash -c 'mount --bind "$0" /etc/hosts && exec "$@"' "$tmp/hosts" "$@"
}

ok "curl" by_name curl -sS -o "$tmp/got" http://host.vz.internal/big
same "$tmp/got" "$tmp/www/big" "curl: every byte"
ok "curl: 40 at a time" by_name curl -sS -Z --parallel-max 40 -o /dev/null "http://host.vz.internal/big?[1-40]"

if command -v redis-server >/dev/null && command -v redis-cli >/dev/null; then
	mkdir "$tmp/redis"
	spawn redis-server --bind 127.0.0.1 --port 6379 --save '' --dir "$tmp/redis" >"$tmp/redis.out"
	wait_for 10 tcp_listens 6379
	head -c 750000 /dev/urandom | base64 -w 0 >"$tmp/value"
	is "$(by_name redis-cli -h host.vz.internal -x set key <"$tmp/value")" OK "redis: a value of 1 MB is set"
	by_name redis-cli -h host.vz.internal get key | tr -d '\n' >"$tmp/value.got"
	same "$tmp/value.got" "$tmp/value" "redis: and got"
	run by_name timeout 60 redis-benchmark -h host.vz.internal -q --csv -n 5000 -c 20 -P 16 -t set,get
	is "$status" 0 "redis: requests in pipelines"
else
	skip "needs redis-server and redis-cli" redis
fi

# postgres.sh has its server in $pod, which is to be the host here.
touch /run/netns/host
mount --bind /proc/self/ns/net /run/netns/host
pod=host
if postgres_start; then
	psql() {
		by_name psql -h host.vz.internal -U postgres -v ON_ERROR_STOP=1 -At "$@"
	}
	ok "psql: a table" psql -c "create table t as select n, repeat('x', 1000) as text from generate_series(1, 20000) n"
	psql -c "copy t to stdout" >"$tmp/copied"
	is "$(wc -lc <"$tmp/copied" | tr -s ' ')" "$(printf ' %d %d' 20000 20128894 | tr -s ' ')" "psql: 20,000 rows come"
	ok "psql: and go" psql -c "create table u (like t)" -c "\\copy u from $tmp/copied"
	is "$(psql -c "select count(*), sum(length(text)) from u")" "20000|20000000" "psql: all of them"
else
	skip "needs PostgreSQL" psql
fi
pod=$client_pod
stop "$expose_pid"

# A sibling, by a name and an address of its own.

sibling=$(pod_new)
guest_start "$sibling"
vzfwd pod add db "$guest_endpoint"
spawn in_pod "$sibling" python3 -m http.server -b 127.0.0.1 -d "$tmp/www" 80 >"$tmp/sibling.out" 2>&1
wait_for 20 tcp_listens 80 "$sibling"
expose_start web 80:8000 db=192.168.127.253:80:pod:db:80
wait_for 5 has_lines "$tmp/expose.out" Exposing 2
ok "a sibling" in_pod "$pod" curl -sS -o "$tmp/got" http://192.168.127.253/big
same "$tmp/got" "$tmp/www/big" "a sibling: every byte"
is "$(lines "$tmp/sibling.out" 'GET /big')" 1 "a sibling: it was that"
stop "$expose_pid"
done_testing
