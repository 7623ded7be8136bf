/* SPDX-License-Identifier: MIT */
/*
 * The relays and copies of datagrams that a server has going: each with its name in the log, and all to be
 * ended at once.
 */
#ifndef VZFWD_STREAMS_H
#define VZFWD_STREAMS_H

#include "datagrams.h"

struct stream;

/* `owner` is that of streams_add(). */
typedef void (*streams_ended_cb)(const struct relay_result *result, void *owner, void *arg);

struct streams {
	struct loop *loop;
	TAILQ_HEAD(, stream) list;
	/* One has ended, and is none of the list any more. */
	streams_ended_cb ended;
	void *arg;
};

void streams_init(struct streams *streams, struct loop *loop, streams_ended_cb ended, void *arg);

/*
 * Starts a relay. Takes over the descriptors, copies the label of its name, and sets who is told of its end. `child`
 * is the process group that ends with it (exec:), or 0; `owner` is for ended(), or NULL.
 */
void streams_add(struct streams *streams, struct relay_config *config, pid_t child, void *owner);

/* The same for datagrams. */
void streams_add_datagrams(struct streams *streams, struct datagrams_config *config, pid_t child,
			   void *owner);

/* What the relays among them have carried up to now, as relay_bytes(). */
void streams_each(const struct streams *streams,
		  void (*cb)(void *owner, uint64_t in, uint64_t out));

/* relay_abort() and datagrams_abort() for all. */
void streams_abort(struct streams *streams, const char *why);

static inline bool streams_are_gone(const struct streams *streams)
{
	return TAILQ_EMPTY(&streams->list);
}

#endif
