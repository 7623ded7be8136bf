# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# What scripts/demo and scripts/check share: root, packages, a temporary folder, a build.

set -u
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # for who sources this
build_packages=(autoconf:autoconf automake:automake make:make gcc:gcc libc6-dev
	pkg-config:pkg-config libevent-dev libjansson-dev)
# shellcheck disable=SC2034
qemu_packages=(qemu-system-x86:qemu-system-x86_64 lz4:lz4 busybox-static cpio:cpio)

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$'\e[1m' plain=$'\e[0m'
else
	bold='' plain=''
fi

say() {
	printf '%s\n' "$bold$*$plain"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# become_root SCRIPT ARGUMENT...: returns 0 as root; else starts the script anew by sudo, and returns
# 1 where there is none or nobody to ask for a password.
become_root() {
	[ "$(id -u)" != 0 ] || return 0
	command -v sudo >/dev/null || return 1
	[ -t 0 ] || sudo -n true 2>/dev/null || return 1
	exec sudo -- "$@"
}

# $work is a fresh folder, removed when the script ends; keep_work lets it stay.
make_work() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/$1.XXXXXX") || exit 1
	chmod 755 "$work"
	export TMPDIR=$work # what a compiler or test that is ended leaves goes with it
	trap end_work EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

end_work() {
	trap '' HUP INT TERM # rm is not to be ended by a second one
	remove_policy
	# A child may still have been writing.
	rm -rf "$work" 2>/dev/null || { wait && rm -rf "$work"; }
}

keep_work() {
	trap remove_policy EXIT
}

# /usr/sbin/policy-rc.d, while it is ours: tells Debian's packages not to start services.
own_policy=
remove_policy() {
	[ -z "$own_policy" ] || rm -f "$own_policy"
	own_policy=
}

# Which Debian packages are not installed. PACKAGE:COMMAND is there if the command is, from
# wherever it came.
missing_packages() {
	local package

	for package; do
		case $package in
		*:*) command -v "${package#*:}" ;;
		*) dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -x installed ;;
		esac >/dev/null || echo "${package%:*}"
	done
}

# Installs what is missing, by apt-get. Services among it are not started, now or at the next boot.
install_packages() {
	local missing lock status

	command -v apt-get >/dev/null || return 0 # configure and the tests tell what they miss
	mapfile -t missing < <(missing_packages "$@")
	[ "${#missing[@]}" != 0 ] || return 0
	[ "$(id -u)" = 0 ] || {
		echo "to be installed first (as root): ${missing[*]}" >&2
		return 1
	}
	say "Installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	exec {lock}</usr/sbin
	flock "$lock" # one of these scripts at a time
	# A list that can't be fetched is no matter if the packages are found all the same.
	apt-get -q -o DPkg::Lock::Timeout=300 update >"$work/apt.log" 2>&1
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		own_policy=/usr/sbin/policy-rc.d
		printf '#!/bin/sh\nexit 101\n' >$own_policy
		chmod 755 $own_policy
	fi
	apt-get -qy -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}" \
		>>"$work/apt.log" 2>&1
	status=$?
	remove_policy
	if command -v systemctl >/dev/null; then
		dpkg -L "${missing[@]}" 2>/dev/null |
			sed -n 's|.*/systemd/system/\([^/]*\.service\)$|\1|p' |
			xargs -r systemctl disable --quiet >>"$work/apt.log" 2>&1
	fi
	exec {lock}<&-
	[ "$status" = 0 ] || tail -n 20 "$work/apt.log" >&2
	return "$status"
}

# unavailable WHY: what a step returns that can't be made here. CI has all that is needed, or is to be told.
unavailable() {
	echo "$*"
	[ "${CI:-}" != true ] || return 1
	return 77
}

# Packages of Debian's in $work/NAME, unpacked and not installed: they shadow nothing, and start nothing.
unpack_packages() ( # NAME PACKAGE...
	command -v dpkg && command -v apt-get || unavailable "needs apt-get" || exit
	mkdir "$work/$1" && cd "$work/$1" || exit
	apt-get -q download "${@:2}" || { apt-get -q update && apt-get -q download "${@:2}"; } ||
		unavailable "no packages ${*:2}" || exit
	for package in *.deb; do
		dpkg -x "$package" . || exit
	done
)

# Copies the sources to $work/src, so that no build writes into the tree, and runs autogen.sh there.
copy_source() {
	mkdir "$work/src"
	if [ -e "$top/.git" ]; then
		install_packages git:git || return
		# Also what is not committed yet; root may look at another user's tree.
		git -c safe.directory='*' -C "$top" ls-files -z --cached --others --exclude-standard
	elif [ -e "$top/config.status" ]; then
		echo "$top was built in: make distclean first" >&2
		return 1
	else
		(cd "$top" && find . -type f -print0)
	fi | tar -C "$top" --null --no-recursion --ignore-failed-read -T - -c 2>/dev/null |
		tar -C "$work/src" --no-same-owner -x
	"$work/src/autogen.sh" >"$work/autogen.log" 2>&1 || {
		tail -n 20 "$work/autogen.log" >&2
		return 1
	}
}

# configure_build NAME OPTION...: in $work/NAME.
configure_build() {
	local name=$1

	shift
	mkdir "$work/$name" && (cd "$work/$name" && ../src/configure -q "$@")
}
