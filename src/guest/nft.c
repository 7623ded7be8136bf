/* SPDX-License-Identifier: MIT */
/*
 * Messages of nf_tables, and their transaction: they stand between a BATCH_BEGIN and a BATCH_END in one
 * datagram, each with attributes (type, length, value, to a multiple of four bytes) that may hold others.
 * Only the last one asks for an acknowledgement; any other is told of where it fails.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "lib/sock.h"
#include "netlink.h"
#include "nft.h"

/* linux/netfilter.h and netfilter_ipv4.h have these, beside structs that musl has too. */
#define HOOK_POSTROUTING 4
#define PRIORITY_SOURCE_NAT 100

/* Since Linux 5.12, so headers may lack them: NFT_TABLE_F_OWNER, NFTA_TABLE_OWNER. */
#define TABLE_OWNED 0x2
#define TABLE_OWNER 7

/* Where the source stands in a header. */
#define SOURCE_AT_V4 12
#define SOURCE_AT_V6 8

#define NFT_MESSAGE(type) ((uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (type)))

int nft_open(struct nft *nft, struct error *err)
{
	*nft = (struct nft){ .fd = sock_new(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER),
			     .seq = NETLINK_SEQ };
	if (nft->fd < 0)
		return error_set(err, REASON_UNSUPPORTED, -nft->fd,
				 "this kernel has no nf_tables: %s", errno_text(-nft->fd));
	return 0;
}

void nft_close(struct nft *nft)
{
	if (nft->fd >= 0)
		close(nft->fd);
	free(nft->buf);
	*nft = (struct nft){ .fd = -1 };
}

/* Room for so many more bytes, zeroed, at the batch's end; where they begin. */
static size_t put(struct nft *nft, size_t size)
{
	size_t at = nft->size, aligned = NLMSG_ALIGN(size);

	if (nft->room - at < aligned) {
		nft->room = 2 * (at + aligned);
		nft->buf = xrealloc(nft->buf, nft->room);
	}
	memset(nft->buf + at, 0, aligned);
	nft->size += aligned;
	return at;
}

static void put_attr(struct nft *nft, uint16_t type, const void *value, size_t length)
{
	struct nlattr attr = { .nla_len = (uint16_t)(NLA_HDRLEN + length), .nla_type = type };
	size_t at = put(nft, NLA_HDRLEN + length);

	memcpy(nft->buf + at, &attr, sizeof(attr));
	memcpy(nft->buf + at + NLA_HDRLEN, value, length);
}

static void put_text(struct nft *nft, uint16_t type, const char *text)
{
	put_attr(nft, type, text, strlen(text) + 1);
}

/* Numbers of nf_tables are in network byte order. */
static void put_number(struct nft *nft, uint16_t type, uint32_t number)
{
	uint32_t value = htonl(number);

	put_attr(nft, type, &value, sizeof(value));
}

/* What is put until nest_end() is inside of this attribute. */
static size_t nest_begin(struct nft *nft, uint16_t type)
{
	struct nlattr attr = { .nla_type = type | NLA_F_NESTED };
	size_t at = put(nft, NLA_HDRLEN);

	memcpy(nft->buf + at, &attr, sizeof(attr));
	return at;
}

static void nest_end(struct nft *nft, size_t at)
{
	uint16_t length = (uint16_t)(nft->size - at);

	memcpy(nft->buf + at + offsetof(struct nlattr, nla_len), &length, sizeof(length));
}

static void put_nested(struct nft *nft, uint16_t outer, uint16_t type, const void *value,
		       size_t length)
{
	size_t nest = nest_begin(nft, outer);

	put_attr(nft, type, value, length);
	nest_end(nft, nest);
}

/* For the length and flags of the message that was begun last. */
static void message_end(struct nft *nft, uint16_t more_flags)
{
	struct nlmsghdr header;

	memcpy(&header, nft->buf + nft->message, sizeof(header));
	header.nlmsg_len = (uint32_t)(nft->size - nft->message);
	header.nlmsg_flags |= more_flags;
	memcpy(nft->buf + nft->message, &header, sizeof(header));
}

