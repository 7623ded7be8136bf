/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>

#include "lib/sock.h"
#include "accept-bind.h"

static int bind_error(struct error *err, int sys_errno, const char *where)
{
	enum reason reason = sys_errno == EADDRINUSE                     ? REASON_EXHAUSTED
			     : sys_errno == EACCES || sys_errno == EPERM ? REASON_DENIED
			     : sys_errno == EAFNOSUPPORT                 ? REASON_UNSUPPORTED
			     : sys_errno == EADDRNOTAVAIL || sys_errno == EINVAL ? REASON_INVALID
										 : REASON_EXHAUSTED;

	return error_set(err, reason, sys_errno, "cannot listen on %s in the pod: %s", where,
			 errno_text(sys_errno));
}

int accept_bind(struct netns *ns, enum network network, const struct address *addr,
		struct error *err)
{
	bool udp = network == NETWORK_UDP;
	_cleanup_close_ int fd =
		netns_socket(ns, addr->family, udp ? SOCK_DGRAM : SOCK_STREAM, 0, err);
	int on = 1;
	char text[ADDRESS_TEXT_MAX];
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(addr, &ss);

	if (fd < 0)
		return fd;
	if (!udp)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (addr->family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 || (!udp && listen(fd, SOCK_BACKLOG) < 0))
		return bind_error(err, errno, address_format(addr, text));
	return steal_fd(&fd);
}
