/* SPDX-License-Identifier: MIT */
/* Sockets and descriptors, and what differs between systems. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#ifdef __linux__
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#endif
#ifdef HAVE_VSOCK
#include <linux/vm_sockets.h>
#endif

#include "sock.h"

/* In bulk that saves a fifth of the system calls (doc/benchmarks.md). */
#define VSOCK_BUFFER_SIZE (1024 * 1024)

int fd_set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int fd_set_cloexec(int fd, bool on)
{
	return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

#if !defined(HAVE_SOCK_CLOEXEC) || !defined(HAVE_ACCEPT4)
/* Where the flags can't be given at creation; takes fd over. */
static int fd_prepare(int fd)
{
	if (fd_set_cloexec(fd, true) < 0 || fd_set_nonblock(fd, true) < 0) {
		close(fd);
		return -EBADF;
	}
	return fd;
}
#endif

int sock_new(int domain, int type, int protocol)
{
#ifdef HAVE_SOCK_CLOEXEC
	int fd = socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

	return fd >= 0 ? fd : -errno;
#else
	int fd = socket(domain, type, protocol);

	return fd >= 0 ? fd_prepare(fd) : -errno;
#endif
}

int sock_accept(int listener, struct sockaddr_storage *ss, socklen_t *len)
{
#ifdef HAVE_ACCEPT4
	int fd = accept4(listener, (struct sockaddr *)ss, len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	return fd >= 0 ? fd : -errno;
#else
	int fd = accept(listener, (struct sockaddr *)ss, len);

	return fd >= 0 ? fd_prepare(fd) : -errno;
#endif
}

int sock_pair_of(int type, int sv[2])
{
#ifdef HAVE_SOCK_CLOEXEC
	return socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0 ? -errno : 0;
#else
	if (socketpair(AF_UNIX, type, 0, sv) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		fd_set_cloexec(sv[i], true);
		fd_set_nonblock(sv[i], true);
	}
	return 0;
#endif
}

int sock_pair(int sv[2])
{
	return sock_pair_of(SOCK_STREAM, sv);
}

int sock_unix_address(struct sockaddr_storage *ss, socklen_t *len, const char *path)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)ss;
	size_t n = strlen(path);

	if (n >= sizeof(sun->sun_path))
		return -ENAMETOOLONG;
	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path, path, n);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return 0;
}

/* True if nobody listens behind the socket file any more. */
static bool unix_is_stale(const struct sockaddr_storage *ss, socklen_t len)
{
	_cleanup_close_ int fd = sock_new(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0)
		return false;
	return connect(fd, (const struct sockaddr *)ss, len) < 0 && errno == ECONNREFUSED;
}

/* Binds with mode 0600 from the start: nobody can connect in between. */
static int bind_private(int fd, const struct sockaddr_storage *ss, socklen_t len)
{
	mode_t old = umask(0177);
	int rc = bind(fd, (const struct sockaddr *)ss, len) < 0 ? -errno : 0;

	umask(old);
	return rc;
}

int sock_listen_unix(const char *path, struct error *err)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_storage ss;
	struct stat st;
	socklen_t len;
	int rc;

	rc = sock_unix_address(&ss, &len, path);
	if (rc < 0)
		return error_set(err, REASON_INVALID, -rc, "%s: path is too long for a Unix socket",
				 path);
	fd = sock_new(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0)
		return error_set(err, REASON_EXHAUSTED, -fd, "%s: %s", path, errno_text(-fd));
	rc = bind_private(fd, &ss, len);
	if (rc == -EADDRINUSE) {
		if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
			return error_set(err, REASON_EXHAUSTED, EEXIST,
					 "%s: exists and is not a socket", path);
		if (!unix_is_stale(&ss, len))
			return error_set(err, REASON_EXHAUSTED, EADDRINUSE,
					 "%s: address already in use", path);
		unlink(path);
		rc = bind_private(fd, &ss, len);
	}
	if (rc < 0)
		return error_set(err, reason_of_file(-rc), -rc, "%s: %s", path, errno_text(-rc));
	if (listen(fd, SOCK_BACKLOG) < 0) {
		rc = errno;
		unlink(path);
		return error_set(err, REASON_EXHAUSTED, rc, "%s: %s", path, errno_text(rc));
	}
	return steal_fd(&fd);
}

struct sock_file sock_file_of(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return (struct sock_file){ 0 };
	return (struct sock_file){ st.st_dev, st.st_ino };
}

void sock_file_unlink(const struct sock_file *file, const char *path)
{
	struct sock_file now = sock_file_of(path);

	if (now.ino != 0 && now.ino == file->ino && now.dev == file->dev)
		unlink(path);
}

