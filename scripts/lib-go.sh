# shellcheck shell=bash
# shellcheck disable=SC2154 # top and work: lib.sh sets them
# SPDX-License-Identifier: MIT
#
# The Go programs, for scripts/check and scripts/bench: contrib/cri-shim, and what tests it with Kubernetes' own clients.
# Sourced after lib.sh. All that is left behind is in Go's own caches.

go_modules=("$top/contrib/cri-shim" "$top/tests/kubernetes")
kubernetes=$work/kubernetes # where the programs are
export GOFLAGS="-mod=readonly -buildvcs=false -trimpath" GOTOOLCHAIN=local CGO_ENABLED=0

needs_go() {
	local wanted have

	wanted=$(sed -n 's/^go //p' "${go_modules[@]/%//go.mod}" | sort -V | tail -n 1)
	have=$(go env GOVERSION 2>/dev/null)
	have=${have#go}
	[ -n "$have" ] || unavailable "needs Go $wanted" || return
	[ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ] ||
		unavailable "needs Go $wanted, has $have"
}

# Downloads what the modules are built from, where Go's cache hasn't got it.
get_modules() {
	local module log=$work/go-modules.log

	for module in "${go_modules[@]}"; do
		go list -C "$module" -deps -test ./... >/dev/null 2>"$log" && continue
		cat "$log"
		grep -qE 'dial tcp|no such host|timeout|unreachable' "$log" || return 1
		unavailable "modules can't be downloaded: $(tail -n 1 "$log")" || return
	done
}

# The programs, in $kubernetes; kubectl under a name that shadows none.
build_go() {
	local version

	needs_go && get_modules || return
	mkdir -p "$kubernetes"
	# As Kubernetes counts: v0.37.2 of the module is v1.37.2.
	version=$(go list -C "$top/tests/kubernetes" -m -f '{{.Version}}' k8s.io/kubectl) || return
	version="-X k8s.io/component-base/version.gitVersion=v1${version#v0}"
	go build -C "$top/contrib/cri-shim" -ldflags='-s -w' -o "$kubernetes/cri-shim" . &&
		go build -C "$top/tests/kubernetes" -ldflags='-s -w' -o "$kubernetes/" ./apiserver ./crictl &&
		go build -C "$top/tests/kubernetes" -ldflags="-s -w $version" -o "$kubernetes/kubectl-newest" ./kubectl &&
		go test -C "$top/tests/kubernetes" -ldflags='-s -w' -c -o "$kubernetes/critest" ./critest || return
	if command -v kubectl; then
		ln -sf "$(command -v kubectl)" "$kubernetes/kubectl-installed"
	fi
}

# Debian's kubectl, beside those of the machine.
get_debian_kubectl() {
	unpack_packages debian kubernetes-client && ln -sf "$work/debian/usr/bin/kubectl" "$kubernetes/kubectl-debian"
}
