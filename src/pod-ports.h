/* SPDX-License-Identifier: MIT */
/*
 * Follows what listens in a pod: one link on which the dialer tells of changes (pod.ports with "watch"). When it is
 * lost it is opened again, with longer and longer pauses, and until then the pod's ports are what they were.
 */
#ifndef VZFWD_POD_PORTS_H
#define VZFWD_POD_PORTS_H

#include "lib/link.h"

struct pod_port {
	enum network network; /* NETWORK_TCP, NETWORK_UDP */
	struct address addr;
	char *process; /* escaped; NULL if not known */
	long long pid;
};

struct pod_ports_config {
	struct loop *loop;
	/* All borrowed: they outlive it. */
	const char *pods_dir;        /* NULL if pod_arg is an endpoint */
	const char *pod_arg;         /* read anew for each link */
	const char *handle;          /* NULL: the pod's */
	const char *container_id;    /* or NULL */
	const struct policy *policy; /* netns:, pid: only; may be NULL */
	/* From the loop; all but `back` may be NULL, and none but settled() and lost() may call pod_ports_stop(). */
	void (*changed)(const struct pod_port *port, bool added,
			void *arg); /* one after the other, */
	void (*settled)(void *arg); /* and then this, also if there were none */
	/* Can't be followed: told once, and again where it is the pod that is missing, or no more that (retry_is_loss()). */
	void (*lost)(const struct error *err, void *arg);
	void (*back)(void *arg); /* it can be again; also the first time */
	void *arg;
};

struct pod_ports;
struct pod_ports *pod_ports_start(const struct pod_ports_config *config);

/* All that there are, as far as is known, by network, port, address. Borrowed until the next change. */
const struct pod_port *pod_ports_get(const struct pod_ports *ports, size_t *count);

/* True if the dialer is this process, which then sees its own listeners with its own PID. */
bool pod_ports_is_local(const struct pod_ports *ports);

void pod_ports_stop(struct pod_ports *ports); /* NULL is harmless */

#endif
