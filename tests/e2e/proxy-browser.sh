#!/bin/bash
# SPDX-License-Identifier: MIT
# One setting of a browser, the address of /proxy.pac, opens every pod by its name. Run by scripts/check --all, since
# browsers are large.
. "$(dirname "$0")/../functions.sh"
requires_root
requires chromium busybox

for name in web shop; do
	pod=$(pod_new)
	mkdir "$tmp/$name"
	echo "<p id=x>page</p><script>document.getElementById('x').textContent = 'this is ' + location.host</script>" \
		>"$tmp/$name/index.html"
	spawn in_pod "$pod" busybox httpd -f -p 127.0.0.1:80 -h "$tmp/$name"
	spawn in_pod "$pod" busybox httpd -f -p 127.0.0.1:8080 -h "$tmp/$name"
	wait_for 5 tcp_listens 80 "$pod"
	wait_for 5 tcp_listens 8080 "$pod"
	guest_start "$pod"
	vzfwd pod add "$name" "$guest_endpoint"
done
# A page of somebody else, who wants to know which pods there are.
mkdir "$tmp/other"
cat >"$tmp/other/index.html" <<'END'
<p id=x>nothing</p>
<script src="http://127.0.0.1:1080/proxy.pac"></script>
<script>
x.textContent = "pods: " + (typeof pods == "undefined" ? "unknown" : Object.keys(pods));
</script>
END
spawn busybox httpd -f -p 127.0.0.1:8000 -h "$tmp/other"
spawn vzfwd proxy >"$tmp/proxy.out" 2>"$tmp/proxy.log"
wait_for 5 tcp_listens 1080
wait_for 5 tcp_listens 8000

# The page as it is once its scripts have run.
browse() {
	HOME=$tmp timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
		--disable-background-networking --user-data-dir="$tmp/profile" --dump-dom "$@" 2>"$tmp/chromium.log"
}

pac=--proxy-pac-url=http://127.0.0.1:1080/proxy.pac
like "$(browse "$pac" http://web/)" 'this is web<' "a pod, by its name"
like "$(browse "$pac" http://shop/)" 'this is shop<' "another one"
like "$(browse "$pac" http://web:8080/)" 'this is web:8080<' "another port"
ok "through the proxy" grep -q "Handling connection for web:8080" "$tmp/proxy.out"
like "$(browse "$pac" http://127.0.0.1:8000/)" 'pods: unknown<' "a page that asks for the pods does not get to know them"
not_ok "and came past the proxy" grep -q 8000 "$tmp/proxy.out"
like "$(browse --proxy-server=http://127.0.0.1:1080 http://web/)" 'this is web<' "as an HTTP proxy"
like "$(browse --proxy-server=socks5://127.0.0.1:1080 http://web/)" 'this is web<' "as a SOCKS proxy"
done_testing
