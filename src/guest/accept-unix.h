/* SPDX-License-Identifier: MIT */
/* A listening Unix socket in the files of a pod. */
#ifndef VZFWD_ACCEPT_UNIX_H
#define VZFWD_ACCEPT_UNIX_H

#include "lib/sock.h"
#include "netns.h"
#include "policy.h"

/* Where it is: a folder of the pod's, and the name in it, as a path that leads through our descriptor of that folder. */
struct accept_unix {
	int folder; /* -1: nowhere */
	char *path;
	struct sock_file file;
};

/* Which folder paths begin in, for who compares. 0, or a negative number with *err. */
int accept_unix_root(struct netns *ns, struct netns_id *root, struct error *err);

/*
 * Makes one that every process in the pod may connect to (mode 0666), at a path that is resolved in the pod's root folder; a
 * stale one (nobody listens any more) is replaced. fd, or a negative number with *err: REASON_DENIED if no pattern of
 * --allow-unix matches the path, or where it leads; REASON_EXHAUSTED if it is in use, or something else is there.
 */
int accept_unix_open(struct accept_unix *place, struct netns *ns, const struct policy *policy,
		     const char *path, struct error *err);

/* Removes its file, unless another one is there by now. Harmless if it is nowhere. */
void accept_unix_close(struct accept_unix *place);

#endif
