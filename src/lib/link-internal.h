/* SPDX-License-Identifier: MIT */
/* What a link is, for link.c (one call at a time) and link-notify.c (what comes unasked) alone. */
#ifndef VZFWD_LINK_INTERNAL_H
#define VZFWD_LINK_INTERNAL_H

#include "line.h"
#include "link.h"
#include "watch.h"

enum link_state {
	LINK_OPENING,
	LINK_IDLE,
	LINK_SENDING,
	LINK_WAITING, /* for an answer */
	LINK_NOTIFIED,
	LINK_OVER /* failed, or its descriptor was taken */
};

struct link {
	struct loop *loop;
	enum link_state state;
	struct log_name name;
	struct endpoint endpoint;
	char *token_file;
	struct transport *transport; /* while opening */
	struct local *local;         /* netns:, pid: */
	struct local_call *local_call;
	int fd;
	pid_t child;
	struct watch watch;
	link_opened_cb opened;
	void *opened_arg;
	struct loop_task task; /* what is told from the loop */
	struct loop_task deadline;
	struct error err;
	/* the call: pod.portDial, or any other */
	const struct port_dial *dial;
	struct link_early *early;
	const char *method;
	json_t *params;
	json_int_t id;
	uint8_t *rest; /* what was not sent at once; NULL: nothing */
	size_t rest_size, sent;
	int timeout_ms;
	struct line line;
	link_port_dialed_cb dialed;
	link_answer_cb answer;
	link_notified_cb notified;
	link_accepted_cb accepted; /* in place of notified: the notification is the last one */
	void *answer_arg;          /* of all four */
};

/* Logged, and refused once it is over. */
void link_set_state(struct link *link, enum link_state state);
void link_stop(struct link *link); /* waits for nothing any more */

/* LINK_NOTIFIED: there may be something to read. Calls back from here only where that was link_accept()'s. */
void link_notified(struct link *link);

#endif
