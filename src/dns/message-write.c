/* SPDX-License-Identifier: MIT */
/* DNS messages, written. All names in them are the question's, ends of it, or few. */
#include "config.h"

#include <string.h>

#include "dns/message.h"

#define FLAG_RESPONSE 0x8000u
#define FLAG_AUTHORITATIVE 0x0400u
#define FLAG_RECURSION_AVAILABLE 0x0080u
/* The opcode, "recursion desired" and "checking disabled" (RFC 4035, 3.2.2). */
#define FLAGS_COPIED 0x7910u
#define RCODE_MASK 15u
#define OPT_SIZE 11
#define OPT_DNSSEC_OK 0x8000u
#define POINTER 0xc000u
#define RECORD_HEAD 12 /* a pointer to its name, type, class, TTL, the data's length */

/* Where the header counts records. */
enum section { ANSWER = 6, AUTHORITY = 8, ADDITIONAL = 10 };

static uint8_t *put16(uint8_t *at, unsigned n)
{
	at[0] = (uint8_t)(n >> 8);
	at[1] = (uint8_t)n;
	return at + 2;
}

static uint8_t *put32(uint8_t *at, uint32_t n)
{
	return put16(put16(at, n >> 16), n & 0xffff);
}

/* Labels of the text, without the root's at their end. */
static uint8_t *put_labels(uint8_t *at, const char *name)
{
	while (*name != '\0') {
		size_t n = strcspn(name, ".");

		*at++ = (uint8_t)n;
		memcpy(at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	return at;
}

static unsigned get16(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static void answer_count(struct dns_answer *answer, enum section section)
{
	put16(answer->data + section, get16(answer->data + section) + 1);
}

/* Flags are added to those that are there. */
static void answer_flag(struct dns_answer *answer, unsigned flags)
{
	put16(answer->data + 2, get16(answer->data + 2) | flags);
}

void dns_answer_begin(struct dns_answer *answer, const struct dns_query *query, uint8_t *data,
		      size_t limit)
{
	*answer = (struct dns_answer){ .query = query, .data = data, .limit = limit };
	/* There is room for an OPT record at the end. */
	if (query->edns)
		answer->limit -= OPT_SIZE;
	memset(data, 0, DNS_HEADER_SIZE);
	put16(data, query->id);
	answer_flag(answer,
		    (query->flags & FLAGS_COPIED) | FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE);
	answer->size = DNS_HEADER_SIZE;
	if (query->question_size == 0)
		return;
	memcpy(data + answer->size, query->question, query->question_size);
	answer->size += query->question_size;
	put16(data + 4, 1);
}

void dns_answer_authoritative(struct dns_answer *answer)
{
	answer_flag(answer, FLAG_AUTHORITATIVE);
}

bool dns_answer_empty(const struct dns_answer *answer)
{
	return !answer->full && get16(answer->data + ANSWER) == 0;
}

/* A record with the name that is at `owner`. Where its data goes, or NULL if there is no room. */
static uint8_t *put_record(struct dns_answer *answer, enum section section, size_t owner,
			   unsigned type, uint32_t ttl, size_t size)
{
	uint8_t *at = answer->data + answer->size;

	/*
	 * Some of a name's records may stay (RFC 2181, 9): resolvers that can't ask again over TCP, as musl's
	 * before 1.2.4, are better off with them.
	 */
	if (answer->full || size + RECORD_HEAD > answer->limit - answer->size) {
		answer->full = true;
		return NULL;
	}
	at = put16(at, POINTER | (unsigned)owner);
	at = put16(at, type);
	at = put16(at, DNS_CLASS_IN);
	at = put32(at, ttl);
	at = put16(at, (unsigned)size);
	answer->size += RECORD_HEAD + size;
	answer_count(answer, section);
	return at;
}

void dns_answer_address(struct dns_answer *answer, uint32_t ttl, const struct address *address)
{
	bool v6 = address->family == AF_INET6;
	size_t size = v6 ? sizeof(address->v6) : sizeof(address->v4);
	uint8_t *at = put_record(answer, ANSWER, DNS_HEADER_SIZE, v6 ? DNS_AAAA : DNS_A, ttl, size);

	if (at != NULL)
		memcpy(at, v6 ? (const void *)&address->v6 : (const void *)&address->v4, size);
}

void dns_answer_ptr(struct dns_answer *answer, uint32_t ttl, const char *name)
{
	uint8_t *at = put_record(answer, ANSWER, DNS_HEADER_SIZE, DNS_PTR, ttl, strlen(name) + 2);

	if (at != NULL)
		*put_labels(at, name) = 0;
}

void dns_answer_hinfo(struct dns_answer *answer, uint32_t ttl)
{
	static const uint8_t cpu_os[] = { 7, 'R', 'F', 'C', '8', '4', '8', '2', 0 };
	uint8_t *at = put_record(answer, ANSWER, DNS_HEADER_SIZE, DNS_HINFO, ttl, sizeof(cpu_os));

	if (at != NULL)
		memcpy(at, cpu_os, sizeof(cpu_os));
}

void dns_answer_soa(struct dns_answer *answer, uint32_t ttl, const char *zone, bool asked)
{
	/* As RFC 6303, 3 has it for zones that nobody transfers and nobody writes to the master of. */
	static const char mailbox[] = "nobody.invalid";
	enum { SERIAL = 1, REFRESH = 3600, RETRY = 1200, EXPIRE = 604800 };
	size_t name_size = answer->query->question_size - 4;
	size_t owner = DNS_HEADER_SIZE + name_size - (strlen(zone) + 2);
	uint8_t *at = put_record(answer, asked ? ANSWER : AUTHORITY, owner, DNS_SOA, ttl,
				 2 + sizeof(mailbox) + 1 + 20);

	if (at == NULL)
		return;
	at = put16(at, POINTER | (unsigned)owner);
	at = put_labels(at, mailbox);
	*at++ = 0;
	at = put32(at, SERIAL);
	at = put32(at, REFRESH);
	at = put32(at, RETRY);
	at = put32(at, EXPIRE);
	put32(at, ttl);
}

size_t dns_answer_end(struct dns_answer *answer, enum dns_rcode rcode)
{
	unsigned code = rcode;
	uint8_t *at;

	if (answer->full)
		answer_flag(answer, DNS_FLAG_TC);
	answer_flag(answer, code & RCODE_MASK);
	if (!answer->query->edns)
		return answer->size;
	/* RFC 6891, 7: who asks with one gets one. */
	at = answer->data + answer->size;
	*at++ = 0;
	at = put16(at, DNS_OPT);
	at = put16(at, DNS_UDP_MAX);
	at = put16(at, code >> 4 << 8);
	at = put16(at, answer->query->dnssec_ok ? OPT_DNSSEC_OK : 0);
	put16(at, 0);
	answer->size += OPT_SIZE;
	answer_count(answer, ADDITIONAL);
	return answer->size;
}
