/* SPDX-License-Identifier: MIT */
/* Listeners of the guest, and the check of who connects to them. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h> /* older linux/vm_sockets.h needs it before */
#ifdef HAVE_VSOCK
#include <linux/vm_sockets.h>
#endif

#include "lib/sock.h"
#include "listen.h"

#define PRIVILEGED_PORTS 1024

#ifdef HAVE_VSOCK

static int listen_vsock(const struct endpoint *ep, struct error *err)
{
	struct sockaddr_vm svm = { .svm_family = AF_VSOCK,
				   .svm_cid = ep->cid,
				   .svm_port = ep->port };
	_cleanup_close_ int fd = sock_new(AF_VSOCK, SOCK_STREAM, 0);
	int sys_errno;

	if (fd < 0)
		return error_set(err, fd == -EAFNOSUPPORT ? REASON_UNSUPPORTED : REASON_EXHAUSTED,
				 -fd, "vsock: %s", errno_text(-fd));
	sock_tune_vsock(fd);
	if (bind(fd, (struct sockaddr *)&svm, sizeof(svm)) == 0 && listen(fd, SOCK_BACKLOG) == 0)
		return steal_fd(&fd);
	sys_errno = errno;
	return error_set(err,
			 sys_errno == EACCES || sys_errno == EPERM ? REASON_DENIED
			 : sys_errno == EADDRINUSE                 ? REASON_EXHAUSTED
								   : REASON_UNREACHABLE,
			 sys_errno, "vsock port %u: %s", ep->port, errno_text(sys_errno));
}

/* True if the peer is a vsock one, described and judged. */
static bool vsock_peer(const struct peer_rules *rules, const struct sockaddr_storage *peer,
		       char text[PEER_TEXT_MAX], bool *allowed)
{
	const struct sockaddr_vm *svm = (const struct sockaddr_vm *)peer;

	if (peer->ss_family != AF_VSOCK)
		return false;
	snprintf(text, PEER_TEXT_MAX, "vsock %u:%u", svm->svm_cid, svm->svm_port);
	*allowed = false;
	for (size_t i = 0; i < rules->cid_count; i++)
		*allowed |= rules->cids[i] == svm->svm_cid;
	if (rules->privileged && svm->svm_port >= PRIVILEGED_PORTS)
		*allowed = false;
	return true;
}

#else

static int listen_vsock(const struct endpoint *ep, struct error *err)
{
	(void)ep;
	return error_set(err, REASON_UNSUPPORTED, EAFNOSUPPORT, "vsock: not built in");
}

static bool vsock_peer(const struct peer_rules *rules, const struct sockaddr_storage *peer,
		       char text[PEER_TEXT_MAX], bool *allowed)
{
	(void)rules;
	(void)peer;
	(void)text;
	(void)allowed;
	return false;
}

#endif

int listen_open(const struct endpoint *ep, struct error *err)
{
	return ep->type == ENDPOINT_VSOCK ? listen_vsock(ep, err) : sock_listen_unix(ep->text, err);
}

bool peer_allowed(const struct peer_rules *rules, int fd, const struct sockaddr_storage *peer,
		  char text[PEER_TEXT_MAX])
{
	bool allowed;
	uid_t uid;
	int rc;

	if (vsock_peer(rules, peer, text, &allowed))
		return allowed;
	rc = sock_peer_uid(fd, &uid);
	if (rc < 0) {
		snprintf(text, PEER_TEXT_MAX, "peer without credentials: %s", errno_text(-rc));
		return false;
	}
	if (uid == 0 || uid == geteuid())
		return true;
	snprintf(text, PEER_TEXT_MAX, "uid %u", (unsigned)uid);
	return false;
}
