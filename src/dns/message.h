/* SPDX-License-Identifier: MIT */
/*
 * DNS messages (RFC 1035, EDNS by RFC 6891): queries taken apart, answers of our own written, replies of
 * resolvers looked through. No I/O.
 *
 * evdns of libevent does not do here: its server owns a UDP socket, where a pod's questions come over links; it
 * answers no question over TCP and none with more than 512 bytes. Its resolver asks questions of its own, where
 * a pod's are to be passed on as they are.
 */
#ifndef VZFWD_DNS_MESSAGE_H
#define VZFWD_DNS_MESSAGE_H

#include "endpoint.h"

#define DNS_HEADER_SIZE 12u
#define DNS_MESSAGE_MAX 65535u
#define DNS_PLAIN_MAX 512u /* by UDP without EDNS: RFC 1035, 4.2.1 */
/*
 * By UDP with EDNS, and what our own OPT record says. More than the 1232 bytes that are told to go round
 * fragments: over links and loopback there are none.
 */
#define DNS_UDP_MAX 4096u

/*
 * A name as text: lower case, without the dot at its end ("." is the root); bytes that are not printable,
 * spaces, backslashes and dots within a label are \DDD (RFC 1035, 5.1), so that a dot is always one between
 * labels.
 */
#define DNS_NAME_MAX 255u /* on the wire */
#define DNS_NAME_TEXT_MAX 1024

enum dns_type {
	DNS_A = 1,
	DNS_SOA = 6,
	DNS_PTR = 12,
	DNS_HINFO = 13,
	DNS_AAAA = 28,
	DNS_OPT = 41,
	DNS_IXFR = 251,
	DNS_AXFR = 252,
	DNS_ANY = 255,
};

#define DNS_CLASS_IN 1

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
	DNS_BADVERS = 16, /* RFC 6891, 6.1.3 */
};

struct dns_query {
	uint16_t id;
	uint16_t flags; /* the header's second two bytes */
	/* The question as it came, name, type and class, is in these bytes of the message. */
	const uint8_t *question;
	size_t question_size; /* 0: none that could be read */
	uint16_t type, class;
	bool edns;
	bool dnssec_ok;
	uint16_t udp_size; /* with EDNS: what the asker takes */
	char name[DNS_NAME_TEXT_MAX];
};

/*
 * An enum dns_rcode: DNS_NOERROR, or what the query is to be answered with (FORMERR, NOTIMP, BADVERS); or a
 * negative number for what gets no answer: too short, or itself an answer, so that nobody can make two servers
 * talk to each other. `message` has to stay.
 */
int dns_query_parse(struct dns_query *query, const uint8_t *message, size_t size);

/*
 * Writes a query of our own: one question, recursion desired, for a host's name as text without escapes. Its size, at most
 * DNS_QUERY_ROOM.
 */
#define DNS_QUERY_ROOM (DNS_HEADER_SIZE + DNS_NAME_MAX + 4u)
size_t dns_query_write(uint8_t out[DNS_QUERY_ROOM], uint16_t id, const char *name,
		       enum dns_type type);

/* How large an answer may be. */
size_t dns_query_limit(const struct dns_query *query, bool tcp);

/* An answer that is being written. */
struct dns_answer {
	const struct dns_query *query;
	uint8_t *data; /* the caller's */
	size_t size, limit;
	bool full; /* a record did not fit: what comes after it is left out, and TC is set */
};

/*
 * Header and question. `limit` is DNS_PLAIN_MAX at least, and there are so many bytes in `data`. Then its
 * records, an SOA record last, and the end, which is the size of it all.
 */
void dns_answer_begin(struct dns_answer *answer, const struct dns_query *query, uint8_t *data,
		      size_t limit);
size_t dns_answer_end(struct dns_answer *answer, enum dns_rcode rcode);

void dns_answer_authoritative(struct dns_answer *answer);
bool dns_answer_empty(const struct dns_answer *answer); /* there were no records for it */

/* Records for the question's name. */
void dns_answer_address(struct dns_answer *answer, uint32_t ttl, const struct address *address);
/* Names here are texts without escapes. */
void dns_answer_ptr(struct dns_answer *answer, uint32_t ttl, const char *name);
/* What ANY is answered with: RFC 8482, 4.2. */
void dns_answer_hinfo(struct dns_answer *answer, uint32_t ttl);
/*
 * `zone` is the end of the question's name, or all of it. In the answer of a question for it, else with the
 * authorities, for a negative answer, which may be kept for `ttl` (RFC 2308, 3).
 */
void dns_answer_soa(struct dns_answer *answer, uint32_t ttl, const char *zone, bool asked);

/*
 * Reads the name at `at`, pointers followed; what comes after it, or -EPROTO. `text` has DNS_NAME_TEXT_MAX
 * bytes, or is NULL.
 */
ssize_t dns_name_read(const uint8_t *message, size_t size, size_t at, char *text);

/* A resolver's reply. */

#define DNS_FLAG_TC 0x0200

uint16_t dns_id(const uint8_t *message); /* of DNS_HEADER_SIZE bytes at least, as all here */
void dns_id_set(uint8_t *message, uint16_t id);
uint16_t dns_flags(const uint8_t *message);
enum dns_rcode dns_rcode(const uint8_t *message);   /* without what an OPT record adds */
bool dns_is_cut(const uint8_t *reply, size_t size); /* there is more of it over TCP; of any size */

/* True if it is a reply to this question with this ID: RFC 5452, 9.1. */
bool dns_reply_matches(const struct dns_query *query, uint16_t id, const uint8_t *reply,
		       size_t size);

/*
 * All addresses of a reply's answers, whatever names they have: a chain of aliases belongs to the name that was
 * asked for. Fresh memory in *out. `ttl` is the least one of the answers.
 */
size_t dns_reply_addresses(const uint8_t *reply, size_t size, struct address **out, uint32_t *ttl);

#endif
