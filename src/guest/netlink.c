/* SPDX-License-Identifier: MIT */
/*
 * Netlink dumps. The kernel makes the answer up in the calls that send and receive, so
 * this does not wait in practice; the poll is for the case that it does.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "netlink.h"

#define NETLINK_BUFFER_SIZE (64u * 1024) /* the kernel fills at most 32 KiB at a time */
#define NETLINK_WAIT_MS 1000
#define NETLINK_READS_MAX 65536 /* 2 GiB of answer: a kernel that never says "done" */
#define NETLINK_SEQ 1

static int dump_send(int fd, uint16_t type, uint16_t flags, const void *payload, size_t length)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct nlmsghdr header = {
		.nlmsg_len = (uint32_t)NLMSG_LENGTH(length),
		.nlmsg_type = type,
		.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
		.nlmsg_seq = NETLINK_SEQ,
	};
	struct iovec iov[2] = {
		{ .iov_base = &header, .iov_len = NLMSG_HDRLEN },
		{ .iov_base = (void *)payload, .iov_len = length },
	};
	struct msghdr msg = {
		.msg_name = &kernel,
		.msg_namelen = sizeof(kernel),
		.msg_iov = iov,
		.msg_iovlen = 2,
	};
	ssize_t n;

	do
		n = sendmsg(fd, &msg, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* One datagram of the kernel's into buf: its size, 0 for one that somebody else sent, or -errno. */
static ssize_t dump_receive(int fd, void *buf)
{
	struct sockaddr_nl sender = { 0 };
	struct iovec iov = { .iov_base = buf, .iov_len = NETLINK_BUFFER_SIZE };
	struct msghdr msg = {
		.msg_name = &sender,
		.msg_namelen = sizeof(sender),
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	ssize_t n;

	for (;;) {
		n = recvmsg(fd, &msg, MSG_DONTWAIT);
		if (n >= 0)
			break;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		if (poll(&pollfd, 1, NETLINK_WAIT_MS) == 0)
			return -ETIMEDOUT;
	}
	if (msg.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	if (msg.msg_namelen != sizeof(sender) || sender.nl_pid != 0)
		return 0;
	return n > 0 ? n : -EPROTO;
}

/* What an NLMSG_ERROR or NLMSG_DONE says: 0 or -errno. */
static int message_errno(const struct nlmsghdr *header)
{
	int code = 0;

	if (header->nlmsg_len >= NLMSG_LENGTH(sizeof(code)))
		memcpy(&code, NLMSG_DATA(header), sizeof(code));
	return code < 0 ? code : 0;
}

/* The messages of one datagram. *done when the dump is over. */
static int dump_messages(const char *buf, size_t size, netlink_cb cb, void *arg, bool *done)
{
	const struct nlmsghdr *header;
	int rc;

	for (size_t at = 0; size - at >= NLMSG_HDRLEN; at += NLMSG_ALIGN(header->nlmsg_len)) {
		header = (const struct nlmsghdr *)(buf + at);
		if (header->nlmsg_len < NLMSG_HDRLEN || header->nlmsg_len > size - at)
			return -EPROTO;
		if (header->nlmsg_seq == NETLINK_SEQ) {
			*done = header->nlmsg_type == NLMSG_DONE ||
				header->nlmsg_type == NLMSG_ERROR ||
				!(header->nlmsg_flags & NLM_F_MULTI);
			if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR)
				return message_errno(header);
			rc = cb(header, NLMSG_DATA(header), header->nlmsg_len - NLMSG_HDRLEN, arg);
			if (rc != 0 || *done)
				return rc;
		}
		if (NLMSG_ALIGN(header->nlmsg_len) > size - at)
			break;
	}
	return 0;
}

static int ask(int fd, uint16_t type, uint16_t flags, const void *payload, size_t length,
	       netlink_cb cb, void *arg)
{
	_cleanup_free_ char *buf = xmalloc(NETLINK_BUFFER_SIZE);
	bool done = false;
	int rc;

	rc = dump_send(fd, type, flags, payload, length);
	for (unsigned reads = 0; rc == 0 && !done; reads++) {
		ssize_t n = reads < NETLINK_READS_MAX ? dump_receive(fd, buf) : -EPROTO;

		rc = n < 0 ? (int)n : dump_messages(buf, (size_t)n, cb, arg, &done);
	}
	return rc;
}

int netlink_dump(int fd, uint16_t type, const void *payload, size_t length, netlink_cb cb,
		 void *arg)
{
	return ask(fd, type, NLM_F_DUMP, payload, length, cb, arg);
}

int netlink_get(int fd, uint16_t type, const void *payload, size_t length, netlink_cb cb, void *arg)
{
	return ask(fd, type, 0, payload, length, cb, arg);
}