static void message_begin(struct nft *nft, uint16_t type, uint16_t flags, int family)
{
	struct nlmsghdr header = {
		.nlmsg_type = type,
		.nlmsg_flags = NLM_F_REQUEST | flags,
		.nlmsg_seq = ++nft->seq,
	};
	struct nfgenmsg nfgen = {
		.nfgen_family = (uint8_t)family,
		.version = NFNETLINK_V0,
		.res_id = family == AF_UNSPEC ? htons(NFNL_SUBSYS_NFTABLES) : 0,
	};
	size_t at;

	if (nft->size > 0)
		message_end(nft, 0);
	nft->message = put(nft, NLMSG_HDRLEN);
	memcpy(nft->buf + nft->message, &header, sizeof(header));
	at = put(nft, sizeof(nfgen));
	memcpy(nft->buf + at, &nfgen, sizeof(nfgen));
}

void nft_begin(struct nft *nft)
{
	nft->size = 0;
	message_begin(nft, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC);
}

void nft_table_new(struct nft *nft, int family, const char *table, bool owned)
{
	message_begin(nft, NFT_MESSAGE(NFT_MSG_NEWTABLE), NLM_F_CREATE | NLM_F_EXCL, family);
	put_text(nft, NFTA_TABLE_NAME, table);
	put_number(nft, NFTA_TABLE_FLAGS, owned ? TABLE_OWNED : 0);
}

void nft_table_delete(struct nft *nft, int family, const char *table)
{
	message_begin(nft, NFT_MESSAGE(NFT_MSG_DELTABLE), 0, family);
	put_text(nft, NFTA_TABLE_NAME, table);
}

void nft_chain_source_nat(struct nft *nft, int family, const char *table, const char *chain)
{
	size_t hook;

	message_begin(nft, NFT_MESSAGE(NFT_MSG_NEWCHAIN), NLM_F_CREATE, family);
	put_text(nft, NFTA_CHAIN_TABLE, table);
	put_text(nft, NFTA_CHAIN_NAME, chain);
	hook = nest_begin(nft, NFTA_CHAIN_HOOK);
	put_number(nft, NFTA_HOOK_HOOKNUM, HOOK_POSTROUTING);
	put_number(nft, NFTA_HOOK_PRIORITY, PRIORITY_SOURCE_NAT);
	nest_end(nft, hook);
	put_text(nft, NFTA_CHAIN_TYPE, "nat");
}

void nft_chain_flush(struct nft *nft, int family, const char *table, const char *chain)
{
	message_begin(nft, NFT_MESSAGE(NFT_MSG_DELRULE), 0, family);
	put_text(nft, NFTA_RULE_TABLE, table);
	put_text(nft, NFTA_RULE_CHAIN, chain);
}

