#!/bin/bash
# SPDX-License-Identifier: MIT
# hvsock: endpoints, against a stand-in for a VMM that splits, delays, floods and truncates its reply,
# and that makes one end of two half-closes. Behind it is a real vzfwd-guest.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
: >"$tmp/seen"
spawn in_pod "$pod" python3 "$here/target.py" "$tmp/seen" 7=echo,shut 8=eof,sleep:0.5,say:'late\n' 9=say:'half\n',shut,eof \
	10=send:100000,hold
for port in 7 8 9 10; do
	wait_for 20 tcp_listens "$port" "$pod"
done
guest_start "$pod"

# A reply, the answer to the request and the stream behind it, all in one write: a VMM and a
# dialer that are ahead of us.
{
	printf 'OK 1\n{"jsonrpc":"2.0","id":1,"result":{"network":"tcp","framing":"raw"}}\n'
	printf 'OK 2\nright behind'
} >"$tmp/ahead"
{
	printf 'OK 1\n{"jsonrpc":"2.0","id":1,"result":{"network":"tcp","framing":"records"}}\n'
	printf '\0\0\0\014right behind\1\0\0\0'
} >"$tmp/ahead-records"
garbage=('' '\n' 'OK\n' 'OK \n' 'OK x\n' 'OK 4294967296\n' 'OK -1\n' 'ok 1\n' 'OK 1 \n' 'OK 1\r\n' ' OK 1\n' 'OK 1\0\n' \
	'NO 1\n' '\x1b[31mred\n' 'HTTP/1.1 400 Bad Request\r\n')
specs=()
for i in "${!garbage[@]}"; do
	specs+=("$tmp/garbage$i=say=${garbage[i]}")
done
spawn python3 "$here/hvsock.py" "$tmp/vmm.log" "$guest_socket" "$tmp/plain=plain" "$tmp/split=split" "$tmp/delay=delay" \
	"$tmp/merge=merge" "$tmp/late=late" "$tmp/vm.sock:5=plain" "$tmp/ahead.sock=file=$tmp/ahead" \
	"$tmp/ahead-records.sock=file=$tmp/ahead-records" "$tmp/flood=flood" "$tmp/cut=say=O" "${specs[@]}" \
	"$tmp/last=say="
vmm=$!
wait_for 10 unix_listens "$tmp/last"

# fails EXIT REASON TEXT NAME ENDPOINT
fails() {
	run vzfwd dial --status-fd 3 "$5" 7 3>"$tmp/status"
	is "$status $(cat "$tmp/out")" "$1 " "$4: exit status"
	like "$(cat "$tmp/err")" "^vzfwd: dial [^"$'\n'"]* tcp 7: $3\$" "$4: one line"
	like "$(cat "$tmp/status")" "\"reason\":\"$2\"" "$4: reason"
}

head -c 3000000 /dev/urandom >"$tmp/sent"
for mode in plain split delay merge late 'vm.sock:5:893' plain:893; do
	run vzfwd dial "hvsock://$tmp/$mode" 7 <"$tmp/sent"
	is "$status $(cat "$tmp/err")" "0 " "$mode"
	same "$tmp/out" "$tmp/sent" "$mode: 3 MB there and back"
done
is "$(grep -vc "request b'CONNECT 893\\\\n'" "$tmp/vmm.log")" 0 "every request came in one piece"

# Half-closes travel in band, so that a VMM which cannot pass them on does no harm.
run vzfwd dial "hvsock://$tmp/merge" 8 <"$tmp/sent"
is "$status $(cat "$tmp/out")" "0 late" "a reply after the end of stdin"
like "$(tail -n 1 "$tmp/seen")" "^8 eof 3000000 $(sha256sum <"$tmp/sent" | cut -d' ' -f1)" "the target got it all"
run vzfwd dial --half-close "hvsock://$tmp/merge" 9 <"$tmp/sent"
is "$status $(cat "$tmp/out")" "0 half" "the target ends first"
wait_for 5 grep -q '^9 ' "$tmp/seen"
like "$(tail -n 1 "$tmp/seen")" "^9 eof 3000000 $(sha256sum <"$tmp/sent" | cut -d' ' -f1)" "the target got what came then"