void sock_tune_tcp(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

void sock_tune_accepted(int fd)
{
#ifdef __linux__
	(void)fd;
#else
	sock_tune_tcp(fd);
#endif
}

void sock_tune_udp(int fd)
{
	int size = 1024 * 1024;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static void put_control(struct msghdr *msg, int level, int type, const void *info, size_t size)
{
	struct cmsghdr *cmsg = msg->msg_control;

	msg->msg_controllen = CMSG_SPACE(size);
	cmsg->cmsg_level = level;
	cmsg->cmsg_type = type;
	cmsg->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(cmsg), info, size);
}

void sock_set_source(struct msghdr *msg, union sock_source *space, sa_family_t family,
		     const void *addr, unsigned interface)
{
	struct in_pktinfo v4 = { 0 };
	struct in6_pktinfo v6 = { .ipi6_ifindex = interface };

	memset(space, 0, sizeof(*space));
	msg->msg_control = space;
	if (family == AF_INET) {
		memcpy(&v4.ipi_spec_dst, addr, sizeof(v4.ipi_spec_dst));
		put_control(msg, IPPROTO_IP, IP_PKTINFO, &v4, sizeof(v4));
	} else {
		memcpy(&v6.ipi6_addr, addr, sizeof(v6.ipi6_addr));
		put_control(msg, IPPROTO_IPV6, IPV6_PKTINFO, &v6, sizeof(v6));
	}
}

unsigned sock_overflows(int fd)
{
#ifdef SO_MEMINFO
	uint32_t info[SK_MEMINFO_VARS];
	socklen_t len = sizeof(info);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) == 0 &&
	    len > SK_MEMINFO_DROPS * sizeof(*info))
		return info[SK_MEMINFO_DROPS];
#else
	(void)fd;
#endif
	return 0;
}

#ifdef HAVE_VSOCK
void sock_tune_vsock(int fd)
{
	uint64_t size = VSOCK_BUFFER_SIZE;

	setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &size, sizeof(size));
	setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &size, sizeof(size));
}
#endif

size_t sock_send_some(int fd, const uint8_t *data, size_t size)
{
	ssize_t n = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0)
		return (size_t)n;
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : size;
}

int sock_take_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return errno;
	return error;
}

int sock_unsent(int fd)
{
#ifdef SIOCOUTQ
	int n = 0;

	return ioctl(fd, SIOCOUTQ, &n) == 0 ? n : 0;
#elif defined(SO_NWRITE)
	int n = 0;
	socklen_t len = sizeof(n);

	return getsockopt(fd, SOL_SOCKET, SO_NWRITE, &n, &len) == 0 ? n : 0;
#else
	(void)fd;
	return 0;
#endif
}

void sock_close_reset(int fd)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

int sock_peer(int fd, struct sock_peer *peer)
{
#ifdef SO_PEERCRED
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*peer = (struct sock_peer){ cred.uid, cred.pid };
	return 0;
#else
	gid_t gid;

	peer->pid = 0;
	return getpeereid(fd, &peer->uid, &gid) < 0 ? -errno : 0;
#endif
}

int sock_peer_uid(int fd, uid_t *uid)
{
	struct sock_peer peer = { 0 };
	int rc = sock_peer(fd, &peer);

	if (rc == 0)
		*uid = peer.uid;
	return rc;
}

ssize_t sock_send_with_fd(int sock, int fd, const void *data, size_t size, int flags)
{
	struct iovec iov = { .iov_base = (void *)data, .iov_len = size };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(sock, &msg, flags | MSG_NOSIGNAL);
}

int sock_send_fd(int sock, int fd)
{
	ssize_t n;

	do
		n = sock_send_with_fd(sock, fd, "", 1, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int sock_recv_fd(int sock)
{
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *cmsg;
	ssize_t n;
	int fd;

	do
		n = recvmsg(sock, &msg, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -EPROTO;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg == NULL || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
	    cmsg->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	fd_set_cloexec(fd, true);
	return fd;
}

/* What the process's limit was before it was raised; 0: it was not. */
static rlim_t soft_limit;

size_t fd_limit_raise(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return 256;
	if (rl.rlim_cur < rl.rlim_max) {
		struct rlimit more = { .rlim_cur = rl.rlim_max, .rlim_max = rl.rlim_max };

		if (setrlimit(RLIMIT_NOFILE, &more) < 0)
			return rl.rlim_cur;
		soft_limit = rl.rlim_cur;
	}
	return rl.rlim_max;
}

void fd_limit_restore(void)
{
	struct rlimit rl;

	if (soft_limit == 0 || getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return;
	rl.rlim_cur = soft_limit;
	setrlimit(RLIMIT_NOFILE, &rl);
}

size_t fd_count(void)
{
	DIR *dir = opendir("/dev/fd");
	size_t count = 0;

	if (dir == NULL)
		return 16;
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count > 3 ? count - 3 : 0; /* ".", "..", and the folder's own */
}
