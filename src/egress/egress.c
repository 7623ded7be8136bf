/* SPDX-License-Identifier: MIT */
/*
 * A client's way: its destination is decided by the rules (rules.h), maybe after a look at its first bytes, which stay where they are,
 * and maybe after its name was resolved; then it is connected to that very address, or to the upstream proxy. From when it has its
 * service it is a struct backward's, which tells by over() that it is through here, however that came.
 */
#include "config.h"

#include <string.h>

#include "dns/stream.h"
#include "egress.h"
#include "first-bytes.h"
#include "names.h"

#define REFUSED_MS \
	1000 /* a name that is refused again within that is not told of again: IPv6 after IPv4 */
#define PEEK_MS 5000 /* for the first bytes; who says nothing is taken for who says no name */

struct outlet {
	struct egress *egress;
	enum network network;
	char *text;        /* "egress", "egress/udp" */
	struct park *park; /* NULL: stopped */
	struct backwards clients;
};

struct egress {
	struct egress_config config;
	struct outlet outlets[2];
	struct dns_server *dns;
	struct responder *responder; /* NULL: none */
	struct names *names;
	char refused[DOMAIN_NAME_MAX + 1]; /* the last one */
	int64_t refused_at;                /* now_ms() */
};

/* Until it is led on. */
struct leaving {
	struct egress *egress;
	struct backward *backward;
	struct address to;
	bool udp, peeking, resolved, unanswered, by_tcp;
	enum peek peek;
	char peeked[DOMAIN_NAME_MAX + 1];
	char *name; /* for the upstream; NULL: none */
	struct loop_task deadline;
	struct dns_ask *ask;
	struct connecting *connecting;
	struct upstream_call *call;
};

static struct loop *egress_loop(const struct egress *e)
{
	return e->config.park.loop;
}

static void leaving_over(void *arg)
{
	struct leaving *l = arg;

	loop_cancel(&l->deadline);
	if (l->ask != NULL)
		dns_server_cancel(l->ask);
	if (l->connecting != NULL)
		connect_cancel(l->connecting);
	if (l->call != NULL)
		upstream_cancel(l->call);
	free(l->name);
	free(l);
}

/* From here on `l` may be gone when a function returns. */

static void on_upstream(int fd, const struct error *err, void *arg)
{
	struct leaving *l = arg;

	l->call = NULL;
	if (err != NULL)
		backward_fail(l->backward, err);
	else
		backward_join(l->backward, fd);
}

static void on_upstream_connected(const struct connected *connected, const struct error *err,
				  void *arg)
{
	struct leaving *l = arg;
	const struct egress_config *config = &l->egress->config;
	struct error failed;

	l->connecting = NULL;
	if (err != NULL) {
		failed = *err;
		error_prefix(&failed, "the upstream proxy");
		backward_fail(l->backward, &failed);
		return;
	}
	l->call = upstream_open(config->park.loop, config->upstream, connected->fd, l->name, &l->to,
				config->timeout_ms, on_upstream, l);
}

static void leave_upstream(struct leaving *l, const char *name)
{
	const struct egress_config *config = &l->egress->config;
	struct connect_config connect = { .type = SOCK_STREAM,
					  .count = config->upstream_count,
					  .timeout_ms = config->timeout_ms,
					  .done = on_upstream_connected,
					  .arg = l };
	struct connecting *connecting;
	struct error err;

	if (upstream_carries(config->upstream, l->udp ? NETWORK_UDP : NETWORK_TCP, &err) < 0) {
		backward_deny(l->backward, "--upstream", &err);
		return;
	}
	l->name = name != NULL ? xstrdup(name) : NULL;
	for (size_t i = 0; i < connect.count; i++)
		connect.addrs[i] = config->upstream_addrs[i];
	connecting = connect_start(config->park.loop, &connect);
	if (connecting != NULL)
		l->connecting = connecting;
}

static void leave(struct leaving *l, const struct verdict *verdict)
{
	l->peeking = false;
	loop_cancel(&l->deadline);
	backward_set_name(l->backward, verdict->name);
	if (l->egress->config.upstream != NULL)
		leave_upstream(l, verdict->name);
	else
		backward_connect(l->backward, &l->to, 1, l->egress->config.timeout_ms);
}

static void deny(struct leaving *l, const struct verdict *verdict)
{
	struct error err;

	backward_set_name(l->backward, verdict->name);
	error_set(&err, REASON_DENIED, 0, "%s", verdict->why);
	backward_deny(l->backward, verdict->rule, &err);
}

static void decide(struct leaving *l);

static void resolve(struct leaving *l, const char *name);

