/* SPDX-License-Identifier: MIT */
/*
 * Watching what listens in pods: pod.ports with "watch". The kernel tells nobody that a socket begins to
 * listen, so it is asked again and again, once for all who watch the same pod, as often as a hundredth of the
 * processor's time allows and at least once a second.
 */
#ifndef VZFWD_PORTS_WATCH_H
#define VZFWD_PORTS_WATCH_H

#include <jansson.h>

#include "loop.h"
#include "netns.h"

/* All of a dialer's. */
struct port_watches;
struct accepts;
struct port_watches *port_watches_new(struct loop *loop, struct netns_source *source,
				      const struct accepts *accepts);
void port_watches_free(struct port_watches *watches); /* when none is left */

/* One of them. */
struct port_watch;

/*
 * Begins to watch a pod, whose netns is `ns` now; once it is gone, it has no ports until there is one again. 0, the watch
 * and a new reference to what there is now, as ports_list() has it, with "watch":true; or a negative number: REASON_EXHAUSTED also for
 * too many watches, and for more ports than are watched.
 */
int port_watch_new(struct port_watches *watches, const char *handle, const char *container_id,
		   struct netns *ns, struct port_watch **out, json_t **ports, struct error *err);

/* Calls `changed` from the loop when there is something to take, or the watch is over; it may free the watch. */
void port_watch_listen(struct port_watch *watch, void (*changed)(void *arg), void *arg);

/* True once the pod has more ports than are watched: there is nothing to take any more, and the link should end. */
bool port_watch_is_over(const struct port_watch *watch);

/*
 * What has changed since it was last asked for, {"added":[…],"removed":[…]}: all of it in one, RPC_ANSWER_MAX at most
 * as a line. NULL: nothing has. New reference.
 */
json_t *port_watch_take(struct port_watch *watch);

void port_watch_free(struct port_watch *watch); /* NULL is harmless */

#endif
