/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "relay-io.h"

enum end_splices { SPLICES_UNKNOWN, SPLICES_NO, SPLICES_YES };

/* What AF_VSOCK is given in one message, and so carries as one packet. */
#define PACKET_SIZE (RECORD_READ_SIZE / 4)
#define PACKETS_MAX 8

/* Of what is written to: AF_UNSPEC where that is no socket. */
static int end_family(struct relay_end *end)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (end->family == AF_UNSPEC && end->wsock &&
	    getsockname(end->wfd, (struct sockaddr *)&ss, &len) == 0)
		end->family = (uint8_t)ss.ss_family;
	return end->family;
}

bool end_splices(struct relay_end *end)
{
	int family;

	if (end->splices != SPLICES_UNKNOWN)
		return end->splices == SPLICES_YES;
	end->splices = SPLICES_NO;
	/* Its flag makes only the pipe's side not block. */
	if (!end->rsock || end->rfd != end->wfd || !(fcntl(end->rfd, F_GETFL) & O_NONBLOCK))
		return false;
	family = end_family(end);
	if (family == AF_UNIX || family == AF_INET || family == AF_INET6)
		end->splices = SPLICES_YES;
	return end->splices == SPLICES_YES;
}

void end_make_room(struct relay_end *end, size_t size)
{
	int room = (int)size;

	if (end_family(end) != AF_UNIX || size == end->room)
		return;
	end->room = (uint32_t)size;
	setsockopt(end->wfd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)); /* or what is allowed */
}

ssize_t end_read(struct relay_end *end, uint8_t *buf, size_t size)
{
	ssize_t n;

	do
		n = end->rsock ? recv(end->rfd, buf, size, MSG_DONTWAIT)
			       : read(end->rfd, buf, size);
	while (n < 0 && errno == EINTR);
	if (n >= 0) {
		/*
		 * epoll(7): a short read has emptied a stream socket, so that what follows is a new event. Not so
		 * in front of TCP's urgent data, and where a Unix socket passes descriptors; a link has neither, or
		 * its peer waits for itself.
		 */
		if (end->framing == FRAMING_RECORDS && end->rsock && !end->ends && (size_t)n < size)
			end->readable = false;
		return n;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK) {
		end->readable = false;
		return -EAGAIN;
	}
	/* A tty whose other side went away (its master was closed): that is its end. */
	return errno == EIO && !end->rsock ? 0 : -errno;
}

#ifdef HAVE_SPLICE
#define SPLICE_FLAGS (SPLICE_F_MOVE | SPLICE_F_NONBLOCK)

ssize_t io_splice(int from, int to, size_t size)
{
	ssize_t n;

	do
		n = splice(from, NULL, to, NULL, size, SPLICE_FLAGS);
	while (n < 0 && errno == EINTR);
	return n;
}
#else
ssize_t io_splice(int from, int to, size_t size)
{
	(void)from;
	(void)to;
	(void)size;
	errno = EINVAL;
	return -1;
}
#endif

ssize_t end_splice(struct relay_end *end, struct pipe *pipe, size_t size)
{
	ssize_t n = io_splice(end->rfd, pipe->wfd, size < pipe->size ? size : pipe->size);
	char byte;

	if (n > 0) {
		pipe->held += (size_t)n;
		return n;
	}
	if (n < 0 && errno == EINVAL) {
		end->splices = SPLICES_NO;
	} else if (n == 0 || errno == EAGAIN) {
		/*
		 * It never gets past TCP's urgent data, and says there that nothing is to be read, or, with a
		 * FIN behind it, that this is the end.
		 */
		n = recv(end->rfd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
		if (n >= 0)
			return -EINVAL;
		end->readable = errno != EAGAIN;
	}
	return -errno;
}

#ifdef HAVE_VSOCK
/*
 * What is larger Linux cuts into packets of 64 KiB. Where it keeps data of its own behind each (seen: 6.1.192), it takes
 * 128 KiB of memory for it, and fills all of that with zeros if it was built to. So they are made a little smaller
 * here. What is not taken whole is the last: sendmmsg(2) would do that, but musl's goes on with the next one, which makes a hole
 * in the stream.
 */
static ssize_t write_packets(struct relay_end *end, const struct iovec *whole)
{
	const uint8_t *data = whole->iov_base;
	size_t at = 0, size;
	ssize_t n;

	for (int i = 0; i < PACKETS_MAX && at < whole->iov_len; i++) {
		size = whole->iov_len - at < PACKET_SIZE ? whole->iov_len - at : PACKET_SIZE;
		n = send(end->wfd, data + at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			return at > 0 ? (ssize_t)at : -1;
		at += (size_t)n;
		if ((size_t)n < size)
			break;
	}
	return (ssize_t)at;
}
#endif

static ssize_t write_once(struct relay_end *end, const struct iovec *iov, int count)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count };

#ifdef HAVE_VSOCK
	if (iov[0].iov_len > PACKET_SIZE && end_family(end) == AF_VSOCK)
		return write_packets(end, iov);
#endif
	return end->wsock ? sendmsg(end->wfd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL)
			  : writev(end->wfd, iov, count);
}

ssize_t io_write(struct relay_end *end, const struct iovec *iov, int count)
{
	ssize_t n;

	do
		n = write_once(end, iov, count);
	while (n < 0 && errno == EINTR);
	return n;
}
