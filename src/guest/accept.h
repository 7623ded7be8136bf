/* SPDX-License-Identifier: MIT */
/*
 * The way back: listeners in pods, and links that are parked there, each for one of the clients that connect. They
 * belong to a loop, so that links whose dialers are not the same (netns: and pid: have one each) share them.
 */
#ifndef VZFWD_ACCEPT_H
#define VZFWD_ACCEPT_H

#include "lib/loop.h"
#include "lib/rpc-accept.h"
#include "netns.h"
#include "policy.h"

struct accepts;
struct accept_listener;
struct datagrams_client;
struct parked;

/* The loop's, made if it is missing; each has to be put back, when nothing is parked or in use by it any more. */
struct accepts *accepts_get(struct loop *loop);
void accepts_put(struct accepts *accepts);

/*
 * True if what is dialed in the netns (NETWORK_TCP or NETWORK_UDP; AF_UNSPEC: 127.0.0.1 or ::1) leads here: to an address that is
 * there for what is listened for, or to a listener.
 */
bool accepts_have(const struct accepts *accepts, const struct netns *ns, enum network network,
		  const struct address *addr);

/* True for a socket of ours, in whatever pod: it listens for nobody there. `inode` is what the kernel numbers sockets by. */
bool accepts_own(const struct accepts *accepts, uint64_t inode);

/* Which pod, so that it can be looked for again; the texts are copied, the source outlives what is parked. */
struct accept_pod {
	struct netns_source *source;
	const char *handle, *container_id; /* NULL: the pod's own */
};

/*
 * A place at the listener that `target` means, which begins to listen if it does not yet. Takes `ns` over in every case. The policy is
 * for Unix sockets. REASON_EXHAUSTED: the address is in use, or too many links are parked; REASON_DENIED.
 */
int accept_park(struct accepts *accepts, const struct accept_pod *pod, struct netns *ns,
		const struct policy *policy, const struct accept_target *target,
		struct parked **out, struct error *err);

/* A client, given away. */
struct accept_client {
	int fd;                             /* non-blocking; -1 for udp */
	struct datagrams_client *datagrams; /* of udp; else NULL */
	struct port_accepted told;
	struct accept_listener *
		listener; /* stays until accept_release(), which comes after `datagrams` was released */
};

/*
 * It is ready to have a client: calls back once, maybe at once. NULL: there will be none, since the pod has gone. parked_free()
 * is still to be called, from the callback or later.
 */
typedef void (*parked_cb)(struct accept_client *client, void *arg);
void parked_ready(struct parked *parked, parked_cb cb, void *arg);
void parked_free(struct parked *parked); /* NULL is harmless */

/*
 * Its client's stream has ended. A listener that nobody is parked at or uses closes: at once if it was the host that has gone, else
 * the next link may be on its way, and there is a second for that. NULL is harmless.
 */
void accept_release(struct accept_listener *listener, bool at_once);

/* Of accept-udp.c: whether a link waits for a client, and one for it. */
bool accept_wanted(const struct accept_listener *listener);
void accept_hand_over(struct accept_listener *listener, struct accept_client *client);

#endif
