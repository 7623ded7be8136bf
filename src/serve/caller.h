/* SPDX-License-Identifier: MIT */
/* One connection to a control socket. */
#ifndef VZFWD_CALLER_H
#define VZFWD_CALLER_H

#include "lib/link.h"
#include "lib/session.h"
#include "methods.h"

struct caller {
	TAILQ_ENTRY(caller) next;
	struct session session;
	struct serve *serve;
	struct authority authority;
	bool limited; /* in serve->callers_limit, and its share's */
	/* What a request waits for: pod.portDial, or pod.ports. */
	struct dialing *dialing;
	struct link *link;
	json_t *params;             /* for the call on the link, until that has them */
	struct caller_watch *watch; /* of pod.ports; NULL: none */
	/* Of pod.portDial. */
	char *label; /* "web:80" */
	bool pass_fd;
	bool is_udp;
	struct dialed *dialed; /* NULL: there is none, or it is a stream's */
	bool counted;          /* in its share's connections */
	enum framing framing;
	int stream; /* the connected link until the stream begins, else -1 */
	enum framing stream_framing;
	pid_t child;
};

static inline struct share *caller_share(struct caller *caller)
{
	return &caller->serve->shares[caller->authority.kind];
}

/* dial.c: answers pod.portDial, now or later. */
void caller_dial(struct caller *caller);
/* It was answered, with its stream to follow: takes the session's descriptor. */
void caller_become_stream(struct caller *caller);
/* Gives up what there is of it. */
void caller_dial_cancel(struct caller *caller);

/* ports.c: answers pod.ports. */
void caller_ports(struct caller *caller);
void caller_ports_cancel(struct caller *caller);

/* watch.c: answers pod.ports with "watch", now or later, and tells of changes from then on. There is one, the newest. */
void caller_watch_start(struct caller *caller, const char *pod, const char *container_id);
char *caller_watch_notification(struct caller *caller); /* as in struct session_ops */
void caller_watch_stop(struct caller *caller);

/* It makes no use of a caller's place any more: the next one may come. */
void caller_unlimit(struct caller *caller);

#endif
