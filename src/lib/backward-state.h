/* SPDX-License-Identifier: MIT */
/* What there is of a client on its way back. Used by backward.c and backwards.c alone. */
#ifndef VZFWD_BACKWARD_STATE_H
#define VZFWD_BACKWARD_STATE_H

#include "backward.h"
#include "watch.h"

struct backward {
	TAILQ_ENTRY(backward) next;
	struct backward_config config;
	struct port_accepted told;
	enum network network;
	enum framing framing;
	int fd;                          /* the client's, until it is a stream; then -1 */
	struct datagrams_client *client; /* in its place, and as long; NULL: none */
	pid_t child;                     /* of the client's link */
	struct accept_listener *listener;
	struct watch watch; /* has the client gone? */
	struct event_client *who;
	/* What it waits for: */
	struct connecting *connecting;
	struct dialing *dialing;
	pid_t service_child;     /* of the link to another pod; */
	bool service_last;       /* to a relay that link is end 1, not the client's */
	struct loop_task failed; /* what could not be begun is told from the loop */
	struct error *err;
	/* And what it becomes: */
	struct relay *relay;
	struct datagrams *datagrams;
	bool denied; /* which was told; these datagrams go nowhere */
};

/* backward.c: frees it; and before that tells what became of its copy. */
void backward_end(struct backward *b);
void backward_done(const struct relay_result *result, void *arg);

/* backwards.c: pods choose how many clients fail; true if the log may have one more. */
bool backwards_may_log(struct backward *b);
/* Makes room for one more flow: of all, or of those that are denied. */
void backwards_make_room(struct backwards *all, bool denied);

#endif
