/* SPDX-License-Identifier: MIT */
/*
 * Netlink requests. The kernel makes the answer up in the calls that send and receive, so
 * this does not wait in practice; the poll is for the case that it does.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "netlink.h"

#define NETLINK_WAIT_MS 1000
#define NETLINK_READS_MAX 65536 /* 2 GiB of answer: a kernel that never says "done" */

static int request_send(int fd, uint16_t type, uint16_t flags, const void *payload, size_t length)
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

ssize_t netlink_receive(int fd, void *buf)
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

int netlink_message_errno(const struct nlmsghdr *header)
{
	int code = 0;

	if (header->nlmsg_len >= NLMSG_LENGTH(sizeof(code)))
		memcpy(&code, NLMSG_DATA(header), sizeof(code));
	return code < 0 ? code : 0;
}

struct answer {
	netlink_cb cb;
	void *arg;
	int rc; /* what the callback, or else the kernel has said; once it is not 0 the rest is not told */
	bool done;
};

/* The messages of one datagram: 0, or -EPROTO. */
static int answer_messages(struct answer *answer, const char *buf, size_t size)
{
	const struct nlmsghdr *header;

	for (size_t at = 0; size - at >= NLMSG_HDRLEN; at += NLMSG_ALIGN(header->nlmsg_len)) {
		bool last;

		header = (const struct nlmsghdr *)(buf + at);
		if (header->nlmsg_len < NLMSG_HDRLEN || header->nlmsg_len > size - at)
			return -EPROTO;
		last = header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR;
		if (header->nlmsg_seq == NETLINK_SEQ && !answer->done) {
			answer->done = last || !(header->nlmsg_flags & NLM_F_MULTI);
			if (answer->rc == 0)
				answer->rc = last ? netlink_message_errno(header)
						  : answer->cb(header, NLMSG_DATA(header),
							       header->nlmsg_len - NLMSG_HDRLEN,
							       answer->arg);
		}
		if (NLMSG_ALIGN(header->nlmsg_len) > size - at)
			break;
	}
	return 0;
}

/* Reads the answer to its end in any case: the next request on this socket must not meet the rest of it. */
static int ask(int fd, uint16_t type, uint16_t flags, const void *payload, size_t length,
	       netlink_cb cb, void *arg)
{
	_cleanup_free_ char *buf = xmalloc(NETLINK_BUFFER_SIZE);
	struct answer answer = { .cb = cb, .arg = arg };
	int rc;

	rc = request_send(fd, type, flags, payload, length);
	for (unsigned reads = 0; rc == 0 && !answer.done; reads++) {
		ssize_t n = reads < NETLINK_READS_MAX ? netlink_receive(fd, buf) : -EPROTO;

		rc = n < 0 ? (int)n : answer_messages(&answer, buf, (size_t)n);
	}
	return rc < 0 ? rc : answer.rc;
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

/* The netlink_cb of netlink_change(): nothing but the acknowledgement is expected. */
static int not_expected(const struct nlmsghdr *header, const void *payload, size_t length,
			void *arg)
{
	(void)header;
	(void)payload;
	(void)length;
	(void)arg;
	return -EPROTO;
}

int netlink_change(int fd, uint16_t type, uint16_t flags, const void *payload, size_t length)
{
	return ask(fd, type, (uint16_t)(NLM_F_ACK | flags), payload, length, not_expected, NULL);
}

void netlink_payload_init(struct netlink_payload *payload, const void *header, size_t length)
{
	*payload = (struct netlink_payload){ .length = NLMSG_ALIGN(length) };
	memcpy(payload->data, header, length);
}

void netlink_payload_put(struct netlink_payload *payload, uint16_t type, const void *data,
			 size_t length)
{
	struct rtattr attr = { .rta_len = (unsigned short)RTA_LENGTH(length), .rta_type = type };

	assert(payload->length + RTA_SPACE(length) <= sizeof(payload->data));
	memcpy(payload->data + payload->length, &attr, sizeof(attr));
	memcpy(payload->data + payload->length + RTA_LENGTH(0), data, length);
	payload->length += RTA_SPACE(length);
}
