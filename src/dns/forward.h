/* SPDX-License-Identifier: MIT */
/*
 * Asks the host's resolvers what a pod asks, as it is. Over UDP what came over UDP, with an answer that was cut
 * short passed on as it is; over TCP what came over TCP.
 */
#ifndef VZFWD_DNS_FORWARD_H
#define VZFWD_DNS_FORWARD_H

#include "dns/message.h"
#include "loop.h"

#define DNS_FORWARD_MAX 256 /* questions under way, unless told otherwise */

struct dns_forward;
struct dns_question;

/* `resolv_conf` is kept. `port` is where the resolvers in it listen. */
struct dns_forward *dns_forward_new(struct loop *loop, const char *resolv_conf, uint16_t port,
				    unsigned max);
void dns_forward_free(struct dns_forward *forward); /* with no question under way */

/*
 * The query, and the reply with the query's ID, until the callback returns; size 0 if there is none: nobody
 * answered in time, or there were too many questions after this one. The question is freed then.
 */
typedef void (*dns_reply_cb)(const struct dns_query *query, const uint8_t *reply, size_t size,
			     void *arg);

/* Never calls back before it has returned. `query` is what the message says. */
struct dns_question *dns_forward_ask(struct dns_forward *forward, const struct dns_query *query,
				     bool tcp, const uint8_t *message, size_t size, dns_reply_cb cb,
				     void *arg);
void dns_forward_cancel(struct dns_question *question);

#endif
