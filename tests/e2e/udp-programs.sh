#!/bin/bash
# SPDX-License-Identifier: MIT
# dig and dnsmasq, iperf3 -u, and DTLS by openssl through `vzfwd listen …/udp` and `vzfwd dial … udp`.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3

pod=$(pod_new)
guest_start "$pod"
vzfwd pod add web "$guest_endpoint"
spawn vzfwd listen -p web 5353:53/udp 5201 5201/udp 4433/udp >"$tmp/listen.out" 2>"$tmp/listen.log"
listen_pid=$!
wait_for 10 udp_bound 4433

if command -v dig >/dev/null && command -v dnsmasq >/dev/null; then
	long=$(printf 'x%.0s' {1..250})
	spawn in_pod "$pod" dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --pid-file \
		--user=root --listen-address=127.0.0.1 --bind-interfaces --edns-packet-max=4096 \
		--address=/test.example/192.0.2.7 --address=/test.example/2001:db8::7 \
		--txt-record=long.example,"$long,$long,$long,$long,$long,$long,$long,$long" >"$tmp/dnsmasq.log" 2>&1
	wait_for 10 udp_bound 53 "$pod"
	run dig @127.0.0.1 -p 5353 +tries=1 +time=10 +short test.example A test.example AAAA
	is "$(cat "$tmp/out")" "192.0.2.7"$'\n'"2001:db8::7" "dig: an answer"
	run dig @::1 -p 5353 +tries=1 +time=10 +short test.example
	is "$(cat "$tmp/out")" 192.0.2.7 "dig: over IPv6"
	run dig @127.0.0.1 -p 5353 +tries=1 +time=10 +ignore +notcp +bufsize=4096 +short long.example TXT
	is "$(tr -d ' "\n' <"$tmp/out" | sha256sum)" "$(printf '%s' "$long$long$long$long$long$long$long$long" | sha256sum)" \
		"dig: 2,000 bytes in one datagram"
	for i in {1..200}; do
		echo "n$i.test.example"
	done >"$tmp/names"
	run dig @127.0.0.1 -p 5353 +tries=3 +time=10 +short -f "$tmp/names"
	is "$(sort "$tmp/out" | uniq -c | tr -s ' ')" " 200 192.0.2.7" "dig: 200 questions"
	# The question by hand, through dial: the answer is one datagram, with the question's number in front.
	printf '\x12\x34\x01\0\0\1\0\0\0\0\0\0\4test\7example\0\0\1\0\1' >"$tmp/question"
	run vzfwd dial web udp --udp-idle 0.5 127.0.0.1:53 <"$tmp/question"
	is "$status $(head -c 4 "$tmp/out" | od -An -tx1)" "0  12 34 85 80" "dial: an answer"
	like "$(tail -c 4 "$tmp/out" | od -An -tu1)" "192 +0 +2 +7" "dial: which is the right one"
else
	skip "needs dig and dnsmasq" DNS
fi

# Bits a second as sent, datagrams sent, lost, and out of order: what iperf3 says of a run with these options.
iperf() {
	timeout 60 iperf3 -c 127.0.0.1 -u -t 1 --json "$@" >"$tmp/iperf.json" || return
	python3 - "$tmp/iperf.json" <<-'PY'
		import json, sys
		end = json.load(open(sys.argv[1]))["end"]
		stream = end["streams"][0]["udp"]
		print(int(end["sum"]["bits_per_second"]), end["sum"]["packets"], end["sum"]["lost_packets"], stream["out_of_order"])
	PY
}

if command -v iperf3 >/dev/null; then
	spawn in_pod "$pod" iperf3 -s -B 127.0.0.1 >"$tmp/iperf-server.out"
	wait_for 10 tcp_listens 5201 "$pod"
	for options in "-b 4M -l 1200" "-b 4M -l 1200 -R" "-b 100M -l 8192" "-b 100M -l 65507 -R"; do
		# shellcheck disable=SC2086 # several words
		read -r bits packets lost disordered <<<"$(iperf $options)"
		tap "# iperf3 -u $options: $((${bits:-0} / 1000000)) Mbit/s, ${lost:-?} of ${packets:-?} lost"
		ok "iperf3 -u $options: it runs" test "${packets:-0}" -gt 50
		is "${disordered:-none}" 0 "iperf3 -u $options: in order"
		case $options in
		# On a busy machine as many are lost without vzfwd too; all of them would be ours.
		"-b 4M"*) ok "iperf3 -u $options: at most a tenth lost" test "$((${lost:-0} * 10))" -le "${packets:-0}" ;;
		esac
	done
else
	skip "needs iperf3" iperf3
fi

if command -v openssl >/dev/null; then
	openssl req -x509 -newkey rsa:3072 -nodes -days 2 -subj /CN=pod -keyout "$tmp/key.pem" -out "$tmp/cert.pem" \
		2>"$tmp/openssl.log"
	mkfifo "$tmp/to-server" "$tmp/to-client"
	spawn in_pod "$pod" openssl s_server -dtls -accept 127.0.0.1:4433 -cert "$tmp/cert.pem" -key "$tmp/key.pem" -quiet \
		<>"$tmp/to-client" >"$tmp/at-server" 2>"$tmp/s_server.log"
	wait_for 10 udp_bound 4433 "$pod"
	spawn timeout 60 openssl s_client -dtls -connect 127.0.0.1:4433 -CAfile "$tmp/cert.pem" -verify_return_error -quiet \
		<>"$tmp/to-server" >"$tmp/at-client" 2>"$tmp/s_client.log"
	for side in server client; do
		printf '%s: %s\n' $side "$(printf 'y%.0s' {1..1200})" >"$tmp/sent-$side"
		cat "$tmp/sent-$side" >"$tmp/to-$side"
		ok "DTLS: a line gets to the $side" wait_for 20 cmp "$tmp/sent-$side" "$tmp/at-$side"
	done
else
	skip "needs openssl" DTLS
fi

not_ok "listen is still there" gone "$listen_pid"
# iperf3's server may be gone before the last datagrams of a test reach it.
is "$(grep -v ':5201/udp #[0-9]*: connection refused$' "$tmp/listen.log")" "" "it had nothing to complain of"
done_testing
