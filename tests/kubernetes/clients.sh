#!/bin/bash
# SPDX-License-Identifier: MIT
# Applications' own clients at the end of kubectl's forwarded ports: curl, redis-cli, psql.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/kubernetes.sh"

# A server of its own user, found where Debian has it.
postgres=$(command -v postgres || find /usr/lib/postgresql -name postgres -path '*/bin/*' 2>/dev/null | tail -n 1)
has_postgres() {
	[ -n "$postgres" ] && command -v psql >/dev/null
}
has_redis() {
	command -v redis-server >/dev/null && command -v redis-cli >/dev/null
}

head -c 5000000 /dev/urandom >"$tmp/body"
head -c 750000 /dev/urandom | base64 -w 0 >"$tmp/value"
seq 20000 | awk '{ print $1 "\t" $1 * $1 }' >"$tmp/rows"
as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$tmp/pg" PATH="$PATH")
if has_postgres; then
	mkdir -m 700 "$tmp/pg"
	chown 65534:65534 "$tmp/pg"
	"${as_user[@]}" "$(dirname "$postgres")/initdb" -D "$tmp/pg/data" -U postgres -A trust -N >"$tmp/initdb.log" 2>&1
fi

postgres_run() {
	exec nsenter --net="/run/netns/$pod_netns" -- "${as_user[@]}" "$postgres" -D "$tmp/pg/data" -h 127.0.0.1 -k '' -F
}

servers_start() {
	mkdir -p "$tmp/www"
	spawn in_pod "$pod_netns" python3 "$tools/http-server.py" 127.0.0.1 80 "$tmp/www" 2>"$tmp/http.out"
	wait_for 10 tcp_listens 80 "$pod_netns" || return
	if has_redis; then
		spawn in_pod "$pod_netns" redis-server --bind 127.0.0.1 --port 6379 --save '' --dir "$tmp" >"$tmp/redis.out"
		wait_for 10 tcp_listens 6379 "$pod_netns" || return
	fi
	if has_postgres; then
		spawn postgres_run >"$tmp/postgres.log" 2>&1
		postgres_pid=$!
		wait_for 20 tcp_listens 5432 "$pod_netns"
	fi
}

query() {
	timeout 30 psql -X -U postgres -h 127.0.0.1 -p "$(local_of 5432)" -d postgres -Atq
}

query_is() {
	[ "$(query <<<"$2")" = "$1" ]
}

http_clients() {
	local url

	url=http://127.0.0.1:$(local_of 80)
	is "$(curl -sS -m 60 -T "$tmp/body" "$url/up")" "$(sha256sum <"$tmp/body" | cut -d' ' -f1)" "$what: curl puts 5 MB"
	curl -sS -m 60 -H 'Transfer-Encoding: chunked' --data-binary "@$tmp/body" -o "$tmp/echo" "$url/echo"
	same "$tmp/echo" "$tmp/body" "$what: curl posts 5 MB in chunks, and gets them back"
}

redis_client() {
	local port

	has_redis || {
		skip "needs redis-server and redis-cli" "$what: redis"
		return
	}
	port=$(local_of 6379)
	is "$(redis-cli -p "$port" -x set key <"$tmp/value")" OK "$what: redis sets 1 MB"
	redis-cli -p "$port" get key | tr -d '\n' >"$tmp/value.got"
	same "$tmp/value.got" "$tmp/value" "$what: and gets it"
	like "$(seq 5000 | sed 's/.*/SET number:& &/' | redis-cli -p "$port" --pipe | tail -n 1)" \
		"^errors: 0, replies: 5000$" "$what: 5,000 in one pipe"
}

# A query whose backend ends in mid-air, by COMMAND and its pid; what psql said is in $tmp/victim.err.
query_dies() {
	local client

	rm -f "$tmp/victim" # of the last one: it is not to be taken for this one's
	query <<<'select pg_backend_pid(); select pg_sleep(60)' >"$tmp/victim" 2>"$tmp/victim.err" &
	client=$!
	wait_for 10 test -s "$tmp/victim" && "$@" "$(cat "$tmp/victim")" >"$tmp/dies.out"
	wait "$client"
}

terminate() {
	query <<<"select pg_terminate_backend($1)"
}

postgres_client() {
	has_postgres || {
		skip "needs psql and a postgres server" "$what: postgres"
		return
	}
	ok "$what: postgres answers" wait_for 20 query_is 1 "select 1"
	{
		echo 'drop table if exists t; create table t (a int, b bigint); copy t from stdin;'
		cat "$tmp/rows"
		echo '\.'
	} | query 2>"$tmp/notice.out"
	query <<<'copy (select * from t order by a) to stdout' >"$tmp/rows.got"
	same "$tmp/rows.got" "$tmp/rows" "$what: postgres, 20,000 rows there and back"
	run timeout 30 psql -X -U postgres -h 127.0.0.1 -p "$(local_of 5432)" -d nowhere -c 'select 1'
	like "$(cat "$tmp/err")" 'FATAL: .*database "nowhere" does not exist' "$what: postgres refuses a database, and psql shows it"
	ok "$what: the session goes on" query_is 1 "select 1"
	query_dies terminate
	like "$(cat "$tmp/victim.err")" "terminating connection due to administrator command" "$what: a backend says why it ends"
	query_dies kill -KILL
	like "$(cat "$tmp/victim.err")" "server closed the connection unexpectedly" "$what: a backend is killed"
	ok "$what: the session still goes on" wait_for 20 query_is 1 "select 1"
}

for way in dial serve; do
	what=$way
	ok "$what: a shim" runtime_start "$way"
	ok "$what: a pod" pod_run "$way" vm
	ok "$what: servers" servers_start
	ok "$what: an API server" api_start
	ok "$what: a session" session kubectl-newest:websocket "$way" 80 5432 6379
	http_clients
	redis_client
	postgres_client
	ok "$what: it was one session without an error" session_lives
	stop "$session_pid"
	[ -z "${postgres_pid:-}" ] || stop "$postgres_pid"
	runtime_stop
done
done_testing
