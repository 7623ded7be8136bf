#!/bin/bash
# SPDX-License-Identifier: MIT
# `vzfwd proxy`: real clients of SOCKS 5 and of HTTP proxies reach pods by their names.
. "$(dirname "$0")/../functions.sh"
requires_root
requires python3 curl openssl nc socat busybox

here=$(cd "$(dirname "$0")" && pwd)
pod=$(pod_new)
mkdir "$tmp/www"
echo "the page of web" >"$tmp/www/page"
head -c 200000000 /dev/urandom >"$tmp/www/large"
head -c 20000000 "$tmp/www/large" >"$tmp/www/less"
sum=$(sha256sum <"$tmp/www/large")
sum=${sum%% *}
less=$(sha256sum <"$tmp/www/less")
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=web \
	-addext subjectAltName=DNS:web -keyout "$tmp/key.pem" -out "$tmp/cert.pem" 2>"$tmp/openssl.log"
# Nobody has 10.20.30.2.
ip link add v0 netns "$pod" type veth peer name v1
ip link set v1 up
ip -n "$pod" address add 10.20.30.1/24 dev v0
ip -n "$pod" link set v0 up
ip -n "$pod" neighbour add 10.20.30.2 lladdr 02:00:00:00:00:02 dev v0
spawn in_pod "$pod" python3 "$here/http-server.py" 127.0.0.1 80 "$tmp/www" 2>/dev/null
spawn in_pod "$pod" socat "TCP6-LISTEN:8443,bind=[::1],reuseaddr,fork" EXEC:sha256sum
cd "$tmp/www" || exit 99
spawn in_pod "$pod" openssl s_server -quiet -WWW -accept 127.0.0.1:443 -cert "$tmp/cert.pem" -key "$tmp/key.pem" \
	2>"$tmp/s_server.log"
wait_for 10 tcp_listens 80 "$pod"
wait_for 10 tcp_listens 443 "$pod"
wait_for 10 tcp_listens 8443 "$pod"
guest_start "$pod" --allow 10.20.30.0/24
vzfwd pod add web "$guest_endpoint"
vzfwd pod add gone "unix://$tmp/nobody.sock"
vzfwd pod add over "netns:$tmp/no-netns"
spawn vzfwd proxy --timeout 0.5 >"$tmp/proxy.out" 2>"$tmp/proxy.log"
proxy_pid=$!
spawn vzfwd proxy -p web --timeout 0.5 '*:1081' >"$tmp/own.out" 2>"$tmp/own.log"
spawn vzfwd proxy "unix:$tmp/proxy.sock" >"$tmp/unix.out" 2>"$tmp/unix.log"
unix_pid=$!
wait_for 10 tcp_listens 1080
wait_for 10 tcp_listens 1081
wait_for 10 unix_listens "$tmp/proxy.sock"
socks=socks5h://127.0.0.1:1080
http=http://127.0.0.1:1080

fetch() {
	curl -sSf --max-time 60 "$@"
}

is "$(cat "$tmp/proxy.out")" "Proxy at 127.0.0.1:1080, settings at http://127.0.0.1:1080/proxy.pac
Proxy at [::1]:1080, settings at http://[::1]:1080/proxy.pac" "it says where it is"
like "$(cat "$tmp/own.log")" '0\.0\.0\.0:1081 can be reached from other machines' "and warns if that is for other machines"
is "$(cat "$tmp/proxy.log")" "" "and only then"

# By name, in every way.
is "$(fetch -x "$socks" http://web/page)" "the page of web" "SOCKS 5: port 80 of a pod by its name"
is "$(fetch -p -x "$http" http://web/page)" "the page of web" "CONNECT: the same"
is "$(fetch -x "$http" http://web/page)" "the page of web" "GET http://web/: the same"
is "$(http_proxy=$http busybox wget -q -O - http://web/page)" "the page of web" "busybox wget"
is "$(fetch -x "socks5h://[::1]:1080" http://web/page)" "the page of web" "by ::1 too"
is "$(fetch -x "socks5h://localhost$tmp/proxy.sock" http://web/page)" "the page of web" "by a Unix socket"
is "$(fetch --cacert "$tmp/cert.pem" -x "$socks" https://web/page)" "the page of web" "SOCKS 5: https, and the name is the certificate's"
is "$(fetch --cacert "$tmp/cert.pem" -x "$http" https://web/page)" "the page of web" "CONNECT: https"
like "$(cat "$tmp/proxy.out")" 'Handling connection for web:443' "it says which connections there are"
is "$(printf 'GET /page HTTP/1.0\r\n\r\n' | nc -X 5 -x 127.0.0.1:1080 web 80 | tail -n 1)" "the page of web" "nc -X 5"
is "$(printf 'GET /page HTTP/1.0\r\n\r\n' | nc -X connect -x 127.0.0.1:1080 web 80 | tail -n 1)" "the page of web" "nc -X connect"