run vzfwd dial --framing raw "hvsock://$tmp/ahead.sock" 7
is "$(cat "$tmp/out")" "OK 2"$'\nright behind' "not a byte is lost behind the reply"
is "$status $(cat "$tmp/err")" "0 " "a dialer that is ahead"
run vzfwd dial "hvsock://$tmp/ahead-records.sock" 7
is "$(cat "$tmp/out")" "right behind" "not a byte is lost behind the reply, records"

# A pod by name, through listen

vzfwd pod add vm "hvsock://$tmp/split"
spawn vzfwd listen -p vm 127.0.0.1:8080:7 127.0.0.1:8081:10
wait_for 10 tcp_listens 8080
wait_for 10 tcp_listens 8081
ok "20 clients of listen at once" python3 - "$tmp/sent" <<-'PY'
	import socket, sys, threading
	data = open(sys.argv[1], "rb").read()[:300000]
	good = []
	def client(i):
	    sock = socket.create_connection(("127.0.0.1", 8080))
	    mine = data[i:]
	    threading.Thread(target=lambda: (sock.sendall(mine), sock.shutdown(socket.SHUT_WR))).start()
	    got = b""
	    while True:
	        more = sock.recv(1 << 16)
	        if not more:
	            break
	        got += more
	    good.append(got == mine)
	threads = [threading.Thread(target=client, args=(i,)) for i in range(20)]
	for thread in threads: thread.start()
	for thread in threads: thread.join()
	assert good == [True] * 20, good
PY

# What goes wrong

closed='the VMM closed the connection: nobody listens on vsock port'
fails 69 unreachable "$closed 894 in the VM" "a port where nobody listens" "hvsock://$tmp/plain:894"
fails 69 unreachable "$closed 893 in the VM" "an end in mid-reply" "hvsock://$tmp/cut"
fails 69 unreachable "$closed 893 in the VM" "a bare end" "hvsock://$tmp/garbage0"
for i in "${!garbage[@]}"; do
	[ "$i" = 0 ] || fails 70 internal 'the VMM answered something else than OK: ".*"' "${garbage[i]}" "hvsock://$tmp/garbage$i"
done
vzfwd dial "hvsock://$tmp/garbage13" 7 3>"$tmp/status" --status-fd 3 2>"$tmp/err"
like "$(cat "$tmp/err")" ' "\\x1b\[31mred"$' "what the VMM says is escaped"
like "$(cat "$tmp/status")" 'OK: \\"\\\\x1b\[31mred\\""' "what the VMM says is escaped in the status"
fails 70 internal 'the VMM answered something else than OK: "O{100,200}"' "a flood" "hvsock://$tmp/flood"
wait_for 5 grep -q flood "$tmp/vmm.log"
is "$(grep flood "$tmp/vmm.log" | tail -n 1)" "flood flood stopped" "a flood is not read to its end"
fails 69 unreachable ".*$tmp/nothing: no such socket" "no VMM" "hvsock://$tmp/nothing"

# The VM goes away

exec {held}<> <(:)
spawn vzfwd dial --status-fd 5 "hvsock://$tmp/plain" 10 5>"$tmp/status" <&"$held" >"$tmp/out" 2>"$tmp/err"
dial=$!
got_all() {
	[ "$(wc -c <"$tmp/out")" = 100000 ]
}
wait_for 10 got_all
kill -KILL "$vmm"
wait "$dial"
is "$? $(cat "$tmp/err")" "74 vzfwd: dial hvsock://$tmp/plain tcp 10: the link was cut" "the VMM is killed"
is "$(tail -n 1 "$tmp/status")" '{"status":"closed","reason":"cut","bytesIn":100000,"bytesOut":0}' "the VMM is killed: status"
fails 69 unreachable "nobody listens on $tmp/plain" "a stale socket" "hvsock://$tmp/plain"

done_testing