/* What the server says, too, when no resolver has answered. */
static bool is_failure(const uint8_t *message)
{
	return dns_rcode(message) == DNS_SERVFAIL;
}

static void on_resolved(const uint8_t *answer, size_t size, void *arg)
{
	struct leaving *l = arg;

	/* Whatever was resolved, hook_resolved() has seen it. */
	l->ask = NULL;
	if (!l->by_tcp && dns_is_cut(answer, size)) {
		l->by_tcp = true;
		resolve(l, l->peeked);
		return;
	}
	l->resolved = true;
	l->unanswered = is_failure(answer + (l->by_tcp ? DNS_LENGTH_SIZE : 0));
	decide(l);
}

/* The question of a client of our own, by the same server that pods ask. */
static void resolve(struct leaving *l, const char *name)
{
	uint8_t query[DNS_QUERY_ROOM];
	size_t size = dns_query_write(query, 0, name, l->to.family == AF_INET ? DNS_A : DNS_AAAA);
	struct dns_ask *ask =
		dns_server_ask(l->egress->dns, l->by_tcp, query, size, on_resolved, l);

	if (ask != NULL)
		l->ask = ask;
}

static void look(struct leaving *l, bool waited)
{
	struct backward *b = l->backward;

	l->peek = first_bytes(backward_fd(b), backward_framing(b), waited,
			      egress_loop(l->egress)->scratch, l->peeked);
	if (l->peek == PEEK_MORE)
		return;
	l->peeking = false;
	loop_cancel(&l->deadline);
	decide(l);
}

static void on_readable(void *arg)
{
	struct leaving *l = arg;

	if (l->peeking)
		look(l, false);
}

static void on_silent(void *arg)
{
	look(arg, true);
}

static void decide(struct leaving *l)
{
	struct egress *e = l->egress;
	const char *names[NAMES_PER_ADDRESS];
	struct destination to = { .udp = l->udp,
				  .address = l->to,
				  .names = names,
				  .name_count = names_of(e->names, &l->to, now_ms(), names),
				  .peek = l->peek,
				  .peeked = l->peek == PEEK_NAME ? l->peeked : NULL,
				  .resolved = l->resolved,
				  .unanswered = l->unanswered };
	struct verdict verdict;

	switch (rules_check(e->config.rules, &to, &verdict)) {
	case RULES_DENIED:
		deny(l, &verdict);
		break;
	case RULES_ALLOWED:
		leave(l, &verdict);
		break;
	case RULES_RESOLVE:
		resolve(l, verdict.name);
		break;
	case RULES_PEEK:
		l->peeking = true;
		loop_later(egress_loop(e), &l->deadline, PEEK_MS, on_silent, l);
		look(l, false);
	}
}

static void on_accepted(const struct park_client *client, void *arg)
{
	struct outlet *outlet = arg;
	struct egress *e = outlet->egress;
	struct leaving *l = xcalloc(1, sizeof(*l));
	char text[ADDRESS_TEXT_MAX];
	struct backward_config config = {
		.all = &outlet->clients,
		.id = ++*e->config.last_id,
		.label = e->config.park.label,
		.source = { e->config.park.events, e->config.park.pod_arg, outlet->text,
			    address_format(&client->told.destination, text), NULL },
		.readable = on_readable,
		.over = leaving_over,
		.arg = l,
	};
	struct error err;

	l->egress = e;
	l->to = client->told.destination;
	l->udp = outlet->network == NETWORK_UDP;
	l->backward = backward_new(&config, client);
	if (l->to.family == AF_UNSPEC) {
		error_set(&err, REASON_INTERNAL, 0, "the guest did not say where to");
		backward_fail(l->backward, &err);
		return;
	}
	decide(l);
}

static void tell_refused(struct egress *e, const char *host, const char *rule)
{
	const struct event_source source = { .events = e->config.park.events,
					     .pod = e->config.park.pod_arg,
					     .forward = "dns",
					     .name = host };
	struct error err;

	if (strcmp(e->refused, host) == 0 && now_ms() - e->refused_at < REFUSED_MS)
		return;
	strcpy(e->refused, host);
	e->refused_at = now_ms();
	error_set(&err, REASON_DENIED, 0, "no rule has the name, or one denies it");
	log_info(&(struct log_name){ e->config.park.label, 0 }, "dns: refused: %s (rule: %s)", host,
		 rule);
	event_denied(&source, ++*e->config.last_id, NULL, rule, &err);
}

static bool hook_allowed(const char *name, uint16_t type, void *arg)
{
	struct egress *e = arg;
	char host[DOMAIN_NAME_MAX + 1];
	const char *rule;

	(void)type;
	if (host_name_parse(host, name, strlen(name)) < 0)
		return false;
	if (rules_may_resolve(e->config.rules, host, &rule))
		return true;
	tell_refused(e, host, rule);
	return false;
}

