/* SPDX-License-Identifier: MIT */
/*
 * DOC: Theory of Operation
 *
 * A listener is in a pod's netns and is named by what was asked for: network and address. All links of its owner that ask for the
 * same are parked at it, those of others are refused, and each client that connects is given the one that has waited longest. While none waits nobody is
 * accepted, and clients stay in the kernel's backlog: the host opens another link as soon as one is taken.
 *
 * A listener lives while a link that names it is parked or in use, and so ends with the process on the host that wanted it. When the
 * last one in use has ended by itself it lives for a moment longer: clients may wait in the backlog, and the link that
 * follows is still being opened.
 *
 * Its sockets keep the netns alive, which would outlive its pod that way, and a pod that is started again has another one. So
 * now and then the pod is looked for; if it has gone, or is another one, the listener closes and its parked links with
 * it, which tells the host to ask anew.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "lib/acceptor.h"
#include "lib/sock.h"
#include "accept.h"
#include "accept-bind.h"
#include "accept-egress.h"
#include "accept-udp.h"
#include "accept-unix.h"
#include "addresses.h"
#include "alias.h"

#define PARKED_MAX 4096 /* of all listeners */
#define LOOK_MS 1000
#define GRACE_MS 1000
#define SOCKETS_MAX 2 /* of IPv4 and IPv6 */

TAILQ_HEAD(parked_list, parked);

struct accept_listener {
	TAILQ_ENTRY(accept_listener) next;
	struct accepts *accepts;
	struct netns *ns;
	struct netns_id root; /* of Unix sockets: the folder that their paths begin in */
	struct accept_target target;
	char *label; /* in the log; the address or path */
	size_t holders;
	struct parked_list waiting; /* for a client; the one that came first is first */
	struct parked_list others;  /* that do not yet, or no more */
	struct accept_limit limit;  /* its max: how many wait */
	struct acceptor *acceptors[SOCKETS_MAX];
	uint64_t inodes[SOCKETS_MAX]; /* of its sockets, whoever has them; 0: none */
	struct accept_udp *udp;       /* in their place */
	struct accept_unix path;
	struct egress *egress; /* NULL: none */
	bool opened;           /* which was told */
	bool aliased;          /* its address is held */
	struct loop_task freeing;
};

struct parked {
	TAILQ_ENTRY(parked) next;
	struct accept_listener *listener;
	struct netns_source *source;
	char *handle, *container_id;
	bool waits;
	parked_cb cb;
	void *arg;
};

struct accepts {
	struct loop *loop;
	unsigned holders;
	TAILQ_HEAD(, accept_listener) listeners;
	struct aliases *aliases;
	struct egresses egresses;
	size_t parked;
	struct loop_task look;
};

struct accepts *accepts_get(struct loop *loop)
{
	struct accepts *accepts = loop->accepts;

	if (accepts == NULL) {
		accepts = loop->accepts = xcalloc(1, sizeof(*accepts));
		accepts->loop = loop;
		accepts->aliases = aliases_new();
		TAILQ_INIT(&accepts->listeners);
		LIST_INIT(&accepts->egresses);
	}
	accepts->holders++;
	return accepts;
}

static bool is_localhost(const struct address *addr)
{
	return addr->family == AF_INET    ? addr->v4.s_addr == htonl(INADDR_LOOPBACK)
	       : addr->family == AF_INET6 ? IN6_IS_ADDR_LOOPBACK(&addr->v6)
					  : true;
}

/* AF_UNSPEC is 127.0.0.1 and ::1. */
static bool same_place(const struct address *a, const struct address *b)
{
	if (a->port != b->port)
		return false;
	if (a->family == AF_UNSPEC || b->family == AF_UNSPEC)
		return is_localhost(a) && is_localhost(b);
	return address_same_host(a, b);
}

bool accepts_have(const struct accepts *accepts, const struct netns *ns, enum network network,
		  const struct address *addr)
{
	const struct accept_listener *l;

	if (addr->family != AF_UNSPEC && aliases_have(accepts->aliases, ns, addr))
		return true;
	TAILQ_FOREACH (l, &accepts->listeners, next) {
		if (l->target.network == network && !l->target.egress &&
		    netns_id_same(netns_id(l->ns), netns_id(ns)) &&
		    same_place(&l->target.addr, addr))
			return true;
	}
	return false;
}

