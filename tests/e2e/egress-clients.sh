#!/bin/bash
# SPDX-License-Identifier: MIT
# Real clients through `vzfwd egress`, with nothing set in the pod but its resolver: git over HTTPS, apt-get from a mirror, curl.
. "$(dirname "$0")/../functions.sh"
requires_root
requires openssl git
[ -x "$(git --exec-path)/git-http-backend" ] || skip_all "needs git-http-backend"
. "$(dirname "$0")/egressing.sh"

egress_net
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
export HOME=$tmp GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
mirror=$tmp/www/1.1.1.2
mkdir -p "$tmp/www/1.1.1.1" "$mirror" "$tmp/git"
git_root=$tmp/git
git config --global user.name me
git config --global user.email me@good.example
git config --global init.defaultBranch main
git config --global safe.directory "*"
git init -q --bare "$git_root/repo.git"
git -C "$git_root/repo.git" config http.receivepack true
serve_net
names_are "1.1.1.1 git.example" "1.1.1.2 mirror.example" "1.1.1.3 good.example"
guest_start "$pod" --allow-egress
egress_start --allow git.example:443 --allow mirror.example:80

# git.
git init -q "$tmp/mine"
head -c 3000000 /dev/urandom >"$tmp/mine/large"
for i in {1..100}; do
	echo "$i" >"$tmp/mine/file$i"
done
git -C "$tmp/mine" add . && git -C "$tmp/mine" commit -qm first
in_git() {
	in_egress env GIT_SSL_CAINFO="$tmp/net.pem" git "$@"
}
ok "git push" in_git -C "$tmp/mine" push -q https://git.example/git/repo.git main
ok "git clone" in_git clone -q https://git.example/git/repo.git "$tmp/theirs"
is "$(git -C "$tmp/theirs" rev-parse HEAD)" "$(git -C "$tmp/mine" rev-parse HEAD)" "the same commit"
same "$tmp/theirs/large" "$tmp/mine/large" "the same bytes"
echo more >"$tmp/mine/more"
git -C "$tmp/mine" add . && git -C "$tmp/mine" commit -qm second
ok "git push once more" in_git -C "$tmp/mine" push -q https://git.example/git/repo.git main
ok "git pull" in_git -C "$tmp/theirs" pull -q
same "$tmp/theirs/more" "$tmp/mine/more" "what was pulled"
not_ok "git from elsewhere" in_git clone -q https://good.example/git/repo.git "$tmp/none"
not_ok "and over HTTP, which no rule allows" in_git clone -q http://git.example/git/repo.git "$tmp/none"

# apt-get, with folders of its own.
if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
	for package in hello-one hello-two; do
		mkdir -p "$tmp/$package/DEBIAN" "$tmp/$package/usr/share/$package"
		head -c 100000 /dev/urandom >"$tmp/$package/usr/share/$package/data"
		printf '%s\n' "Package: $package" "Version: 1" "Architecture: all" "Maintainer: me <me@good.example>" \
			"Description: a test" >"$tmp/$package/DEBIAN/control"
		dpkg-deb --root-owner-group -b "$tmp/$package" "$mirror/$package.deb" >/dev/null
		{
			cat "$tmp/$package/DEBIAN/control"
			echo "Filename: ./$package.deb"
			echo "Size: $(stat -c %s "$mirror/$package.deb")"
			echo "SHA256: $(sha256sum <"$mirror/$package.deb" | cut -d' ' -f1)"
			echo
		} >>"$mirror/Packages"
	done
	mkdir -p "$tmp/apt/state/lists/partial" "$tmp/apt/cache/archives/partial" "$tmp/apt/etc/"{apt.conf.d,preferences.d,trusted.gpg.d}
	touch "$tmp/apt/status"
	echo "deb [trusted=yes] http://mirror.example/ ./" >"$tmp/apt/sources.list"
	in_apt() {
		(cd "$tmp/apt/cache" && in_egress apt-get -q -o Dir::State="$tmp/apt/state" -o Dir::Cache="$tmp/apt/cache" \
			-o Dir::State::status="$tmp/apt/status" -o Dir::Etc="$tmp/apt/etc" -o Dir::Etc::sourcelist="$tmp/apt/sources.list" \
			-o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root -o Acquire::Retries=0 "$@")
	}
	ok "apt-get update" in_apt -o APT::Update::Error-Mode=any update
	ok "apt-get download" in_apt download hello-one hello-two
	same "$tmp/apt/cache/hello-one_1_all.deb" "$mirror/hello-one.deb" "the package"
	same "$tmp/apt/cache/hello-two_1_all.deb" "$mirror/hello-two.deb" "the other one"
	echo "deb [trusted=yes] http://good.example/ ./" >"$tmp/apt/sources.list"
	not_ok "apt-get update from elsewhere" in_apt -o APT::Update::Error-Mode=any update
else
	skip "needs apt-get and dpkg-deb" apt-get
fi

# curl, which is the other tests' client, with many requests on a connection and many connections.
for i in {1..50}; do
	head -c $((i * 1000)) /dev/urandom >"$mirror/file$i"
done
mkdir "$tmp/files"
got_all() {
	(cd "$tmp/files" && for i in {1..50}; do cat "$i"; done | sha256sum)
}
sum=$(cd "$mirror" && for i in {1..50}; do cat "file$i"; done | sha256sum)
ok "curl: 50 files on one connection" in_egress curl -sSf --max-time 60 -o "$tmp/files/#1" "http://mirror.example/file[1-50]"
is "$(got_all)" "$sum" "every byte of them"
rm "$tmp/files/"*
ok "curl: on 10" in_egress curl -sSf --max-time 60 --parallel --parallel-max 10 -o "$tmp/files/#1" "http://mirror.example/file[1-50]"
is "$(got_all)" "$sum" "every byte of them, by 10"
done_testing