# In bulk, and to its end.
is "$(fetch -x "$socks" http://web/large | sha256sum)" "$sum  -" "SOCKS 5: 200 MB down"
is "$(fetch -x "$socks" -T "$tmp/www/less" http://web/put)  -" "$less" "SOCKS 5: 20 MB up"
is "$(fetch -p -x "$http" http://web/less | sha256sum)" "$less" "CONNECT: 20 MB down"
is "$(fetch -p -x "$http" -T "$tmp/www/large" http://web/put)" "$sum" "CONNECT: 200 MB up"
is "$(fetch -x "$http" http://web/large | sha256sum)" "$sum  -" "GET: 200 MB down"
is "$(fetch -x "$http" -T "$tmp/www/less" http://web/put)  -" "$less" "PUT: 20 MB up, after 100 Continue"
is "$(fetch -x "$http" -H Expect: -T - http://web/put <"$tmp/www/less")  -" "$less" "PUT: 20 MB up in chunks"
is "$(fetch -x "$http" --data-binary "@$tmp/www/less" http://web/echo | sha256sum)" "$less" "POST: 20 MB up, and down in chunks"
run fetch -x "$http" -w '%{num_connects}' -o /dev/null http://web/page -o /dev/null http://web/page
is "$(cat "$tmp/out")" 11 "a connection for each"
is "$(nc -N -X 5 -x 127.0.0.1:1080 web 8443 <"$tmp/www/less")" "$less" "half-close: the sum of 20 MB comes after their end"
is "$(nc -N -X connect -x 127.0.0.1:1080 web 8443 <"$tmp/www/page")" "$(sha256sum <"$tmp/www/page")" "half-close behind CONNECT"

# localhost and addresses.
is "$(fetch -x socks5h://127.0.0.1:1081 http://localhost/page)" "the page of web" "-p POD: localhost is the pod"
is "$(fetch -x socks5://127.0.0.1:1081 http://127.0.0.1/page)" "the page of web" "-p POD: 127.0.0.1"
is "$(fetch -p -x http://127.0.0.1:1081 http://127.0.0.1/page)" "the page of web" "-p POD: 127.0.0.1 by CONNECT"
is "$(nc -N -X 5 -x 127.0.0.1:1081 ::1 8443 <"$tmp/www/page")" "$(sha256sum <"$tmp/www/page")" "-p POD: ::1"
is "$(VZFWD_POD=web fetch -x socks5h://127.0.0.1:1081 http://web/page)" "the page of web" "-p POD: others by name as ever"

# What curl says of a failure: the reply's number, or the status.
reply_of() {
	curl -sS --max-time 20 -o /dev/null -x "$@" 2>&1 | sed -n 's/.*Can.t complete SOCKS5 connection to .* (\([0-9]*\))$/\1/p'
}
status_of() {
	curl -s --max-time 20 -o /dev/null -w '%{http_connect}' -p -x "$@"
}
while read -r reply connect proxy url what; do
	is "$(reply_of "socks5h://127.0.0.1:$proxy" "$url")" "$reply" "SOCKS 5: $what: $reply"
	is "$(status_of "http://127.0.0.1:$proxy" "$url")" "$connect" "CONNECT: $what: $connect"
	is "$(curl -s --max-time 20 -o /dev/null -w '%{http_code}' -x "http://127.0.0.1:$proxy" "$url")" "$connect" \
		"GET: $what: $connect"
done <<'END'
4 404 1080 http://nobody/ no such pod
5 502 1080 http://web:81/ nobody listens on the port
3 502 1080 http://gone/ no VM
4 502 1080 http://over/ the pod is not running
2 403 1080 http://localhost/ localhost without -p
2 403 1080 http://127.0.0.1/ an address without -p
2 403 1081 http://192.0.2.1/ an address that is not the pod's
6 504 1081 http://10.20.30.2/ nobody answers
END
like "$(curl -s -p -x "$http" -D - -o /dev/null http://web:81/)" '^HTTP/1.1 502 Bad Gateway' "the status line says so too"
like "$(printf 'CONNECT web:81 HTTP/1.1\r\n\r\n' | nc -N 127.0.0.1 1080 | tail -n 1)" \
	'^vzfwd: web:81: .*connection refused' "with a line that says why"
like "$(grep 'nobody:80' "$tmp/proxy.log")" 'no pod nobody is registered' "so does the log"

