# shellcheck shell=bash
# shellcheck disable=SC2154 # tmp, pod: functions.sh and the test set them
# SPDX-License-Identifier: MIT
#
# Sourced after functions.sh.
#
#	postgres_start    a server in $pod on 127.0.0.1:5432, its superuser postgres is trusted; false without one or psql

# Of a user of its own, found where Debian has it.
postgres_start() {
	local postgres
	local as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$tmp/pg" PATH="$PATH")

	postgres=$(command -v postgres || find /usr/lib/postgresql -name postgres -path '*/bin/*' 2>/dev/null | tail -n 1)
	[ -n "$postgres" ] && command -v psql >/dev/null || return
	mkdir -m 700 "$tmp/pg"
	chown 65534:65534 "$tmp/pg"
	"${as_user[@]}" "$(dirname "$postgres")/initdb" -D "$tmp/pg/data" -U postgres -A trust -N >"$tmp/initdb.log" 2>&1
	start_postgres() {
		exec nsenter --net="/run/netns/$pod" -- "${as_user[@]}" "$postgres" -D "$tmp/pg/data" -h 127.0.0.1 -k '' -F
	}
	spawn start_postgres >"$tmp/postgres.log" 2>&1
	wait_for 20 tcp_listens 5432 "$pod"
}
