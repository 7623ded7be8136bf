#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd pod` and the command line around it: what is printed, where, and every exit code.
. "$(dirname "$0")/../functions.sh"

# fails STATUS ERE NAME COMMAND...: the exit status, one line on stderr, nothing on stdout.
fails() {
	local want=$1 pattern=$2 name=$3

	shift 3
	run "$@"
	is "$status" "$want" "$name: exit status"
	like "$(cat "$tmp/err")" "^vzfwd: $pattern$" "$name: what is said"
	is "$(wc -l <"$tmp/err")" 1 "$name: in one line"
	is "$(cat "$tmp/out")" "" "$name: stdout is empty"
}

# prints TEXT NAME COMMAND...: success, and exactly this on stdout.
prints() {
	local text=$1 name=$2

	shift 2
	run "$@"
	is "$status" 0 "$name: exit status"
	is "$(cat "$tmp/out" && echo x)" "${text}x" "$name: stdout"
	is "$(cat "$tmp/err")" "" "$name: stderr is empty"
}

run vzfwd
is "$status" 64 "no arguments: exit status"
like "$(cat "$tmp/err")" "^Usage: vzfwd " "no arguments: usage on stderr"
fails 64 "unknown command nosuch .*" "an unknown command" vzfwd nosuch
fails 64 "unknown command .x1b\[31m .*" "what is told is escaped" vzfwd $'\e[31m'
fails 64 "unknown option --nosuch" "an unknown option" vzfwd --nosuch pod list
fails 64 "pod: a command is missing .*" "a group alone" vzfwd pod
fails 64 "pod: unknown command nosuch .*" "an unknown command of a group" vzfwd pod nosuch
fails 64 "pod list: unknown option --nosuch" "a command's unknown option" vzfwd pod list --nosuch
fails 64 "pod list: unknown option --replace" "another command's option" vzfwd pod list --replace
fails 64 "pod add: usage: .*" "an operand is missing" vzfwd pod add web
fails 64 "pod list: usage: .*" "an operand too many" vzfwd pod list web
fails 64 "help: no such command: nosuch" "help for nothing" vzfwd help nosuch
fails 64 "--log-level: .*, got loud" "a bad log level" vzfwd --log-level loud pod list
for command in dial listen ports check pod "pod add" "pod rm" "pod list" "pod show" help; do
	# shellcheck disable=SC2086 # words of a command
	run vzfwd $command --help
	is "$status" 0 "$command --help: exit status"
	like "$(head -n 1 "$tmp/out")" "^Usage: vzfwd $command" "$command --help: on stdout"
	# shellcheck disable=SC2086
	ok "help $command: the same" sh -c "vzfwd help $command | cmp - $tmp/out"
done
like "$(vzfwd --version)" "^vzfwd [0-9]" "--version"
is "$(vzfwd pod list -V)" "$(vzfwd -V)" "--version behind a command"

prints "" "no pods" vzfwd pod list
prints $'[]\n' "no pods as JSON" vzfwd pod list --json
prints "" "add" vzfwd pod add web vsock://3:5000
prints "" "add with options" vzfwd pod add --handle=h db $'exec:echo \e[31m' --token-file "$tmp/token"
fails 73 "pod add: pod web is registered already .*" "add again" vzfwd pod add web vsock://4
prints "" "add --replace" vzfwd pod add web vsock://4 --replace
mkdir "$VZFWD_PODS_DIR/folder.json"
fails 73 "pod add: $VZFWD_PODS_DIR/folder.json: is a directory" "a folder in its place" vzfwd pod add folder vsock://4 --replace
rmdir "$VZFWD_PODS_DIR/folder.json"
fails 64 "pod add: a pod's name .*" "a bad name" vzfwd pod add ../web vsock://4
fails 64 "pod add: endpoint: .*" "a bad endpoint" vzfwd pod add x vsock://x
fails 64 "pod add: handle .*" "a bad handle" vzfwd pod add x vsock://4 --handle a/b
prints $'NAME  ENDPOINT            HANDLE\ndb    exec:echo \\x1b[31m  h\nweb   vsock://4           web\n' \
	"list" vzfwd pod list
prints $'[
  {
    "name": "db",
    "endpoint": "exec:echo \\u001B[31m",
    "handle": "h",
    "tokenFile": "'"$tmp"$'/token"
  },
  {
    "name": "web",
    "endpoint": "vsock://4",
    "handle": "web"
  }
]\n' "list --json" vzfwd pod list --json
prints $'name:       web\nendpoint:   vsock://4\nhandle:     web\n' "show" vzfwd pod show web
prints $'{\n  "name": "web",\n  "endpoint": "vsock://4",\n  "handle": "web"\n}\n' \
	"show --json" vzfwd pod show --json web
cd "$tmp" || exit
prints "" "a relative token file" vzfwd pod add db vsock://5 --replace --token-file token
like "$(vzfwd pod show db)" "token file: $tmp/token" "is made absolute"

for output in "pod list" "pod show web" "pod list --json" --help "pod --help" --version; do
	is "$(exit_of sh -c "vzfwd $output >/dev/full")" 74 "$output to a full disk: exit status"
	is "$(exit_of sh -c "vzfwd $output >&-")" 74 "$output to a closed stdout: exit status"
done
for output in --help --version "nat --help" "exec --version"; do
	is "$(exit_of sh -c "vzfwd-guest $output >/dev/full")" 74 "vzfwd-guest $output to a full disk: exit status"
done
fails 66 "pod show: no pod nosuch is registered in .*" "show what is not there" vzfwd pod show nosuch

echo "{" >"$VZFWD_PODS_DIR/bad.json"
echo '{"endpoint":"vsock://3"}' >"$VZFWD_PODS_DIR/unsafe.json"
chmod 666 "$VZFWD_PODS_DIR/unsafe.json"
fails 78 "pod show: .*/bad.json:2:0: malformed: .*" "a malformed file" vzfwd pod show bad
fails 77 "pod show: .*/unsafe.json: is writable by others .*" "an unsafe file" vzfwd pod show unsafe
run vzfwd pod list
is "$status" 78 "list with bad files: the first one's exit status"
is "$(wc -l <"$tmp/err")" 2 "list with bad files: a line on stderr for each"
is "$(cut -d ' ' -f 1 "$tmp/out" | tr '\n' ' ')" "NAME db web " "list with bad files: the others are there"
rm "$VZFWD_PODS_DIR/bad.json"
is "$(exit_of vzfwd pod list)" 77 "list with an unsafe file: exit status"
chmod 777 "$VZFWD_PODS_DIR"
fails 77 "pod list: .*/pods: is writable by others .*" "an unsafe folder" vzfwd pod list
chmod 700 "$VZFWD_PODS_DIR"

run vzfwd pod rm web nosuch unsafe
is "$status" 66 "rm of several: exit status of the one that failed"
is "$(cd "$VZFWD_PODS_DIR" && ls -A)" db.json "rm of several: the others are gone"
prints "" "--pods-dir" vzfwd --pods-dir "$tmp/other" pod add web vsock://3
is "$(vzfwd pod list --pods-dir "$tmp/other" | tail -n 1)" "web   vsock://3  web" "--pods-dir behind the command"
like "$(vzfwd --log-format json pod show nosuch 2>&1)" '^\{.*"message":"pod show: no pod nosuch' "--log-format json"

done_testing