bool accepts_own(const struct accepts *accepts, uint64_t inode)
{
	const struct accept_listener *l;

	if (inode == 0)
		return false;
	TAILQ_FOREACH (l, &accepts->listeners, next) {
		for (size_t i = 0; i < SOCKETS_MAX; i++) {
			if (l->inodes[i] == inode)
				return true;
		}
	}
	return egresses_own(&accepts->egresses, inode);
}

/* Whoever leaves the pod by it comes to us, and not to where egress leads. */
static int listener_alias(struct accept_listener *l, struct error *err)
{
	struct accepts *accepts = l->accepts;

	if (l->target.network == NETWORK_UNIX || l->target.egress ||
	    l->target.addr.family == AF_UNSPEC || address_is_loopback(&l->target.addr))
		return 0;
	if (alias_hold(accepts->aliases, l->ns, &l->target.addr, err) < 0)
		return -EPROTO;
	l->aliased = true;
	return egress_pass(&accepts->egresses, netns_id(l->ns), &l->target.addr, true, err);
}

static void listener_unalias(struct accept_listener *l)
{
	struct accepts *accepts = l->accepts;

	if (!l->aliased)
		return;
	alias_release(accepts->aliases, netns_id(l->ns), &l->target.addr);
	if (!aliases_have(accepts->aliases, l->ns, &l->target.addr))
		egress_pass(&accepts->egresses, netns_id(l->ns), &l->target.addr, false, NULL);
}

static void listener_free(void *arg)
{
	struct accept_listener *l = arg;

	if (l->opened)
		log_info(&(struct log_name){ l->label, 0 }, "no more listening");
	TAILQ_REMOVE(&l->accepts->listeners, l, next);
	loop_cancel(&l->freeing);
	for (size_t i = 0; i < SOCKETS_MAX; i++)
		acceptor_free(l->acceptors[i]);
	accept_udp_free(l->udp);
	accept_unix_close(&l->path);
	egress_release(l->egress);
	listener_unalias(l);
	netns_close(l->ns);
	free((char *)l->target.path);
	free((char *)l->target.owner);
	free(l->label);
	free(l);
}

void accepts_put(struct accepts *accepts)
{
	struct accept_listener *l;

	if (--accepts->holders > 0)
		return;
	while ((l = TAILQ_FIRST(&accepts->listeners)) != NULL)
		listener_free(l);
	loop_cancel(&accepts->look);
	aliases_free(accepts->aliases);
	accepts->loop->accepts = NULL;
	free(accepts);
}

/* Never now: this may come from within its own events. */
void accept_release(struct accept_listener *l, bool at_once)
{
	if (l != NULL && --l->holders == 0)
		loop_later(l->accepts->loop, &l->freeing, at_once ? 0 : GRACE_MS, listener_free, l);
}

bool accept_wanted(const struct accept_listener *l)
{
	return !TAILQ_EMPTY(&l->waiting);
}

/* The one whose turn it is. */
static struct parked *listener_take(struct accept_listener *l)
{
	struct parked *p = TAILQ_FIRST(&l->waiting);

	TAILQ_REMOVE(&l->waiting, p, next);
	TAILQ_INSERT_TAIL(&l->others, p, next);
	p->waits = false;
	l->limit.max--;
	return p;
}

void accept_hand_over(struct accept_listener *l, struct accept_client *client)
{
	struct parked *p = listener_take(l);

	l->holders++;
	client->listener = l;
	p->cb(client, p->arg);
}

static void listener_accepted(int fd, const struct sockaddr_storage *peer, void *arg)
{
	struct accept_listener *l = arg;
	struct accept_client client = { .fd = fd };
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);

	if (l->target.network == NETWORK_TCP) {
		sock_tune_accepted(fd);
		address_from_sockaddr(&client.told.remote, (const struct sockaddr *)peer);
		if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
			address_from_sockaddr(&client.told.destination, (struct sockaddr *)&ss);
		address_normalise(&client.told.remote);
		address_normalise(&client.told.destination);
	}
	accept_hand_over(l, &client);
	accept_limit_release(&l->limit);
}

/* One more link waits for a client. */
static void listener_offer(struct accept_listener *l)
{
	l->limit.max++;
	l->limit.count++;
	accept_limit_release(&l->limit);
	accept_udp_go_on(l->udp);
}