static void hook_resolved(const char *name, const struct address *addresses, size_t count,
			  uint32_t ttl, void *arg)
{
	struct egress *e = arg;

	names_add(e->names, name, addresses, count, ttl, now_ms());
	backwards_forgive(&e->outlets[1].clients, addresses, count);
}

static void on_listening(void *arg)
{
	struct outlet *outlet = arg;
	struct egress *e = outlet->egress;

	e->config.listening(outlet->text, e->config.arg);
}

static void on_failed(const struct error *err, void *arg)
{
	struct outlet *outlet = arg;
	struct egress *e = outlet->egress;

	e->config.failed(outlet->text, err, e->config.arg);
}

static void on_gone(void *arg)
{
	struct outlet *outlet = arg;
	struct egress *e = outlet->egress;

	e->config.gone(e->config.arg);
}

static void outlet_open(struct egress *e, struct outlet *outlet, enum network network)
{
	struct park_config park = e->config.park;

	outlet->egress = e;
	outlet->network = network;
	outlet->text = xstrdup(network == NETWORK_UDP ? ACCEPT_EGRESS "/udp" : ACCEPT_EGRESS);
	backwards_init(&outlet->clients, park.loop, park.room, on_gone, outlet);
	if (e->config.udp_idle_ms > 0)
		outlet->clients.udp_idle_ms = e->config.udp_idle_ms;
	park.network = network;
	park.listen = ACCEPT_EGRESS;
	park.listening = on_listening;
	park.accepted = on_accepted;
	park.failed = on_failed;
	park.arg = outlet;
	outlet->park = park_new(&park);
}

struct egress *egress_new(const struct egress_config *config)
{
	struct egress *e = xcalloc(1, sizeof(*e));
	struct dns_server_config dns = {
		.zones = config->zones, .allowed = hook_allowed, .resolved = hook_resolved, .arg = e
	};
	struct responder_config responder = { .park = config->park,
					      .address = config->alias,
					      .last_id = config->last_id,
					      .listening = config->listening,
					      .failed = config->failed,
					      .gone = config->gone,
					      .arg = config->arg };

	e->config = *config;
	e->names = names_new();
	e->dns = dns_server_new(config->park.loop, &dns);
	outlet_open(e, &e->outlets[0], NETWORK_TCP);
	outlet_open(e, &e->outlets[1], NETWORK_UDP);
	if (config->dns) {
		responder.server = e->dns;
		e->responder = responder_new(&responder);
	}
	return e;
}

json_t *egress_to_json(const struct egress *e)
{
	struct traffic traffic = backwards_traffic(&e->outlets[0].clients),
		       udp = backwards_traffic(&e->outlets[1].clients);
	json_t *json =
		xcheck(json_pack("{s:s, s:[s,s], s:o, s:s, s:s, s:b}", "listen", ACCEPT_EGRESS,
				 "listeners", e->outlets[0].text, e->outlets[1].text, "pod",
				 rpc_system_string(e->config.park.pod_arg), "network", "tcp",
				 "target", "*", "exposed", 1));

	traffic_add(&traffic, &udp);
	traffic_put(json, &traffic);
	return json;
}

void egress_rules_changed(struct egress *e)
{
	backwards_forgive(&e->outlets[1].clients, NULL, 0);
}

void egress_go_on(struct egress *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(e->outlets); i++) {
		if (e->outlets[i].park != NULL)
			park_go_on(e->outlets[i].park);
	}
	if (e->responder != NULL)
		responder_go_on(e->responder);
}

void egress_stop(struct egress *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(e->outlets); i++) {
		park_free(e->outlets[i].park);
		e->outlets[i].park = NULL;
	}
	if (e->responder != NULL)
		responder_stop(e->responder);
}

void egress_abort(struct egress *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(e->outlets); i++)
		backwards_abort(&e->outlets[i].clients);
}

bool egress_is_idle(const struct egress *e)
{
	return TAILQ_EMPTY(&e->outlets[0].clients.list) &&
	       TAILQ_EMPTY(&e->outlets[1].clients.list) &&
	       (e->responder == NULL || responder_is_idle(e->responder));
}

void egress_free(struct egress *e)
{
	if (e == NULL)
		return;
	egress_stop(e);
	responder_free(e->responder);
	dns_server_free(e->dns);
	names_delete(e->names);
	for (size_t i = 0; i < ARRAY_SIZE(e->outlets); i++)
		free(e->outlets[i].text);
	free(e);
}
