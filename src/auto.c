/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "auto.h"
#include "lib/log.h"
#include "pod-ports.h"

#define AUTOS_MAX 1000

/*
 * Clients have their UDP sockets there (net.ipv4.ip_local_port_range), which look like servers': each name that
 * somebody in the pod looks up would be a forward.
 */
#define EPHEMERAL_MIN 32768

/* A port of the pod's that is to be forwarded. */
struct auto_forward {
	TAILQ_ENTRY(auto_forward) next;
	enum network network;
	struct address target;       /* AF_UNSPEC: the pod's loopback */
	struct forwarded *forwarded; /* NULL: it could not be, which was told */
	bool wanted;
};

struct auto_forwards {
	struct auto_config config;
	struct event_source source; /* of --events */
	struct log_name name;
	struct pod_ports *ports;
	TAILQ_HEAD(, auto_forward) all;
	size_t count;
	bool full; /* which was told */
};

/* True if what the pod's users call "localhost" reaches it. */
static bool is_on_loopback(const struct address *addr)
{
	struct address host = *addr;

	address_normalise(&host);
	return host.family == AF_INET ? host.v4.s_addr == htonl(INADDR_LOOPBACK)
				      : IN6_IS_ADDR_LOOPBACK(&host.v6);
}

/* Link-local addresses lack their interface, and nobody can be connected to a group. */
static bool can_be_dialed(const struct address *addr)
{
	if (addr->family == AF_INET)
		return !IN_MULTICAST(ntohl(addr->v4.s_addr)) &&
		       addr->v4.s_addr != htonl(INADDR_BROADCAST);
	return !IN6_IS_ADDR_LINKLOCAL(&addr->v6) && !IN6_IS_ADDR_MULTICAST(&addr->v6);
}

/* Whether there is a forward to it that was asked for by name. */
static bool has_its_own(const struct auto_forwards *autos, const struct pod_port *port)
{
	const struct forwarded *one;

	TAILQ_FOREACH (one, &autos->config.forwarding->forwards, next) {
		if (!one->spec.next_free && !one->removed && one->spec.network == port->network &&
		    one->spec.remote.port == port->addr.port &&
		    (one->spec.remote.family == AF_UNSPEC || is_on_loopback(&one->spec.remote)))
			return true;
	}
	return false;
}

static bool is_selected(const struct auto_forwards *autos, const struct pod_port *port)
{
	const struct auto_config *config = &autos->config;

	if (config->include->count > 0) {
		if (!port_ranges_have(config->include, port->addr.port))
			return false;
	} else if (port->network == NETWORK_UDP && port->addr.port >= EPHEMERAL_MIN) {
		return false;
	}
	/* The pod may be this very network, and then each forward would be a port to forward. */
	if (pod_ports_is_local(autos->ports) && port->pid == getpid())
		return false;
	return !port_ranges_have(config->exclude, port->addr.port) && can_be_dialed(&port->addr) &&
	       !has_its_own(autos, port);
}

static struct auto_forward *auto_find(struct auto_forwards *autos, enum network network,
				      uint16_t port)
{
	struct auto_forward *one;

	TAILQ_FOREACH (one, &autos->all, next) {
		if (one->network == network && one->target.port == port)
			return one;
	}
	return NULL;
}

static void auto_remove(struct auto_forwards *autos, struct auto_forward *one)
{
	if (one->forwarded != NULL) {
		command_say(xasprintf("Stopped forwarding %s\n",
				      forward_remote(one->forwarded->forward)));
		forwarding_remove(one->forwarded);
	}
	TAILQ_REMOVE(&autos->all, one, next);
	autos->count--;
	free(one);
}

static void auto_add(struct auto_forwards *autos, enum network network,
		     const struct address *target)
{
	const struct auto_config *config = &autos->config;
	struct forward_spec spec = {
		.local_port = target->port, .next_free = true, .network = network, .remote = *target
	};
	struct auto_forward *one;
	struct error err;

	if (autos->count == AUTOS_MAX) {
		if (!autos->full)
			log_warning(&autos->name, "no more than %d ports are forwarded", AUTOS_MAX);
		autos->full = true;
		return;
	}
	one = xcalloc(1, sizeof(*one));
	one->network = network;
	one->target = *target;
	one->wanted = true;
	TAILQ_INSERT_TAIL(&autos->all, one, next);
	autos->count++;
	one->forwarded = forwarding_add(config->forwarding, &config->forward, &spec, config->binds,
					config->bind_count, &err);
	if (one->forwarded != NULL)
		forwarding_say(one->forwarded);
	else
		log_error(&autos->name, "port %u is not forwarded: %s", target->port, err.message);
}

