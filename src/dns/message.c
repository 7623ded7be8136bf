/* SPDX-License-Identifier: MIT */
/* DNS messages, read. message-write.c writes them. */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "dns/message.h"

#define FLAG_RESPONSE 0x8000
#define OPCODE_MASK 0x7800
#define OPT_DNSSEC_OK 0x8000
#define RECORD_FIXED 10 /* type, class, TTL, the data's length */
#define POINTER 0xc0

struct record {
	bool root; /* it has the root's name */
	uint16_t type, class;
	uint32_t ttl;
	const uint8_t *data;
	uint16_t size;
};

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

uint16_t dns_id(const uint8_t *message)
{
	return get16(message);
}

void dns_id_set(uint8_t *message, uint16_t id)
{
	message[0] = (uint8_t)(id >> 8);
	message[1] = (uint8_t)id;
}

uint16_t dns_flags(const uint8_t *message)
{
	return get16(message + 2);
}

enum dns_rcode dns_rcode(const uint8_t *message)
{
	return (enum dns_rcode)(message[3] & 15);
}

bool dns_is_cut(const uint8_t *reply, size_t size)
{
	return size >= DNS_HEADER_SIZE && (dns_flags(reply) & DNS_FLAG_TC);
}

/* Appends a label and a dot. */
static char *put_label(char *out, const uint8_t *label, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		uint8_t c = label[i];

		if (c > ' ' && c <= '~' && c != '.' && c != '\\') {
			*out++ = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
			continue;
		}
		*out++ = '\\';
		*out++ = (char)('0' + c / 100);
		*out++ = (char)('0' + c / 10 % 10);
		*out++ = (char)('0' + c % 10);
	}
	*out++ = '.';
	return out;
}

/* Each pointer leads to before the piece that it ends, so there is an end to them. */
ssize_t dns_name_read(const uint8_t *message, size_t size, size_t at, char *text)
{
	size_t piece = at, length = 0, after = 0;
	char *out = text;

	for (;;) {
		size_t n;

		if (at >= size)
			return -EPROTO;
		n = message[at++];
		if ((n & POINTER) == POINTER) {
			if (at >= size)
				return -EPROTO;
			n = (n & ~(size_t)POINTER) << 8 | message[at++];
			if (after == 0)
				after = at;
			if (n >= piece || n < DNS_HEADER_SIZE)
				return -EPROTO;
			at = piece = n;
			continue;
		}
		length += n + 1;
		if ((n & POINTER) != 0 || length > DNS_NAME_MAX || n > size - at)
			return -EPROTO;
		if (n == 0)
			break;
		if (text != NULL)
			out = put_label(out, message + at, n);
		at += n;
	}
	if (text != NULL && out == text)
		*out++ = '.';
	else if (text != NULL)
		out--;
	if (text != NULL)
		*out = '\0';
	return (ssize_t)(after != 0 ? after : at);
}

/* What comes after it, or -EPROTO. */
static ssize_t record_read(const uint8_t *message, size_t size, size_t at, struct record *record)
{
	ssize_t end = dns_name_read(message, size, at, NULL);
	const uint8_t *fixed;

	if (end < 0 || size - (size_t)end < RECORD_FIXED)
		return -EPROTO;
	fixed = message + end;
	*record = (struct record){
		.root = message[at] == 0,
		.type = get16(fixed),
		.class = get16(fixed + 2),
		.ttl = get32(fixed + 4),
		.data = fixed + RECORD_FIXED,
		.size = get16(fixed + 8),
	};
	end += RECORD_FIXED;
	return record->size <= size - (size_t)end ? end + record->size : -EPROTO;
}

/* Name, type and class. What comes after them, or -EPROTO. */
static ssize_t question_read(struct dns_query *query, const uint8_t *message, size_t size)
{
	ssize_t end = dns_name_read(message, size, DNS_HEADER_SIZE, query->name);

	if (end < 0 || size - (size_t)end < 4) {
		*query->name = '\0';
		return -EPROTO;
	}
	query->type = get16(message + end);
	query->class = get16(message + end + 2);
	query->question = message + DNS_HEADER_SIZE;
	query->question_size = (size_t)end + 4 - DNS_HEADER_SIZE;
	return end + 4;
}

/* RFC 6891, 6.1: the record's class is a size, and its TTL has a version and flags. Options are nobody's here. */
static enum dns_rcode opt_read(struct dns_query *query, const struct record *record)
{
	if (query->edns || !record->root)
		return DNS_FORMERR;
	query->edns = true;
	query->udp_size = record->class;
	query->dnssec_ok = record->ttl & OPT_DNSSEC_OK;
	return (record->ttl >> 16 & 0xff) == 0 ? DNS_NOERROR : DNS_BADVERS;
}