void nft_rule_begin(struct nft *nft, int family, const char *table, const char *chain)
{
	message_begin(nft, NFT_MESSAGE(NFT_MSG_NEWRULE), NLM_F_CREATE | NLM_F_APPEND, family);
	put_text(nft, NFTA_RULE_TABLE, table);
	put_text(nft, NFTA_RULE_CHAIN, chain);
	nft->list = nest_begin(nft, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct nft *nft)
{
	nest_end(nft, nft->list);
}

struct expression {
	size_t element, data;
};

static struct expression expression_begin(struct nft *nft, const char *name)
{
	struct expression e = { .element = nest_begin(nft, NFTA_LIST_ELEM) };

	put_text(nft, NFTA_EXPR_NAME, name);
	e.data = nest_begin(nft, NFTA_EXPR_DATA);
	return e;
}

static void expression_end(struct nft *nft, struct expression e)
{
	nest_end(nft, e.data);
	nest_end(nft, e.element);
}

static void load_meta(struct nft *nft, enum nft_meta_keys key)
{
	struct expression e = expression_begin(nft, "meta");

	put_number(nft, NFTA_META_KEY, key);
	put_number(nft, NFTA_META_DREG, NFT_REG_1);
	expression_end(nft, e);
}

static void compare(struct nft *nft, enum nft_cmp_ops op, const void *value, size_t length)
{
	struct expression e = expression_begin(nft, "cmp");

	put_number(nft, NFTA_CMP_SREG, NFT_REG_1);
	put_number(nft, NFTA_CMP_OP, op);
	put_nested(nft, NFTA_CMP_DATA, NFTA_DATA_VALUE, value, length);
	expression_end(nft, e);
}

static void compare_name(struct nft *nft, enum nft_cmp_ops op, const char *interface)
{
	char name[IFNAMSIZ] = { 0 };

	memcpy(name, interface, strnlen(interface, sizeof(name) - 1));
	compare(nft, op, name, sizeof(name));
}

void nft_rule_out_is(struct nft *nft, const char *interface)
{
	load_meta(nft, NFT_META_OIFNAME);
	compare_name(nft, NFT_CMP_EQ, interface);
}

void nft_rule_in_is_not(struct nft *nft, const char *interface)
{
	uint32_t none = 0;

	load_meta(nft, NFT_META_IIF);
	compare(nft, NFT_CMP_NEQ, &none, sizeof(none));
	load_meta(nft, NFT_META_IIFNAME);
	compare_name(nft, NFT_CMP_NEQ, interface);
}

void nft_rule_source_in(struct nft *nft, int family, const void *network, unsigned prefix)
{
	uint8_t mask[16] = { 0 }, zero[16] = { 0 };
	uint32_t length = family == AF_INET ? 4 : 16;
	struct expression e = expression_begin(nft, "payload");

	put_number(nft, NFTA_PAYLOAD_DREG, NFT_REG_1);
	put_number(nft, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
	put_number(nft, NFTA_PAYLOAD_OFFSET, family == AF_INET ? SOURCE_AT_V4 : SOURCE_AT_V6);
	put_number(nft, NFTA_PAYLOAD_LEN, length);
	expression_end(nft, e);

	for (unsigned i = 0; i < prefix; i++)
		mask[i / 8] |= (uint8_t)(0x80u >> i % 8);
	e = expression_begin(nft, "bitwise");
	put_number(nft, NFTA_BITWISE_SREG, NFT_REG_1);
	put_number(nft, NFTA_BITWISE_DREG, NFT_REG_1);
	put_number(nft, NFTA_BITWISE_LEN, length);
	put_nested(nft, NFTA_BITWISE_MASK, NFTA_DATA_VALUE, mask, length);
	put_nested(nft, NFTA_BITWISE_XOR, NFTA_DATA_VALUE, zero, length);
	expression_end(nft, e);
	compare(nft, NFT_CMP_EQ, network, length);
}

void nft_rule_masquerade(struct nft *nft)
{
	expression_end(nft, expression_begin(nft, "masq"));
}

static const char *message_name(uint16_t type)
{
	switch (type) {
	case NFT_MESSAGE(NFT_MSG_NEWTABLE):
	case NFT_MESSAGE(NFT_MSG_DELTABLE):
		return "table";
	case NFT_MESSAGE(NFT_MSG_NEWCHAIN):
		return "chain";
	case NFT_MESSAGE(NFT_MSG_NEWRULE):
	case NFT_MESSAGE(NFT_MSG_DELRULE):
		return "rule";
	}
	return "transaction";
}

static int commit_error(struct error *err, int sys_errno, uint16_t type)
{
	enum reason reason = REASON_INTERNAL;

	/* ENOENT: a kind of chain or an expression that is in none of its modules. */
	if (sys_errno == EPERM)
		reason = REASON_DENIED;
	else if (sys_errno == ENOENT || sys_errno == EOPNOTSUPP || sys_errno == EPROTONOSUPPORT ||
		 sys_errno == EINVAL)
		reason = REASON_UNSUPPORTED;
	else if (sys_errno == ENOMEM || sys_errno == ENOBUFS || sys_errno == EMFILE)
		reason = REASON_EXHAUSTED;
	return error_set(err, reason, sys_errno, "nf_tables refuses the %s: %s", message_name(type),
			 errno_text(sys_errno));
}

/*
 * What is said of the messages from `first` to `last` in one datagram. 1 when all is said, 0 if not yet, or a
 * negative number.
 */
static int read_answers(const uint8_t *buf, size_t size, uint32_t first, uint32_t last,
			struct error *err)
{
	const struct nlmsghdr *header;
	int rc;

	for (size_t at = 0; at < size && size - at >= NLMSG_LENGTH(sizeof(struct nlmsgerr));
	     at += NLMSG_ALIGN(header->nlmsg_len)) {
		header = (const struct nlmsghdr *)(buf + at);
		if (header->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)) ||
		    header->nlmsg_len > size - at)
			return commit_error(err, EPROTO, 0);
		if (header->nlmsg_type != NLMSG_ERROR || header->nlmsg_seq < first ||
		    header->nlmsg_seq > last)
			continue;
		rc = netlink_message_errno(header);
		if (rc < 0)
			return commit_error(
				err, -rc,
				((const struct nlmsgerr *)NLMSG_DATA(header))->msg.nlmsg_type);
		if (header->nlmsg_seq == last)
			return 1;
	}
	return 0;
}

