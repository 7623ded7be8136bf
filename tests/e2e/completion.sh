#!/bin/bash
# SPDX-License-Identifier: MIT
# The completions in a real bash, zsh and fish: commands, options, pods, and what listens in a pod.
. "$(dirname "$0")/../functions.sh"
requires_root
requires busybox socat

completions=${abs_top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}/completions
export completions HOME=$tmp TERM=dumb

pod=$(pod_new)
in_pod "$pod" ip addr add 10.7.7.7/32 dev lo
spawn in_pod "$pod" busybox httpd -f -p 127.0.0.1:80 -h "$tmp"
spawn in_pod "$pod" busybox httpd -f -p 8081 -h "$tmp"
spawn in_pod "$pod" busybox httpd -f -p 10.7.7.7:443 -h "$tmp"
wait_for 5 tcp_listens 80 "$pod"
wait_for 5 tcp_listens 8081 "$pod"
spawn in_pod "$pod" socat -u UDP4-RECV:53 STDOUT >/dev/null
wait_for 5 tcp_listens 443 "$pod"
wait_for 5 udp_bound 53 "$pod"
guest_start "$pod"
vzfwd pod add web "$guest_endpoint"
vzfwd pod add gone "unix://$tmp/gone.sock"
mkdir "$tmp/files" "$tmp/files/token-dir"
touch "$tmp/files/token-one" "$tmp/files/token two"

# What stands on the line after all candidates were put there, a word a line, to $tmp/words.