/* One port, of all that listen on it: its target, or (false) none of these is to be forwarded. */
static bool choose_target(const struct auto_forwards *autos, const struct pod_port *ports,
			  size_t count, struct address *target)
{
	bool chosen = false;

	for (size_t i = 0; i < count; i++) {
		if (!is_selected(autos, &ports[i]))
			continue;
		if (is_on_loopback(&ports[i].addr)) {
			*target = (struct address){ .port = ports[i].addr.port };
			return true;
		}
		if (!chosen)
			*target = ports[i].addr;
		chosen = true;
	}
	return chosen;
}

static bool same_target(const struct address *a, const struct address *b)
{
	return a->family == b->family && memcmp(&a->v6, &b->v6, sizeof(a->v6)) == 0;
}

/* Marks those that are to stay; what is wanted and not there comes in a second go, when the local ports of the others are free. */
static void auto_pass(struct auto_forwards *autos, bool adds)
{
	size_t count, next;
	const struct pod_port *ports = pod_ports_get(autos->ports, &count);

	for (size_t i = 0; i < count; i = next) {
		struct auto_forward *one;
		struct address target;

		for (next = i + 1; next < count && ports[next].network == ports[i].network &&
				   ports[next].addr.port == ports[i].addr.port;)
			next++;
		if (!choose_target(autos, &ports[i], next - i, &target))
			continue;
		one = auto_find(autos, ports[i].network, target.port);
		if (one != NULL)
			one->wanted = same_target(&one->target, &target);
		else if (adds)
			auto_add(autos, ports[i].network, &target);
	}
}

static void on_settled(void *arg)
{
	struct auto_forwards *autos = arg;
	struct auto_forward *one, *next;

	if (autos->config.forwarding->stopping)
		return;
	TAILQ_FOREACH (one, &autos->all, next)
		one->wanted = false;
	auto_pass(autos, false);
	for (one = TAILQ_FIRST(&autos->all); one != NULL; one = next) {
		next = TAILQ_NEXT(one, next);
		if (!one->wanted)
			auto_remove(autos, one);
	}
	auto_pass(autos, true);
}

static void on_lost(const struct error *err, void *arg)
{
	struct auto_forwards *autos = arg;

	log_error(&autos->name, "its ports cannot be followed, and stay as they are: %s",
		  err->message);
	event_pod_lost(&autos->source, err);
}

static void on_back(void *arg)
{
	struct auto_forwards *autos = arg;

	log_info(&autos->name, "its ports are followed");
	event_pod_back(&autos->source);
}

struct auto_forwards *auto_start(const struct auto_config *config)
{
	struct auto_forwards *autos = xcalloc(1, sizeof(*autos));
	const struct forward_config *forward = &config->forward;

	autos->config = *config;
	autos->source = (struct event_source){ .events = config->forwarding->events,
					       .pod = forward->pod_arg };
	autos->name.label = forward->pod_arg;
	TAILQ_INIT(&autos->all);
	autos->ports =
		pod_ports_start(&(struct pod_ports_config){ .loop = &config->forwarding->loop,
							    .pods_dir = forward->pods_dir,
							    .pod_arg = forward->pod_arg,
							    .handle = forward->handle,
							    .container_id = forward->container_id,
							    .policy = forward->policy,
							    .settled = on_settled,
							    .lost = on_lost,
							    .back = on_back,
							    .arg = autos });
	return autos;
}

void auto_stop(struct auto_forwards *autos)
{
	struct auto_forward *one;

	if (autos == NULL)
		return;
	pod_ports_stop(autos->ports);
	while ((one = TAILQ_FIRST(&autos->all)) != NULL) {
		TAILQ_REMOVE(&autos->all, one, next);
		free(one);
	}
	free(autos);
}
