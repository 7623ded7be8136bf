/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <string.h>

#include "lib/local.h"
#include "expose.h"

#define PLACES_MAX 2

/* One place in the pod: where it is, and the links that wait there. */
struct place {
	struct exposed *exposed;
	char *text;
	struct park *park; /* NULL: stopped */
};

struct exposed {
	struct expose_config config;
	struct backwards clients;
	struct place places[PLACES_MAX];
	size_t count;
	char *label, *target, *port;
	char *address; /* EXPOSE_POD: what is asked for there */
};

static void on_gone(void *arg)
{
	struct exposed *e = arg;

	e->config.gone(e, e->config.arg);
}

static struct event_source source_of(const struct place *place)
{
	const struct exposed *e = place->exposed;

	return (struct event_source){ e->config.park.events, e->config.park.pod_arg, place->text,
				      e->target, NULL };
}

static void lead_on(struct exposed *e, struct backward *b)
{
	const struct expose_spec *spec = e->config.spec;
	struct address hosts[2] = { spec->host, spec->host };
	size_t count = 1;

	switch (spec->target) {
	case EXPOSE_UNIX:
		backward_connect_unix(b, spec->path);
		return;
	case EXPOSE_POD:
		backward_dial(b, e->config.siblings_dir, spec->pod, e->config.park.policy,
			      backward_is_udp(b) ? NETWORK_UDP : NETWORK_TCP, e->address,
			      e->config.timeout_ms);
		return;
	case EXPOSE_HOST:
		if (spec->host.family == AF_UNSPEC) {
			count = backward_is_udp(b) ? 1 : 2;
			address_set_loopback(&hosts[0],
					     count == 1 ? local_udp_loopback(spec->host.port)
							: AF_INET);
			address_set_loopback(&hosts[1], AF_INET6);
		}
		backward_connect(b, hosts, count, e->config.timeout_ms);
	}
}

static void on_accepted(const struct park_client *client, void *arg)
{
	struct place *place = arg;
	struct exposed *e = place->exposed;
	struct backward_config config = {
		.all = &e->clients,
		.id = ++*e->config.last_id,
		.label = e->label,
		.source = source_of(place),
	};
	struct backward *b = backward_new(&config, client);
	char remote[ADDRESS_TEXT_MAX];

	log_info(&(struct log_name){ e->label, config.id }, "from %s in the pod",
		 client->told.remote.family != AF_UNSPEC
			 ? address_format(&client->told.remote, remote)
			 : "a process");
	lead_on(e, b);
	e->config.accepted(e, e->config.arg);
}

static void on_listening(void *arg)
{
	struct place *place = arg;
	struct exposed *e = place->exposed;
	struct event_source source = source_of(place);

	event_listening(&source, e->config.park.events != NULL
					 ? xcheck(json_pack("[o]", rpc_system_string(place->text)))
					 : NULL);
	e->config.listening(e, place->text, e->config.arg);
}

static void on_failed(const struct error *err, void *arg)
{
	struct place *place = arg;

	place->exposed->config.failed(place->exposed, err, place->exposed->config.arg);
}

static void add_place(struct exposed *e, const struct address *at)
{
	const struct expose_config *config = &e->config;
	struct place *place = &e->places[e->count++];
	char text[ADDRESS_TEXT_MAX];
	struct park_config park = config->park;

	place->exposed = e;
	place->text = at != NULL ? xstrdup(address_format(at, text))
				 : xasprintf("unix:%s", config->spec->at_path);
	park.listen = at != NULL ? place->text : config->spec->at_path;
	park.network = config->spec->network;
	park.label = e->label;
	park.listening = on_listening;
	park.accepted = on_accepted;
	park.failed = on_failed;
	park.arg = place;
	place->park = park_new(&park);
}

struct exposed *expose_new(const struct expose_config *config)
{
	const struct expose_spec *spec = config->spec;
	struct exposed *e = xcalloc(1, sizeof(*e));
	struct address at = spec->at.family != AF_UNSPEC ? spec->at : config->alias;
	char text[ADDRESS_TEXT_MAX];

	e->config = *config;
	backwards_init(&e->clients, config->park.loop, config->park.room, on_gone, e);
	if (config->udp_idle_ms > 0)
		e->clients.udp_idle_ms = config->udp_idle_ms;
	e->target = expose_spec_target(spec);
	e->port = spec->network == NETWORK_UNIX ? xstrdup(spec->at_path)
						: xasprintf("%u", spec->at.port);
	e->label = xasprintf("%s<%s", config->park.pod_arg, e->target);
	if (spec->target == EXPOSE_POD)
		e->address = xstrdup(address_format(&spec->host, text));
	at.port = spec->at.port;
	add_place(e, spec->network == NETWORK_UNIX ? NULL : &at);
	if (config->on_loopback && spec->network != NETWORK_UNIX) {
		at = (struct address){ .port = spec->at.port };
		add_place(e, &at);
	}
	return e;
}

const char *expose_target(const struct exposed *e)
{
	return e->target;
}

const char *expose_port(const struct exposed *e)
{
	return e->port;
}

json_t *expose_to_json(const struct exposed *e)
{
	struct traffic traffic = backwards_traffic(&e->clients);
	json_t *listeners = xcheck(json_array()), *json;

	for (size_t i = 0; i < e->count; i++)
		json_array_append_new(listeners, rpc_system_string(e->places[i].text));
	json = xcheck(json_pack("{s:o, s:o, s:o, s:s, s:o, s:b}", "listen",
				rpc_system_string(e->places[0].text), "listeners", listeners, "pod",
				rpc_system_string(e->config.park.pod_arg), "network",
				network_name(e->config.spec->network), "target",
				rpc_system_string(e->target), "exposed", 1));
	traffic_put(json, &traffic);
	return json;
}

void expose_go_on(struct exposed *e)
{
	for (size_t i = 0; i < e->count; i++) {
		if (e->places[i].park != NULL)
			park_go_on(e->places[i].park);
	}
}

void expose_stop(struct exposed *e)
{
	for (size_t i = 0; i < e->count; i++) {
		struct event_source source = source_of(&e->places[i]);

		if (e->places[i].park == NULL)
			continue;
		park_free(e->places[i].park);
		e->places[i].park = NULL;
		event_stopped(&source);
	}
}

void expose_abort(struct exposed *e)
{
	backwards_abort(&e->clients);
}

bool expose_is_idle(const struct exposed *e)
{
	return TAILQ_EMPTY(&e->clients.list);
}

void expose_free(struct exposed *e)
{
	expose_stop(e);
	for (size_t i = 0; i < e->count; i++)
		free(e->places[i].text);
	free(e->label);
	free(e->target);
	free(e->port);
	free(e->address);
	free(e);
}