# The settings of browsers.
run fetch -D "$tmp/head" -o "$tmp/pac" http://127.0.0.1:1080/proxy.pac
like "$(tr -d '\r' <"$tmp/head")" 'Content-Type: application/x-ns-proxy-autoconfig' "/proxy.pac has its type"
like "$(cat "$tmp/pac")" '"web": 1.*SOCKS5 127\.0\.0\.1:1080; PROXY 127\.0\.0\.1:1080' "/proxy.pac names pods and proxy"
like "$(fetch "http://[::1]:1080/proxy.pac")" 'SOCKS5 \[::1\]:1080' "by the address that it was asked at"
is "$(curl -s -o /dev/null -w '%{http_code}' -I "$http/proxy.pac")" 200 "HEAD"
is "$(curl -s -o /dev/null -w '%{http_code}' -d x "$http/proxy.pac")" 405 "POST is none of it"
is "$(curl -s -o /dev/null -w '%{http_code}' "$http/")" 404 "nor are other paths"
is "$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: rebound.example:1080' "$http/proxy.pac")" 403 \
	"not for pages: a name that leads here"
is "$(curl -s -o /dev/null -w '%{http_code}' -H 'Sec-Fetch-Site: cross-site' "$http/proxy.pac")" 403 \
	"not for pages: what the browser says of them"
vzfwd pod add Later "$guest_endpoint"
like "$(fetch "$http/proxy.pac")" '"later": 1' "it has the pods that there are, as browsers write them"
vzfwd pod rm Later

# Users.
printf 'me:correct horse\nyou:0:0\n' >"$tmp/users"
chmod 640 "$tmp/users"
is "$(exit_of vzfwd proxy --auth-file "$tmp/users" 1082)" 77 "users that others can read are refused"
chmod 600 "$tmp/users"
is "$(exit_of vzfwd proxy --auth-file "$tmp/none" 1082)" 66 "so is a file that is not there"
echo "me" >"$tmp/bad"
chmod 600 "$tmp/bad"
is "$(exit_of vzfwd proxy --auth-file "$tmp/bad" 1082)" 64 "and one of another kind"
spawn vzfwd proxy --auth-file "$tmp/users" 1082 >"$tmp/auth.out" 2>"$tmp/auth.log"
wait_for 10 tcp_listens 1082
for proxy in socks5h://127.0.0.1:1082 http://127.0.0.1:1082; do
	is "$(fetch -p -x "$proxy" -U "me:correct horse" http://web/page)" "the page of web" "$proxy: a user"
	is "$(fetch -p -x "$proxy" -U "you:0:0" http://web/page)" "the page of web" "$proxy: another one"
	not_ok "$proxy: a wrong password" fetch -p -x "$proxy" -U me:wrong http://web/page
	not_ok "$proxy: half of a password" fetch -p -x "$proxy" -U "me:correct" http://web/page
	not_ok "$proxy: no user" fetch -p -x "$proxy" http://web/page
done
is "$(fetch -x http://127.0.0.1:1082 -U you:0:0 http://web/page)" "the page of web" "GET: a user"
is "$(curl -s -o /dev/null -w '%{http_code}' -x http://127.0.0.1:1082 http://web/page)" 407 "GET: no user: 407"
is "$(status_of http://127.0.0.1:1082 http://web/)" 407 "CONNECT: no user: 407"
is "$(status_of http://127.0.0.1:1082 -U me:x http://web/)" 407 "CONNECT: a wrong one: 407"
like "$(fetch http://127.0.0.1:1082/proxy.pac)" '"PROXY 127\.0\.0\.1:1082"' "browsers give passwords to HTTP proxies only"
not_ok "and get no names without one" grep -q '"web"' <(fetch http://127.0.0.1:1082/proxy.pac)
like "$(cat "$tmp/auth.log")" "a client's user and password were refused" "refusals are logged"
not_ok "passwords are not" grep -E 'correct|wrong' "$tmp/auth.log"

# As a command.
is "$(exit_of vzfwd proxy 1080)" 73 "a port in use"
is "$(exit_of vzfwd proxy nonsense)" 64 "no port"
is "$(exit_of vzfwd proxy 1083 1084)" 64 "one listener only"
is "$(exit_of vzfwd proxy -p nobody 1083)" 66 "-p: no such pod"
nc -N -X 5 -x 127.0.0.1:1080 web 8443 >"$tmp/open.out" < <(exec sleep 60) &
wait_for 5 eval "[ \"\$(grep -c 'web:8443' '$tmp/proxy.out')\" = 3 ]"
kill -TERM "$proxy_pid"
wait "$proxy_pid"
is $? 0 "SIGTERM ends it, with 0"
stop "$unix_pid"
ok "and its Unix socket goes with it" test ! -e "$tmp/proxy.sock"
done_testing
