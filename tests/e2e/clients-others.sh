#!/bin/bash
# SPDX-License-Identifier: MIT
# iperf3 in both directions, redis and PostgreSQL through `vzfwd listen`.
. "$(dirname "$0")/../functions.sh"
. "$(dirname "$0")/postgres.sh"
requires_root
requires python3

pod=$(pod_new)
guest_start "$pod"
vzfwd pod add web "$guest_endpoint"
spawn vzfwd listen -p web 5201 6379 "unix:$tmp/.s.PGSQL.5432:5432" 5432 >"$tmp/listen.out" 2>"$tmp/listen.log"
wait_for 5 tcp_listens 5432

# What a run with these options has transferred, both as sent and as received.
iperf() {
	timeout 60 iperf3 -c 127.0.0.1 --json "$@" >"$tmp/iperf.json" || return
	python3 - "$tmp/iperf.json" <<-'PY'
		import json, sys
		end = json.load(open(sys.argv[1]))["end"]
		print(end["sum_sent"]["bytes"], end["sum_received"]["bytes"])
	PY
}

if command -v iperf3 >/dev/null; then
	for where in "" "in_pod $pod"; do
		$where sh -c 'cd /proc/sys/net/ipv4 && echo 4096 131072 6291456 >tcp_rmem && echo 4096 16384 4194304 >tcp_wmem'
	done
	spawn in_pod "$pod" iperf3 -s -B 127.0.0.1 >"$tmp/iperf-server.out"
	wait_for 10 tcp_listens 5201 "$pod"
	for options in "" "-R" "-P 4" "-P 4 -R"; do
		# shellcheck disable=SC2086 # several words
		read -r sent received <<<"$(iperf -n 256M $options)"
		tap "# iperf3 $options: $(python3 -c "import json
print(round(json.load(open('$tmp/iperf.json'))['end']['sum_received']['bits_per_second'] / 8e6))") MB/s"
		ok "iperf3 ${options:-up}: 256 MiB are sent" test "${sent:-0}" -ge $((256 << 20))
		# It does not wait for what is still on its way when the sender is done: four times two hops' TCP
		# buffers, each of 4 MiB and 6 MiB at most, and little more in between.
		ok "iperf3 ${options:-up}: and received" test "${received:-0}" -ge $((128 << 20))
	done
else
	skip "needs iperf3" iperf3
fi

if command -v redis-server >/dev/null && command -v redis-cli >/dev/null; then
	mkdir "$tmp/redis"
	spawn in_pod "$pod" redis-server --bind 127.0.0.1 --port 6379 --save '' --dir "$tmp/redis" >"$tmp/redis.out"
	wait_for 10 tcp_listens 6379 "$pod"
	head -c 750000 /dev/urandom | base64 -w 0 >"$tmp/value"
	is "$(redis-cli -x set key <"$tmp/value")" OK "redis: a value of 1 MB is set"
	redis-cli get key | tr -d '\n' >"$tmp/value.got"
	same "$tmp/value.got" "$tmp/value" "redis: and got"
	run timeout 60 redis-benchmark -h 127.0.0.1 -q --csv -n 5000 -c 20 -P 16 -t set,get
	is "$status" 0 "redis: requests in pipelines"
	seq 5000 | sed 's/.*/SET number:& &/' >"$tmp/commands"
	like "$(redis-cli --pipe <"$tmp/commands" | tail -n 1)" "^errors: 0, replies: 5000$" "redis: 5,000 in one pipe"
	seq 5000 | sed 's/.*/GET number:&/' | redis-cli | cmp - <(seq 5000) >"$tmp/cmp" 2>&1
	is "$?" 0 "redis: all of them are there"
	is "$(in_pod "$pod" redis-cli dbsize)" "$(redis-cli dbsize)" "redis: seen from inside the same"
else
	skip "needs redis-server and redis-cli" redis
fi

if postgres_start; then
	query() {
		timeout 30 psql -X -U postgres -h "${1:-127.0.0.1}" -d postgres -Atq
	}
	ready() {
		query <<<'select 1' | grep -qx 1
	}
	ok "postgres: a query" wait_for 20 ready
	seq 20000 | awk '{ print $1 "\t" $1 * $1 }' >"$tmp/rows"
	{
		echo 'create table t (a int, b bigint); copy t from stdin;'
		cat "$tmp/rows"
		echo '\.'
	} | query
	query <<<'copy (select * from t order by a) to stdout' >"$tmp/rows.got"
	same "$tmp/rows.got" "$tmp/rows" "postgres: 20,000 rows there and back"
	query "$tmp" <<<'copy (select * from t order by a) to stdout' >"$tmp/rows.unix"
	same "$tmp/rows.unix" "$tmp/rows" "postgres: by a Unix socket"
else
	skip "needs psql and a postgres server" postgres
fi
is "$(cat "$tmp/listen.log")" "" "nothing was worth a line"

done_testing