/* What is behind the question: all of it records, of which an OPT record counts. */
static enum dns_rcode rest_read(struct dns_query *query, const uint8_t *message, size_t size,
				size_t at)
{
	size_t first_additional = (size_t)get16(message + 6) + get16(message + 8);
	size_t count = first_additional + get16(message + 10);
	enum dns_rcode rcode = DNS_NOERROR;
	struct record record;

	for (size_t i = 0; i < count && rcode != DNS_FORMERR; i++) {
		ssize_t end = record_read(message, size, at, &record);

		if (end < 0)
			return DNS_FORMERR;
		at = (size_t)end;
		if (record.type == DNS_OPT && i >= first_additional)
			rcode = opt_read(query, &record);
	}
	return at == size ? rcode : DNS_FORMERR;
}

int dns_query_parse(struct dns_query *query, const uint8_t *message, size_t size)
{
	ssize_t end;

	memset(query, 0, offsetof(struct dns_query, name) + 1);
	if (size < DNS_HEADER_SIZE)
		return -EPROTO;
	query->id = dns_id(message);
	query->flags = dns_flags(message);
	if (query->flags & FLAG_RESPONSE)
		return -EPROTO;
	if (query->flags & OPCODE_MASK)
		return DNS_NOTIMP;
	if (get16(message + 4) != 1)
		return DNS_FORMERR;
	end = question_read(query, message, size);
	if (end < 0)
		return DNS_FORMERR;
	return (int)rest_read(query, message, size, (size_t)end);
}

size_t dns_query_write(uint8_t out[DNS_QUERY_ROOM], uint16_t id, const char *name,
		       enum dns_type type)
{
	uint8_t *at = out + DNS_HEADER_SIZE;

	assert(strlen(name) + 2 <= DNS_NAME_MAX);
	memset(out, 0, DNS_HEADER_SIZE);
	dns_id_set(out, id);
	out[2] = 1; /* RD */
	out[5] = 1; /* QDCOUNT */
	while (*name != '\0') {
		size_t length = strcspn(name, ".");

		*at++ = (uint8_t)length;
		memcpy(at, name, length);
		at += length;
		name += length + (name[length] == '.');
	}
	*at++ = 0;
	*at++ = (uint8_t)(type >> 8);
	*at++ = (uint8_t)type;
	*at++ = 0;
	*at++ = DNS_CLASS_IN;
	return (size_t)(at - out);
}

size_t dns_query_limit(const struct dns_query *query, bool tcp)
{
	if (tcp)
		return DNS_MESSAGE_MAX;
	/* Less than 512 is to be taken for 512: RFC 6891, 6.2.3. */
	if (!query->edns || query->udp_size < DNS_PLAIN_MAX)
		return DNS_PLAIN_MAX;
	return query->udp_size < DNS_UDP_MAX ? query->udp_size : DNS_UDP_MAX;
}

bool dns_reply_matches(const struct dns_query *query, uint16_t id, const uint8_t *reply,
		       size_t size)
{
	struct dns_query asked;
	uint16_t questions;

	if (size < DNS_HEADER_SIZE || dns_id(reply) != id || !(dns_flags(reply) & FLAG_RESPONSE) ||
	    (dns_flags(reply) & OPCODE_MASK))
		return false;
	questions = get16(reply + 4);
	/* Servers from before EDNS that can't read the question don't repeat it either. */
	if (questions == 0)
		return dns_rcode(reply) == DNS_FORMERR;
	return questions == 1 && question_read(&asked, reply, size) > 0 &&
	       strcmp(asked.name, query->name) == 0 && asked.type == query->type &&
	       asked.class == query->class;
}

/* True if the record is an address. */
static bool record_address(const struct record *record, struct address *out)
{
	*out = (struct address){ 0 };
	if (record->class != DNS_CLASS_IN)
		return false;
	if (record->type == DNS_A && record->size == sizeof(out->v4)) {
		out->family = AF_INET;
		memcpy(&out->v4, record->data, sizeof(out->v4));
	} else if (record->type == DNS_AAAA && record->size == sizeof(out->v6)) {
		out->family = AF_INET6;
		memcpy(&out->v6, record->data, sizeof(out->v6));
	}
	return out->family != 0;
}

size_t dns_reply_addresses(const uint8_t *reply, size_t size, struct address **out, uint32_t *ttl)
{
	struct dns_query asked;
	struct record record;
	size_t left, count = 0;
	ssize_t at;

	*out = NULL;
	*ttl = UINT32_MAX;
	if (get16(reply + 4) != 1 || dns_rcode(reply) != DNS_NOERROR)
		return 0;
	at = question_read(&asked, reply, size);
	for (left = get16(reply + 6); at > 0 && left > 0; left--) {
		struct address address;

		at = record_read(reply, size, (size_t)at, &record);
		if (at < 0)
			break;
		/* One with its highest bit set is none: RFC 2181, 8. */
		if (record.ttl > INT32_MAX)
			record.ttl = 0;
		if (record.ttl < *ttl)
			*ttl = record.ttl;
		if (!record_address(&record, &address))
			continue;
		*out = xrealloc(*out, (count + 1) * sizeof(**out));
		(*out)[count++] = address;
	}
	return count;
}