int nft_commit(struct nft *nft, struct error *err)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	_cleanup_free_ uint8_t *buf = xmalloc(NETLINK_BUFFER_SIZE);
	uint32_t last = nft->seq, first;
	int rc = 0;

	message_end(nft, NLM_F_ACK);
	message_begin(nft, NFNL_MSG_BATCH_END, 0, AF_UNSPEC);
	message_end(nft, 0);
	first = ((const struct nlmsghdr *)nft->buf)->nlmsg_seq;
	if (sendto(nft->fd, nft->buf, nft->size, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return commit_error(err, errno, 0);
	while (rc == 0) {
		ssize_t n = netlink_receive(nft->fd, buf);

		if (n < 0)
			return commit_error(err, (int)-n, 0);
		rc = read_answers(buf, (size_t)n, first, last, err);
	}
	return rc < 0 ? rc : 0;
}

/* The netlink_cb of nft_table_find(). */
static int table_seen(const struct nlmsghdr *header, const void *payload, size_t length, void *arg)
{
	const uint8_t *at = payload;
	uint32_t *owner = arg;
	struct nlattr attr;

	if (header->nlmsg_type != NFT_MESSAGE(NFT_MSG_NEWTABLE))
		return 0;
	for (size_t skip = NLMSG_ALIGN(sizeof(struct nfgenmsg));
	     skip <= length && length - skip >= NLA_HDRLEN; skip = NLA_ALIGN(attr.nla_len)) {
		at += skip;
		length -= skip;
		memcpy(&attr, at, sizeof(attr));
		if (attr.nla_len < NLA_HDRLEN || attr.nla_len > length)
			break;
		if ((attr.nla_type & NLA_TYPE_MASK) == TABLE_OWNER &&
		    attr.nla_len == NLA_HDRLEN + sizeof(*owner)) {
			memcpy(owner, at + NLA_HDRLEN, sizeof(*owner));
			*owner = ntohl(*owner);
		}
	}
	return 1;
}

int nft_table_find(struct nft *nft, int family, const char *name, uint32_t *owner)
{
	int rc;

	*owner = 0;
	nft->size = 0;
	message_begin(nft, NFT_MESSAGE(NFT_MSG_GETTABLE), 0, family);
	put_text(nft, NFTA_TABLE_NAME, name);
	rc = netlink_get(nft->fd, NFT_MESSAGE(NFT_MSG_GETTABLE), nft->buf + NLMSG_HDRLEN,
			 nft->size - NLMSG_HDRLEN, table_seen, owner);
	return rc == -ENOENT ? 0 : rc;
}
