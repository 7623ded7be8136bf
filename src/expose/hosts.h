/* SPDX-License-Identifier: MIT */
/*
 * Names in a pod's hosts file: one link on which the dialer has written them (pod.hosts), and which they live as long as. When
 * it is lost, since the dialer or the container has been started anew, it is opened again, with longer and longer
 * pauses.
 */
#ifndef VZFWD_EXPOSE_HOSTS_H
#define VZFWD_EXPOSE_HOSTS_H

#include "lib/link.h"
#include "host-names.h"

struct hosts_link;

struct hosts_config {
	struct loop *loop;
	/* All borrowed, and outlive it. */
	const char *pods_dir;        /* NULL if pod_arg is an endpoint */
	const char *pod_arg;         /* read anew for each link */
	const char *handle;          /* NULL: the pod's */
	const char *container_id;    /* or NULL */
	const struct policy *policy; /* netns:, pid: only; may be NULL */
	const char *path;            /* of the file, in the pod or the container */
	const char *tag;             /* of the block in it: the newest link with one has it */
	const struct host_names *names;
	/* From the loop: they are in the file; again when they were lost. */
	void (*written)(void *arg);
	/* They can't be, and never could; it may call hosts_stop(). Later failures are logged, and it is tried again. */
	void (*failed)(const struct error *err, void *arg);
	void *arg;
};

struct hosts_link *hosts_start(const struct hosts_config *config);

/* Takes them out. NULL is harmless. */
void hosts_stop(struct hosts_link *hosts);

#endif