/* Takes a bound socket over. */
static int listener_add(struct accept_listener *l, size_t i, int fd, struct error *err)
{
	struct stat st;

	l->inodes[i] = fstat(fd, &st) == 0 ? st.st_ino : 0;
	if (l->target.network == NETWORK_UDP)
		return accept_udp_add(l->udp, fd, err);
	if (l->target.network == NETWORK_TCP)
		sock_tune_tcp(fd);
	l->acceptors[i] =
		acceptor_new(l->accepts->loop, fd, &l->limit, l->label, listener_accepted, l);
	return 0;
}

/* localhost is 127.0.0.1, and ::1 where the pod has it. */
static int listen_loopback(struct accept_listener *l, struct error *err)
{
	struct address addr = l->target.addr;
	struct error without;
	int fd, rc;

	addr.family = AF_INET;
	addr.v4.s_addr = htonl(INADDR_LOOPBACK);
	fd = accept_bind(l->ns, l->target.network, &addr, err);
	rc = fd < 0 ? fd : listener_add(l, 0, fd, err);
	if (rc < 0)
		return rc;
	addr.family = AF_INET6;
	addr.v6 = in6addr_loopback;
	fd = accept_bind(l->ns, l->target.network, &addr, &without);
	if (fd >= 0)
		return listener_add(l, 1, fd, err);
	if (without.sys_errno == EADDRNOTAVAIL || without.sys_errno == EAFNOSUPPORT)
		return 0;
	*err = without;
	return fd;
}

/* One of IPv4, and one of IPv6 where there is that. */
static int listen_egress(struct accept_listener *l, struct error *err)
{
	bool udp = l->target.network == NETWORK_UDP;
	const enum steer_socket which[] = { udp ? STEER_UDP4 : STEER_TCP4,
					    udp ? STEER_UDP6 : STEER_TCP6 };
	int rc = egress_hold(&l->accepts->egresses, l->accepts->loop, l->ns, &l->egress, err);

	for (size_t i = 0; i < ARRAY_SIZE(which) && rc == 0; i++) {
		int fd = egress_socket(l->egress, which[i]);

		rc = fd >= 0 ? listener_add(l, i, fd, err) : 0;
	}
	return rc;
}

static int listener_open(struct accept_listener *l, const struct policy *policy, struct error *err)
{
	int fd;

	if (l->target.network == NETWORK_UDP)
		l->udp = accept_udp_new(l->accepts->loop, l, l->ns, l->target.egress);
	if (listener_alias(l, err) < 0)
		return -EPROTO;
	if (l->target.egress)
		return listen_egress(l, err);
	if (l->target.network == NETWORK_UNIX)
		fd = accept_unix_open(&l->path, l->ns, policy, l->target.path, err);
	else if (l->target.addr.family == AF_UNSPEC)
		return listen_loopback(l, err);
	else
		fd = accept_bind(l->ns, l->target.network, &l->target.addr, err);
	return fd < 0 ? fd : listener_add(l, 0, fd, err);
}

static bool same_target(const struct accept_target *a, const struct accept_target *b)
{
	if (a->network != b->network || a->egress != b->egress)
		return false;
	if (a->network == NETWORK_UNIX)
		return strcmp(a->path, b->path) == 0;
	return a->egress || (a->addr.family == b->addr.family && same_place(&a->addr, &b->addr));
}

/* For its owner, or whoever comes when there is none any more. */
static struct accept_listener *listener_hold(struct accept_listener *l, const char *owner,
					     struct error *err)
{
	if (strcmp(l->target.owner, owner) != 0) {
		if (l->holders > 0) {
			error_set(err, REASON_EXHAUSTED, EADDRINUSE,
				  "%s is somebody else's in the pod", l->label);
			return NULL;
		}
		free((char *)l->target.owner);
		l->target.owner = xstrdup(owner);
	}
	loop_cancel(&l->freeing);
	l->holders++;
	return l;
}

