/* SPDX-License-Identifier: MIT */
/*
 * Answers the DNS questions of a pod, whose sockets are somebody else's: bytes of a query come in, bytes of an
 * answer go out. By zones of our own first; then, if that is allowed, by the host's resolvers.
 */
#ifndef VZFWD_DNS_SERVER_H
#define VZFWD_DNS_SERVER_H

#include "dns/zones.h"
#include "loop.h"

#define DNS_QUERY_MAX 4096u /* for dns_stream_take(): queries are short */

struct dns_server_config {
	const struct zones *zones;
	const char *resolv_conf; /* NULL: /etc/resolv.conf */
	uint16_t port;           /* where the resolvers in it listen; 0: 53 */
	unsigned max; /* questions at resolvers; more end the oldest one. 0: DNS_FORWARD_MAX */
	/* Names are texts as in dns/message.h. NULL: everything is allowed; nobody wants to know. */
	bool (*allowed)(const char *name, uint16_t type, void *arg); /* to be asked of resolvers */
	/*
	 * Before an answer with addresses goes to the pod, ours or a resolver's: all of them belong to the name
	 * that was asked for, also those of its aliases. The answer may be kept for `ttl` seconds.
	 */
	void (*resolved)(const char *name, const struct address *addresses, size_t count,
			 uint32_t ttl, void *arg);
	void *arg;
};

struct dns_server;
struct dns_ask;

/* What the config points to has to stay. */
struct dns_server *dns_server_new(struct loop *loop, const struct dns_server_config *config);
void dns_server_free(struct dns_server *server); /* cancels all questions */

/*
 * The answer, until the callback returns; over TCP with its length in front (RFC 1035, 4.2.2). Size 0: there is
 * none, for what is no query.
 */
typedef void (*dns_answer_cb)(const uint8_t *answer, size_t size, void *arg);

/*
 * Has a query answered: a datagram, or over TCP a message without its length. NULL if it has been already, and
 * the callback is through; else it is called once, later, unless dns_server_cancel() comes first.
 */
struct dns_ask *dns_server_ask(struct dns_server *server, bool tcp, const uint8_t *message,
			       size_t size, dns_answer_cb cb, void *arg);
void dns_server_cancel(struct dns_ask *ask);

#endif
