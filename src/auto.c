/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "auto.h"
#include "lib/log.h"
#include "lib/retry.h"
#include "lib/sock.h"
#include "pod-ports.h"

#define AUTOS_MAX 1000
#define AUTOS_FDS_MAX 8192
#define AUTOS_FDS_SHARE \
	4 /* of the descriptors: the others are for connections and what was asked for by name */

/* The pod says what there is to do, and this how much of it is done at a time: 1000 a second. */
#define GO_CHANGES_MAX 100
#define GO_MS 100

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
	size_t fds;                  /* its listeners */
	unsigned tried;              /* when there were so many `changes` */
	bool wanted;
};

struct auto_forwards {
	struct auto_config config;
	struct log_name name;
	struct pod_ports *ports;
	struct retry *retry; /* the forwards' */
	bool unfollowed;     /* which was told */
	TAILQ_HEAD(, auto_forward) all;
	size_t count, fds, fds_max;
	bool full;        /* which was told */
	unsigned changes; /* of the pod's ports, that there were */
	size_t left;      /* of GO_CHANGES_MAX */
	struct loop_task go;
	int64_t next_go; /* not before this now_ms() */
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

static bool is_our_listener(const struct auto_forwards *autos, const struct pod_port *port)
{
	const struct forwarded *one;
	const char *listener;
	char text[ADDRESS_TEXT_MAX];

	address_format(&port->addr, text);
	TAILQ_FOREACH (one, &autos->config.forwarding->forwards, next) {
		if (one->removed || one->spec.network != port->network)
			continue;
		for (size_t i = 0; (listener = forward_listener(one->forward, i)) != NULL; i++) {
			if (strcmp(listener, text) == 0)
				return true;
		}
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
	if (pod_ports_is_local(autos->ports) &&
	    (port->process != NULL ? port->pid == getpid() : is_our_listener(autos, port)))
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
	autos->fds -= one->fds;
	autos->left--;
	free(one);
}

/* Listens; a failure is told the first time. */
static void auto_try(struct auto_forwards *autos, struct auto_forward *one)
{
	const struct auto_config *config = &autos->config;
	struct forward_spec spec = { .local_port = one->target.port,
				     .next_free = true,
				     .network = one->network,
				     .remote = one->target };
	struct error err;

	one->forwarded = forwarding_add(config->forwarding, &config->forward, &spec, config->binds,
					config->bind_count, &err);
	if (one->forwarded != NULL) {
		while (forward_listener(one->forwarded->forward, one->fds) != NULL)
			one->fds++;
		autos->fds += one->fds;
		forwarding_say(one->forwarded);
	} else if (one->tried == 0) {
		log_error(&autos->name, "port %u is not forwarded: %s", one->target.port,
			  err.message);
	}
	one->tried = autos->changes;
	autos->left--;
}

static bool has_room(struct auto_forwards *autos)
{
	if (autos->count < AUTOS_MAX && autos->fds < autos->fds_max)
		return true;
	if (!autos->full)
		log_warning(&autos->name, "no more than %zu ports are forwarded", autos->count);
	autos->full = true;
	return false;
}

static void auto_add(struct auto_forwards *autos, enum network network,
		     const struct address *target)
{
	struct auto_forward *one;

	if (autos->left == 0 || !has_room(autos))
		return;
	one = xcalloc(1, sizeof(*one));
	one->network = network;
	one->target = *target;
	one->wanted = true;
	TAILQ_INSERT_TAIL(&autos->all, one, next);
	autos->count++;
	auto_try(autos, one);
}

/* Those that could not be: each once for a change of the pod's ports, the one that waits longest first. */
static void auto_retry(struct auto_forwards *autos)
{
	struct auto_forward *one, *next;

	for (one = TAILQ_FIRST(&autos->all); one != NULL && autos->left > 0; one = next) {
		next = TAILQ_NEXT(one, next);
		if (one->forwarded != NULL || one->tried == autos->changes ||
		    autos->fds >= autos->fds_max)
			continue;
		TAILQ_REMOVE(&autos->all, one, next);
		TAILQ_INSERT_TAIL(&autos->all, one, next);
		auto_try(autos, one);
	}
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
			one->wanted = address_same_host(&one->target, &target);
		else if (adds)
			auto_add(autos, ports[i].network, &target);
	}
}

static void auto_later(struct auto_forwards *autos);

static void auto_go(void *arg)
{
	struct auto_forwards *autos = arg;
	struct auto_forward *one, *next;

	if (autos->config.forwarding->stopping)
		return;
	autos->left = GO_CHANGES_MAX;
	TAILQ_FOREACH (one, &autos->all, next)
		one->wanted = false;
	auto_pass(autos, false);
	for (one = TAILQ_FIRST(&autos->all); one != NULL && autos->left > 0; one = next) {
		next = TAILQ_NEXT(one, next);
		if (!one->wanted)
			auto_remove(autos, one);
	}
	auto_pass(autos, true);
	auto_retry(autos);
	autos->next_go = now_ms() + GO_MS;
	if (autos->left == 0)
		auto_later(autos);
}

static void auto_later(struct auto_forwards *autos)
{
	int64_t now = now_ms();

	if (autos->go.list == NULL)
		loop_later(&autos->config.forwarding->loop, &autos->go,
			   now < autos->next_go ? autos->next_go - now : 0, auto_go, autos);
}

static void on_settled(void *arg)
{
	struct auto_forwards *autos = arg;

	autos->changes++;
	auto_later(autos);
}

/* That the pod is missing is known, and told, once for all who want something of it. */
static void on_lost(const struct error *err, void *arg)
{
	struct auto_forwards *autos = arg;

	if (retry_is_loss(err)) {
		retry_lost(autos->retry, err);
		return;
	}
	if (err->answered)
		retry_found(autos->retry);
	log_error(&autos->name, "its ports cannot be followed, and stay as they are: %s",
		  err->message);
	autos->unfollowed = true;
}

static void on_back(void *arg)
{
	struct auto_forwards *autos = arg;

	retry_found(autos->retry);
	if (autos->unfollowed)
		log_warning(&autos->name, "its ports are followed again");
	autos->unfollowed = false;
}

size_t auto_descriptors(void)
{
	size_t share = fd_limit_raise() / AUTOS_FDS_SHARE;

	return share < AUTOS_FDS_MAX ? share : AUTOS_FDS_MAX;
}

struct auto_forwards *auto_start(const struct auto_config *config)
{
	struct auto_forwards *autos = xcalloc(1, sizeof(*autos));
	const struct forward_config *forward = &config->forward;

	autos->config = *config;
	autos->fds_max = auto_descriptors();
	autos->retry =
		retry_get(&config->forwarding->loop,
			  &(struct retry_pod){ forward->pods_dir, forward->pod_arg, forward->handle,
					       forward->container_id, config->forwarding->events });
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
	loop_cancel(&autos->go);
	retry_put(autos->retry);
	while ((one = TAILQ_FIRST(&autos->all)) != NULL) {
		TAILQ_REMOVE(&autos->all, one, next);
		free(one);
	}
	free(autos);
}
