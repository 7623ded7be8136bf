/* SPDX-License-Identifier: MIT */
/* One connection to a Unix socket in a pod: is it allowed, where does its path lead, then connect. */
#ifndef VZFWD_DIAL_UNIX_H
#define VZFWD_DIAL_UNIX_H

#include "loop.h"
#include "netns.h"
#include "policy.h"

/* REASON_DENIED unless a pattern lets the path through, as it was asked for. */
int dial_unix_allowed(const struct policy *policy, const char *path, struct error *err);

/*
 * REASON_DENIED unless a pattern lets an open file through (with a name: what has that in the open folder) by the path that it has below
 * an open root folder. `asked` is what was asked for, for the text.
 */
int dial_unix_check_place(const struct policy *policy, int root, int fd, const char *name,
			  const char *asked, struct error *err);

struct dial_unix;

/* The connected socket, taken over by the callback, and the path (borrowed); or -1, NULL and the error. */
typedef void (*dial_unix_cb)(int fd, const char *path, const struct error *err, void *arg);

/*
 * Connects to the SOCK_STREAM socket that the path (absolute, allowed) leads to in the pod's root folder; takes ns
 * over; the policy is borrowed. The callback comes later, or at once: then NULL is returned; else a dial that
 * dial_unix_cancel() ends without a callback. Nobody there (also no such file, or one that is no such socket) is
 * REASON_REFUSED, since it is what the pod answers; REASON_DENIED: it leads where no pattern leads, or not permitted;
 * REASON_TIMEOUT: nobody accepted.
 */
struct dial_unix *dial_unix_start(struct loop *loop, struct netns *ns, const struct policy *policy,
				  const char *path, int timeout_ms, dial_unix_cb cb, void *arg);
void dial_unix_cancel(struct dial_unix *dial);

#endif
