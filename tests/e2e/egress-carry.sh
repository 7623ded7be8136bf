#!/bin/bash
# SPDX-License-Identifier: MIT
# What goes through `vzfwd egress`, over vzfwd-guest and without a VM: bytes, ends, resets, crowds and datagrams, also hostile ones.
. "$(dirname "$0")/../functions.sh"
requires_root
requires openssl
. "$(dirname "$0")/egressing.sh"

egress_net
size=$((100 << 20))
sanitized && size=$((20 << 20))
size=$((size / VZFWD_TEST_SLOWNESS))
mkdir -p "$tmp/www/1.1.1.1"
head -c 20000 /dev/urandom >"$tmp/www/1.1.1.1/page"
serve_net
names_are "1.1.1.1 good.example"
spawn in_net python3 "$e2e/target.py" "$tmp/target.log" 1.1.1.1:9=echo 1.1.1.1:10="send:$size,shut,eof" \
	1.1.1.1:11=eof,say:bye 1.1.1.1:12=say:hi,shut,eof 1.1.1.1:13=read:1,reset 1.1.1.1:14=eof 1.1.1.1:15=say:first,eof 1.1.1.1:16
wait_for 10 in_net sh -c 'grep -q ":0010 " /proc/net/tcp'
sha_of() {
	python3 -c 'import hashlib, sys; sys.path.insert(0, sys.argv[1]); import target
digest = hashlib.sha256()
for piece in target.pieces(int(sys.argv[2])): digest.update(piece)
print(digest.hexdigest())' "$e2e" "$1"
}
sha=$(sha_of "$size")
udp() {
	in_egress python3 "$e2e/egress-udp.py" "$@"
}
targets_log() {
	grep -qx "$1" "$tmp/target.log"
}
event_count() {
	[ "$(grep -cE "$1" "$tmp/events")" = "$2" ]
}

# Descriptors while there are more new flows than links: of flows that go on, and few more.
floods() {
	local most=0 now flood pid=$guest_pid

	gone "$pid" && pid=$egress_pid
	spawn udp flood 20000 1.1.1.1:7
	flood=$!
	until gone "$flood"; do
		now=$(fds_of "$pid")
		[ "$now" -le "$most" ] || most=$now
	done
	wait "$flood"
	is $? 0 "$1: 20000 flows whose clients go at once"
	ok "$1: with $most descriptors" test "$most" -lt 4000
}

carries() {
	: >"$tmp/target.log"
	ok "$1: $size bytes out and back" client 1.1.1.1:9 "echo:$size" eof expect-eof
	ok "$1: $size bytes in" client 1.1.1.1:10 "expect-pattern:$size" expect-eof close
	ok "$1: $size bytes out" client 1.1.1.1:14 "pattern:$size" eof expect-eof
	ok "$1: all of it" wait_for 10 targets_log "14 eof $size $sha"
	ok "$1: the client ends first" client 1.1.1.1:11 send:abc eof expect:bye expect-eof
	ok "$1: the server ends first" client 1.1.1.1:12 expect:hi expect-eof send:abcdef eof
	ok "$1: what came after its end" wait_for 10 targets_log \
		"12 eof 6 $(printf abcdef | sha256sum | cut -d' ' -f1)"
	ok "$1: the server resets" client 1.1.1.1:13 send:x expect-reset
	ok "$1: the client resets" client 1.1.1.1:15 send:x expect:first reset
	ok "$1: the server is reset" wait_for 10 targets_log "15 reset ECONNRESET"
	ok "$1: a server that speaks first, by IPv4 alone" client 1.1.1.1:15 expect:first close
	ok "$1: nobody listens" client 1.1.1.1:17 expect-reset
	ok "$1: 200 at once" in_egress python3 "$e2e/pod-crowd.py" at-once 1.1.1.1:9 200 20000
	ok "$1: datagrams of all sizes" udp echo 1.1.1.1:7 3 0 1 1472 1473 9000 65507
	ok "$1: by IPv6" udp echo "[2a00::1]:7" 3 1 1400 60000
	ok "$1: one client's to many" udp spread 20 1.1.1.1:7 1.1.1.2:7 1.1.1.3:7 1.1.1.1:443
	ok "$1: and by IPv6" udp spread 20 "[2a00::1]:7" "[2a00::2]:7"
	ok "$1: a flow that was forgotten" udp idle 1.1.1.1:7 "$tmp/events"
	ok "$1: more flows than there may be" udp flows 1100 1.1.1.1:7
	floods "$1"
	# A crowd that says nothing, or a byte now and then, where first bytes are wanted keeps nobody away, and goes.
	spawn in_egress python3 "$e2e/pod-crowd.py" slow 1.1.1.1:80 300 "$tmp/slow"
	crowd=$!
	wait_for 20 test -e "$tmp/slow"
	ok "$1: DNS meanwhile" in_egress getent hosts good.example
	gets http://good.example/page "$tmp/www/1.1.1.1/page" "$1: a page meanwhile"
	ok "$1: the slow are denied" wait_for 30 event_count \
		'"denied".*"target":"1.1.1.1:80".*"its first bytes (have no name|are malformed)"' 300
	ok "$1: of whom the log has some" test "$(grep -c 'denied: 1.1.1.1:80' "$tmp/egress.log")" -lt 150
	stop "$crowd"
	rm "$tmp/slow"
}

rules=(--allow 1.1.1.0/24:7-79 --allow 1.1.1.0/24/udp --allow "[2a00::]/16/udp" --allow good.example --udp-idle 2)
guest_start "$pod" --allow-egress
egress_start "${rules[@]}"
carries vzfwd-guest
like "$(grep '"failed"' "$tmp/events" | head -n 1)" \
	'"event":"failed",.*"forward":"egress","target":"1.1.1.1:17","id":[0-9]+,"client":"127.0.0.1:[0-9]+","reason":"refused","message":"connection refused"' \
	"the event of what was refused"
stop "$egress_pid"
stop "$guest_pid"

rm "$tmp/events"
egress_pod=netns:/run/netns/$pod
egress_start "${rules[@]}"
carries netns:
stop "$egress_pid"

# Limits: what is over them waits, also where several listeners share them.
egress_pod=
guest_again
egress_places=2
egress_start "${rules[@]}" --max-connections 2 --no-dns --udp-idle 6
held=()
for i in 1 2 3; do
	spawn client 1.1.1.1:9 send:x expect:x "touch:$tmp/held$i" "wait:$tmp/go" eof expect-eof
	held+=($!)
	[ "$i" = 3 ] || wait_for 20 test -e "$tmp/held$i"
done
not_ok "a flow of datagrams waits" udp silent 1.1.1.1:7
not_ok "and so does a third connection" test -e "$tmp/held3"
touch "$tmp/go"
for i in "${held[@]}"; do
	wait "$i"
	is $? 0 "a connection that was held"
done
ok "then there is room for datagrams" udp echo 1.1.1.1:7 1 10
stop "$egress_pid"
done_testing