/* The listener, held once more; NULL and *err if there can be none. Takes `ns` over. */
static struct accept_listener *listener_get(struct accepts *accepts, struct netns *ns,
					    const struct policy *policy,
					    const struct accept_target *target, struct error *err)
{
	struct accept_listener *l;
	struct netns_id root = { 0 };
	char text[ADDRESS_TEXT_MAX];

	if (target->network == NETWORK_UNIX && accept_unix_root(ns, &root, err) < 0) {
		netns_close(ns);
		return NULL;
	}
	TAILQ_FOREACH (l, &accepts->listeners, next) {
		if (netns_id_same(netns_id(l->ns), netns_id(ns)) && netns_id_same(l->root, root) &&
		    same_target(&l->target, target)) {
			netns_close(ns);
			return listener_hold(l, target->owner, err);
		}
	}
	l = xcalloc(1, sizeof(*l));
	l->accepts = accepts;
	l->ns = ns;
	l->root = root;
	l->target = *target;
	l->holders = 1;
	l->target.owner = xstrdup(target->owner);
	if (target->path != NULL)
		l->target.path = xstrdup(target->path);
	l->label = xasprintf("%s%s",
			     target->path != NULL ? target->path
			     : target->egress     ? ACCEPT_EGRESS
						  : address_format(&target->addr, text),
			     target->network == NETWORK_UDP ? "/udp" : "");
	TAILQ_INIT(&l->waiting);
	TAILQ_INIT(&l->others);
	accept_limit_init(&l->limit, 0);
	TAILQ_INSERT_TAIL(&accepts->listeners, l, next);
	/* It may outlive who asked for it first, whose dialer may be one of its own (netns:, pid:). */
	if (netns_keep(ns, err) < 0 || listener_open(l, policy, err) < 0) {
		listener_free(l);
		return NULL;
	}
	l->opened = true;
	log_info(&(struct log_name){ l->label, 0 }, "listening in the pod");
	return l;
}

/* True if the pod that somebody has parked for is still this listener's. */
static bool listener_is_right(const struct accept_listener *l)
{
	const struct parked *p = TAILQ_FIRST(&l->waiting);
	struct netns *ns;
	struct error err;
	bool right;

	if (p == NULL)
		return true;
	if (netns_open(p->source, p->handle, p->container_id, &ns, &err) < 0)
		return err.reason != REASON_NOT_FOUND && err.reason != REASON_NOT_RUNNING;
	right = netns_id_same(netns_id(ns), netns_id(l->ns));
	netns_close(ns);
	return right;
}

static void listener_desert(struct accept_listener *l)
{
	log_info(&(struct log_name){ l->label, 0 }, "the pod has gone");
	while (accept_wanted(l)) {
		struct parked *p = listener_take(l);

		p->cb(NULL, p->arg);
	}
}

static void accepts_look(void *arg)
{
	struct accepts *accepts = arg;
	struct accept_listener *l;

	TAILQ_FOREACH (l, &accepts->listeners, next) {
		if (!listener_is_right(l))
			listener_desert(l);
	}
	if (!TAILQ_EMPTY(&accepts->listeners))
		loop_later(accepts->loop, &accepts->look, LOOK_MS, accepts_look, accepts);
}

int accept_park(struct accepts *accepts, const struct accept_pod *pod, struct netns *ns,
		const struct policy *policy, const struct accept_target *target,
		struct parked **out, struct error *err)
{
	struct accept_listener *l;
	struct parked *p;

	if (accepts->parked >= PARKED_MAX) {
		netns_close(ns);
		return error_set(err, REASON_EXHAUSTED, 0, "more than %d links are parked",
				 PARKED_MAX);
	}
	l = listener_get(accepts, ns, policy, target, err);
	if (l == NULL)
		return -EPROTO;
	p = xcalloc(1, sizeof(*p));
	p->listener = l;
	p->source = pod->source;
	p->handle = xstrdup(pod->handle);
	p->container_id = pod->container_id != NULL ? xstrdup(pod->container_id) : NULL;
	TAILQ_INSERT_TAIL(&l->others, p, next);
	accepts->parked++;
	if (accepts->look.list == NULL)
		loop_later(accepts->loop, &accepts->look, LOOK_MS, accepts_look, accepts);
	*out = p;
	return 0;
}

void parked_ready(struct parked *p, parked_cb cb, void *arg)
{
	struct accept_listener *l = p->listener;

	p->cb = cb;
	p->arg = arg;
	p->waits = true;
	TAILQ_REMOVE(&l->others, p, next);
	TAILQ_INSERT_TAIL(&l->waiting, p, next);
	listener_offer(l);
}

void parked_free(struct parked *p)
{
	struct accept_listener *l;

	if (p == NULL)
		return;
	l = p->listener;
	if (p->waits)
		l->limit.max--;
	TAILQ_REMOVE(p->waits ? &l->waiting : &l->others, p, next);
	l->accepts->parked--;
	accept_release(l, true);
	free(p->handle);
	free(p->container_id);
	free(p);
}