# insert-completions (M-*); the function shows what the shell made of the line. Only the first
# candidate has what stood before it: to bash, a word begins behind each : and =.
complete_bash() {
	local words head

	read -ra words <<<"$1."
	head=${words[-1]%.}
	head=${head%"${head##*[:=]}"}
	printf '%s\n' ". $completions/vzfwd" "vzfwd() { printf '%s\\n' \"\$@\" >$tmp/all; }" \
		"$1"$'\e*' exit | bash --norc -i
	awk -v last=$((${#words[@]} - 1)) -v head="$head" \
		'{ print (NR > last ? head : "") $0 }' "$tmp/all" >"$tmp/words"
}

cat >"$tmp/.zshrc" <<'ZSH'
fpath=($completions $fpath)
autoload -Uz compinit
compinit -D -u
insert_all() {
	_main_complete
	compstate[insert]=all
}
zle -C insert-all complete-word insert_all
zle-line-init() {
	BUFFER=$complete_line
	CURSOR=$#BUFFER
	zle insert-all
	print -rl -- "${(@Q)${(@z)BUFFER}[2,-1]}" >$HOME/words
	BUFFER=exit
	zle accept-line
}
zle -N zle-line-init
ZSH
complete_zsh() {
	complete_line=$1 ZDOTDIR=$tmp script -qec "zsh -i" /dev/null
}

# All but the last word is taken from the line, since fish prints candidates only.
complete_fish() {
	local words

	read -ra words <<<"${1% *}"
	printf '%s\n' "${words[@]:1}" >"$tmp/words"
	fish --no-config -c "source $completions/vzfwd.fish; complete -C \"$1\"" |
		cut -f 1 >>"$tmp/words"
}

# completes LINE WORD...: the line, with all candidates in the place of its last word.
completes() {
	local line=$1 shell

	shift
	for shell in bash zsh fish; do
		if ! command -v "$shell" >/dev/null || ! command -v script >/dev/null; then
			skip "needs $shell and script" "$line"
			continue
		fi
		rm -f "$tmp/words"
		"complete_$shell" "$line" >"$tmp/complete.log" 2>&1
		# Where folders are completed, zsh and fish end them in a slash.
		is "$(sed 's|/$||' "$tmp/words" | grep . | sort | tr '\n' ' ')" \
			"$(printf '%s\n' "$@" | sed 's|/$||' | sort | tr '\n' ' ')" "$shell: $line"
	done
}

completes "vzfwd che" check
completes "vzfwd " dial listen proxy expose egress run up serve ports check pod status help
completes "vzfwd pod " pod add rm list show
completes "vzfwd help pod s" help pod show
completes "vzfwd pod show " pod show gone web
completes "vzfwd dial w" dial web
completes "vzfwd expose " expose gone web
completes "vzfwd expose w" expose web
completes "vzfwd -v listen -p " -v listen -p gone web
completes "vzfwd pod add --rep" pod add --replace
completes "vzfwd proxy --auth" proxy --auth-file
completes "vzfwd egress w" egress web
completes "vzfwd egress --upstream-" egress --upstream-file
completes "vzfwd --log-f" --log-format
completes "vzfwd --log-format j" --log-format json
completes "vzfwd ports --log-level=d" ports --log-level=debug
completes "vzfwd pod add x vs" pod add x vsock://
completes "vzfwd pod add --token-file $tmp/files/token-o" pod add --token-file "$tmp/files/token-one"
completes "vzfwd pod add --token-file=$tmp/files/token-o" pod add "--token-file=$tmp/files/token-one"
completes "vzfwd --pods-dir $tmp/files/" --pods-dir "$tmp/files/token-dir/"

completes "vzfwd dial web tcp " dial web tcp 80 8081 10.7.7.7:443
completes "vzfwd dial web tcp 127.0.0.1:8" dial web tcp 127.0.0.1:80 127.0.0.1:8081
completes "vzfwd dial web tcp 10" dial web tcp 10.7.7.7:443
completes "vzfwd dial web 80" dial web 80 8081
completes "vzfwd dial web u" dial web udp udp4 udp6 unix
completes "vzfwd dial web udp4 " dial web udp4 53
completes "vzfwd dial web unix " dial web unix
completes "vzfwd listen -p web " listen -p web 80 8081 443:10.7.7.7:443 53/udp
completes "vzfwd listen -p web 9000:80" listen -p web 9000:80 9000:8081
completes "vzfwd listen --pod=web :80" listen --pod=web :80 :8081
completes "vzfwd run -p web " run -p web 80 8081 443:10.7.7.7:443 53/udp
completes "vzfwd up --dir" up --direct
completes "vzfwd up $tmp/files/token-o" up "$tmp/files/token-one"
completes "vzfwd run 80 -- setpri" run 80 -- setpriv
completes "vzfwd run 80 -- cat $tmp/files/token-o" run 80 -- cat "$tmp/files/token-one"
completes "vzfwd dial gone tcp " dial gone tcp
completes "vzfwd nosuch " nosuch

# From here on, the program itself.
complete() {
	run vzfwd __complete "$@"
	[ "$status" = 0 ] && [ ! -s "$tmp/err" ]
}

ok "silent without a word" complete
is "$(cat "$tmp/out")" "" "and nothing comes"
ok "silent after a bad option" complete dial --nosuch ""
is "$(cat "$tmp/out")" "" "and nothing comes"
ok "silent where the pod is not reached" complete dial gone tcp ""
is "$(cat "$tmp/out")" "" "and nothing comes"
ok "after --, no options" complete dial -- -
is "$(grep -c -e '^-' "$tmp/out")" 0 "only operands come"
ok "flags in a bundle before an option's value" complete ports -vvvvvvvvp ""
is "$(cut -f 1 "$tmp/out" | tr '\n' ' ')" "gone web " "are no values"

# A dialer that answers what could steer a terminal.
cat >"$tmp/evil" <<'SH'
read -r line
id=${line#*\"id\":}
id=${id%%[,\}]*}
printf '{"jsonrpc":"2.0","id":%s,"result":{"ports":[' "$id"
printf '{"network":"tcp","address":"a\\u001b[31m","port":1,"process":null},'
printf '{"network":"tcp","address":"b\\nc","port":2,"process":null},'
printf '{"network":"tcp","address":"::","port":3,"process":{"pid":1,"name":"d\\t\\u001b]0;x\\u0007\\u202e"}}'
printf ']}}\n'
cat >/dev/null
SH
vzfwd pod add evil "exec:sh $tmp/evil"
ok "a hostile dialer" complete dial evil tcp ""
is "$(cat "$tmp/out")" $'3\td\\x09\\x1b]0;x\\x07\\xe2\\x80\\xae' "only what can be typed, escaped"

# A dialer that never answers costs a second, and a command that was only typed is not run.
vzfwd pod add slow "exec:echo \$\$ >$tmp/slow.pid; exec cat >/dev/null"
start=$(date +%s%N)
ok "a silent dialer" complete dial slow tcp ""
took=$((($(date +%s%N) - start) / 1000000))
is "$((took < 3000))" 1 "is given up soon ($took ms)"
ok "its command ends" wait_for 5 gone "$(cat "$tmp/slow.pid")"
ok "a command as the pod" complete dial "exec:touch $tmp/typed" tcp ""
is "$(ls "$tmp/typed" 2>/dev/null)" "" "is not run"

done_testing
