#!/bin/bash
# SPDX-License-Identifier: MIT
# HTTP through `vzfwd listen`: curl, and real servers that listen only inside the pod.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 curl

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
mkdir "$tmp/www" "$tmp/got"
for i in $(seq 100); do
	head -c $((i * 3000)) /dev/urandom >"$tmp/www/$i"
done
head -c 50000000 /dev/urandom >"$tmp/www/large"
sum=$(sha256sum <"$tmp/www/large")
sum=${sum%% *}

# Files come from nginx, or whatever there is.
if command -v nginx >/dev/null; then
	cat >"$tmp/nginx.conf" <<-END
		daemon off;
		master_process off;
		pid $tmp/nginx.pid;
		error_log stderr;
		events {
		}
		http {
			access_log off;
			sendfile on;
			client_body_temp_path $tmp/nginx-body;
			proxy_temp_path $tmp/nginx-proxy;
			fastcgi_temp_path $tmp/nginx-fastcgi;
			uwsgi_temp_path $tmp/nginx-uwsgi;
			scgi_temp_path $tmp/nginx-scgi;
			server {
				listen 127.0.0.1:80;
				root $tmp/www;
			}
		}
	END
	spawn in_pod "$pod" nginx -e stderr -c "$tmp/nginx.conf" 2>"$tmp/nginx.log"
else
	spawn in_pod "$pod" python3 "$here/http-server.py" 127.0.0.1 80 "$tmp/www" 2>/dev/null
fi
spawn in_pod "$pod" python3 "$here/http-server.py" 127.0.0.1 81 "$tmp/www" 2>/dev/null
wait_for 10 tcp_listens 80 "$pod"
wait_for 10 tcp_listens 81 "$pod"
guest_start "$pod"
spawn vzfwd listen -p "$guest_endpoint" 8080:80 8081:81 "unix:$tmp/web.sock:80" >"$tmp/listen.out" 2>"$tmp/listen.log"
wait_for 5 tcp_listens 8081
files=http://127.0.0.1:8080
app=http://127.0.0.1:8081

fetch() {
	curl -sSf --max-time 60 "$@"
}

# The files 1..100 of a folder are those of the server.
all_there() {
	(cd "$tmp/www" && sha256sum -- *[0-9]) >"$tmp/sums"
	(cd "$1" && sha256sum --quiet --strict -c "$tmp/sums")
}

ok "the port is not there without" eval '! fetch http://127.0.0.1:80/1 -o /dev/null'
run fetch -w '%{num_connects}' -o "$tmp/got/#1" "$files/[1-5]"
is "$status $(cat "$tmp/out")" "0 10000" "keep-alive: five requests on one connection"
is "$(grep -c '^Handling connection for 8080$' "$tmp/listen.out")" 1 "which is one connection"
same "$tmp/got/5" "$tmp/www/5" "keep-alive: the last file"
rm "$tmp/got"/*
run fetch -Z --parallel-immediate --parallel-max 100 -o "$tmp/got/#1" "$files/[1-100]"
is "$status" 0 "100 requests at a time"
ok "all files are whole" all_there "$tmp/got"
ok "they were many connections" test "$(grep -c '^Handling connection for 8080$' "$tmp/listen.out")" -ge 50
is "$(fetch "$files/large" | sha256sum)" "$sum  -" "50 MB down"
is "$(fetch -T "$tmp/www/large" "$app/large")" "$sum" "50 MB up, after 100 Continue"
is "$(fetch -H Expect: -T "$tmp/www/large" "$app/large")" "$sum" "50 MB up at once"
is "$(fetch -T - "$app/large" <"$tmp/www/large")" "$sum" "50 MB up in chunks"
is "$(fetch --data-binary "@$tmp/www/large" "$app/echo" | sha256sum)" "$sum  -" "50 MB up, and down in chunks"
spawn fetch -o "$tmp/got-large" "$files/large"
large_pid=$!
is "$(fetch "$files/large" 2>/dev/null | head -c 100000 | cmp - <(head -c 100000 "$tmp/www/large") && echo same)" same \
	"a client that leaves in the middle"
wait "$large_pid"
same "$tmp/got-large" "$tmp/www/large" "touches no other"
rm "$tmp/got"/*
run fetch --unix-socket "$tmp/web.sock" -Z --parallel-max 20 -o "$tmp/got/#1" "http://pod/[1-100]"
is "$status" 0 "--unix-socket"
ok "--unix-socket: all files are whole" all_there "$tmp/got"
is "$(fetch -o /dev/null -w '%{http_code}' -X HEAD -I "$files/7")" 200 "HEAD"
run fetch "$files/none"
is "$status" 22 "404 is an answer"

request=$'GET /upgrade HTTP/1.1\r\nHost: pod\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n'
cat >"$tmp/upgrade.py" <<'PY'
import socket, sys
sock = socket.create_connection(("127.0.0.1", 8081), 20)
stream = sock.makefile("rwb", buffering=0)
stream.write(sys.argv[1].encode())
head = []
while (line := stream.readline()) not in (b"\r\n", b""):
    head.append(line)
assert head[0].startswith(b"HTTP/1.1 101 "), head
for i in range(200):
    stream.write(b"message %d\n" % i)
    answer = stream.readline()
    assert answer == b"MESSAGE %d\n" % i, answer
stream.write(b"bye\n")
assert stream.read() == b""
PY
ok "an upgraded connection: 200 lines in turn" timeout 30 python3 "$tmp/upgrade.py" "$request"
is "$(cat "$tmp/listen.log")" "" "nothing was worth a line"

done_testing
