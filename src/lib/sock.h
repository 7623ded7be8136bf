/* SPDX-License-Identifier: MIT */
/*
 * Sockets and descriptors: what differs between systems (SOCK_CLOEXEC, accept4,
 * peer credentials, SIOCOUTQ), and the few options that every socket here wants.
 */
#ifndef VZFWD_SOCK_H
#define VZFWD_SOCK_H

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "endpoint.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif
#ifndef POLLRDHUP
#define POLLRDHUP 0 /* Linux's: elsewhere a peer has ended when it has closed */
#endif

/*
 * For listen(2), of which the kernel takes what its somaxconn allows. Not SOMAXCONN, which a libc has
 * fixed (musl: 128): AF_VSOCK resets whom a full backlog has no room for.
 */
#define SOCK_BACKLOG 4096

/* A close-on-exec, non-blocking socket; fd or -errno. */
int sock_new(int domain, int type, int protocol);
int sock_accept(int listener, struct sockaddr_storage *ss, socklen_t *len); /* fd or -errno */
int sock_pair(int sv[2]); /* AF_UNIX stream, close-on-exec and non-blocking both; 0 or -errno */

int sock_pair_of(int type, int sv[2]); /* the same, of another type of socket */

int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

/* Fills a sockaddr_un; -ENAMETOOLONG if the path does not fit. */
int sock_unix_address(struct sockaddr_storage *ss, socklen_t *len, const char *path);

/*
 * A Unix listener with mode 0600. A stale socket (nobody listens any more) is
 * replaced; one in use is REASON_EXHAUSTED/EADDRINUSE; a file that is no socket is left
 * alone: EEXIST. fd or a negative number.
 */
int sock_listen_unix(const char *path, struct error *err);

/*
 * The file that a Unix listener has just been bound to. sock_file_unlink() removes it, unless another
 * listener has put its own in that place meanwhile. All zero: none, nothing is removed.
 */
struct sock_file {
	dev_t dev;
	ino_t ino;
};
struct sock_file sock_file_of(const char *path);
void sock_file_unlink(const struct sock_file *file, const char *path);

/* TCP_NODELAY and keepalive; harmless on other sockets. */
void sock_tune_tcp(int fd);
/* The same for what was accepted on a listener that has them: Linux passes them on. */
void sock_tune_accepted(int fd);

/* As large socket buffers as the system gives, up to 1 MiB: a burst of datagrams waits there, or is lost. */
void sock_tune_udp(int fd);
/* Room for the control message that says which address of ours a datagram has come to, or goes from: IP_PKTINFO, IPV6_PKTINFO. */
union sock_source {
	struct cmsghdr align;
	char v4[CMSG_SPACE(sizeof(struct in_pktinfo))];
	char v6[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};
/* For sendmsg(2), in the caller's `space`. `addr` is a struct in_addr or in6_addr; `interface` is of IPv6, 0 for any. */
void sock_set_source(struct msghdr *msg, union sock_source *space, sa_family_t family,
		     const void *addr, unsigned interface);
/* How many datagrams its receive buffer had no room for; 0 where it can't be told. */
unsigned sock_overflows(int fd);

/*
 * AF_VSOCK: lets the peer be ahead by 1 MiB in place of 256 KiB, before connect(2) or listen(2), which passes it on.
 * A peer that is not read has so much of the kernel's memory at most.
 */
void sock_tune_vsock(int fd);

/* How many were sent, all of them where the peer is gone: what it said before is still to be read. */
size_t sock_send_some(int fd, const uint8_t *data, size_t size);

/* Pending error (SO_ERROR), cleared by this; 0 if none. */
int sock_take_error(int fd);

/* Bytes that the peer's kernel has not acknowledged yet; 0 where it can't be told. */
int sock_unsent(int fd);

/* Close so that a TCP peer gets a RST and not a FIN (SO_LINGER 0). */
void sock_close_reset(int fd);

/* Who has a Unix socket's other end; 0 or -errno. */
struct sock_peer {
	uid_t uid;
	pid_t pid; /* 0 where it can't be told */
};
int sock_peer(int fd, struct sock_peer *peer);
int sock_peer_uid(int fd, uid_t *uid); /* the same, for those who need no more */

/* send(2) with a descriptor beside the first byte (SCM_RIGHTS). */
ssize_t sock_send_with_fd(int sock, int fd, const void *data, size_t size, int flags);

/* One zero byte and one descriptor (SCM_RIGHTS); blocks. 0 or -errno. */
int sock_send_fd(int sock, int fd);
int sock_recv_fd(int sock); /* fd (close-on-exec) or -errno */

/*
 * Raises the soft descriptor limit to the hard one; returns it. fd_limit_restore() puts it back, for
 * what is executed: async-signal-safe, and harmless if nothing was raised.
 */
size_t fd_limit_raise(void);
void fd_limit_restore(void);
size_t fd_count(void); /* open descriptors of this process */

#endif
