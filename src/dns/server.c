/* SPDX-License-Identifier: MIT */
/* Who answers a pod's question: a zone, nobody, or a resolver of the host. */
#include "config.h"

#include <sys/queue.h>

#include "dns/forward.h"
#include "dns/server.h"
#include "dns/stream.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define DNS_PORT 53

struct dns_ask {
	TAILQ_ENTRY(dns_ask) next;
	struct dns_server *server;
	struct dns_question *question;
	bool tcp;
	dns_answer_cb cb;
	void *arg;
};

struct dns_server {
	struct dns_server_config config;
	struct dns_forward *forward;
	TAILQ_HEAD(, dns_ask) asks;
};

struct dns_server *dns_server_new(struct loop *loop, const struct dns_server_config *config)
{
	struct dns_server *server = xmalloc(sizeof(*server));

	server->config = *config;
	server->forward =
		dns_forward_new(loop,
				config->resolv_conf != NULL ? config->resolv_conf : RESOLV_CONF,
				config->port != 0 ? config->port : DNS_PORT,
				config->max != 0 ? config->max : DNS_FORWARD_MAX);
	TAILQ_INIT(&server->asks);
	return server;
}

static void ask_free(struct dns_ask *ask)
{
	TAILQ_REMOVE(&ask->server->asks, ask, next);
	free(ask);
}

void dns_server_cancel(struct dns_ask *ask)
{
	dns_forward_cancel(ask->question);
	ask_free(ask);
}

void dns_server_free(struct dns_server *server)
{
	struct dns_ask *ask;

	if (server == NULL)
		return;
	while ((ask = TAILQ_FIRST(&server->asks)) != NULL)
		dns_server_cancel(ask);
	dns_forward_free(server->forward);
	free(server);
}

/* Gives the answer to who asked, after the hook. */
static void server_tell(const struct dns_server_config *config, const struct dns_query *query,
			bool tcp, const uint8_t *answer, size_t size, dns_answer_cb cb, void *arg)
{
	_cleanup_free_ struct address *addresses = NULL;
	_cleanup_free_ uint8_t *framed = NULL;
	uint32_t ttl;
	size_t count = 0;

	if (config->resolved != NULL)
		count = dns_reply_addresses(answer, size, &addresses, &ttl);
	if (count > 0)
		config->resolved(query->name, addresses, count, ttl, config->arg);
	if (tcp) {
		framed = dns_frame(answer, size);
		cb(framed, size + DNS_LENGTH_SIZE, arg);
	} else {
		cb(answer, size, arg);
	}
}

/* An answer without records. */
static size_t answer_code(const struct dns_query *query, enum dns_rcode rcode,
			  uint8_t out[DNS_PLAIN_MAX], bool cut)
{
	struct dns_answer answer;

	dns_answer_begin(&answer, query, out, DNS_PLAIN_MAX);
	answer.full = cut;
	return dns_answer_end(&answer, rcode);
}

/* What a resolver said, or that none did. */
static void server_replied(const struct dns_query *query, const uint8_t *reply, size_t size,
			   void *arg)
{
	struct dns_ask *ask = arg;
	struct dns_server_config config = ask->server->config;
	bool tcp = ask->tcp;
	dns_answer_cb cb = ask->cb;
	void *cb_arg = ask->arg;
	uint8_t own[DNS_PLAIN_MAX];

	ask_free(ask);
	if (size == 0) {
		size = answer_code(query, DNS_SERVFAIL, own, false);
		reply = own;
	} else if (size > dns_query_limit(query, tcp)) {
		/* A resolver that does not keep to what it was told. */
		size = answer_code(query, dns_rcode(reply), own, true);
		reply = own;
	}
	server_tell(&config, query, tcp, reply, size, cb, cb_arg);
}

/* What is not asked of anybody else: the size of the answer, or 0 if it is. */
static size_t server_own(const struct dns_server *server, const struct dns_query *query,
			 enum dns_rcode rcode, bool tcp, uint8_t out[ZONES_ANSWER_MAX])
{
	const struct dns_server_config *config = &server->config;
	struct dns_answer answer;
	size_t size = 0;

	if (rcode != DNS_NOERROR)
		return answer_code(query, rcode, out, false);
	if (query->type == DNS_OPT)
		return answer_code(query, DNS_FORMERR, out, false);
	/* Whole zones come in many messages; what is not of the Internet (version.bind) is nobody's business. */
	if (query->class != DNS_CLASS_IN || query->type == DNS_AXFR || query->type == DNS_IXFR)
		return answer_code(query, DNS_REFUSED, out, false);
	if (config->zones != NULL)
		size = zones_answer(config->zones, query, out, dns_query_limit(query, tcp));
	if (size > 0)
		return size;
	if (config->allowed != NULL && !config->allowed(query->name, query->type, config->arg))
		return answer_code(query, DNS_REFUSED, out, false);
	if (query->type != DNS_ANY)
		return 0;
	/* RFC 8482: as little as there may be. Also because `resolved` would get only what a resolver happens to know. */
	dns_answer_begin(&answer, query, out, DNS_PLAIN_MAX);
	dns_answer_hinfo(&answer, ZONES_TTL);
	return dns_answer_end(&answer, DNS_NOERROR);
}

struct dns_ask *dns_server_ask(struct dns_server *server, bool tcp, const uint8_t *message,
			       size_t size, dns_answer_cb cb, void *arg)
{
	struct dns_query query;
	uint8_t own[ZONES_ANSWER_MAX];
	int rcode = dns_query_parse(&query, message, size);
	struct dns_ask *ask;
	size_t own_size;

	if (rcode < 0) {
		cb(NULL, 0, arg);
		return NULL;
	}
	own_size = server_own(server, &query, (enum dns_rcode)rcode, tcp, own);
	if (own_size > 0) {
		server_tell(&server->config, &query, tcp, own, own_size, cb, arg);
		return NULL;
	}
	ask = xmalloc(sizeof(*ask));
	*ask = (struct dns_ask){ .server = server, .tcp = tcp, .cb = cb, .arg = arg };
	TAILQ_INSERT_TAIL(&server->asks, ask, next);
	ask->question =
		dns_forward_ask(server->forward, &query, tcp, message, size, server_replied, ask);
	return ask;
}
