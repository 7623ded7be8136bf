/* SPDX-License-Identifier: MIT */
/*
 * What pods are let to: a service of the host's, or of another pod's, at an address in a pod. Its clients come by
 * parked links (lib/park.h) and are led on by lib/backward.h.
 */
#ifndef VZFWD_EXPOSE_H
#define VZFWD_EXPOSE_H

#include "lib/backward.h"
#include "spec.h"

struct exposed;

struct expose_config {
	/* All borrowed, and outlive it. */
	struct loop *loop;
	const char *pods_dir; /* of the pod; NULL: pod_arg is an endpoint */
	const char *pod_arg, *handle, *container_id;
	const char *siblings_dir; /* where pod:NAME is looked for */
	const struct policy *policy;
	const struct expose_spec *spec;
	struct address alias; /* where it listens if the spec does not say */
	bool on_loopback;     /* on the pod's 127.0.0.1 and ::1 too */
	unsigned park, park_max, rate;
	int timeout_ms, udp_idle_ms;
	int64_t *room; /* as in struct park_config */
	uint64_t *last_id;
	struct events *events;
	/* It listens there ("192.168.127.254:5432"): told of each place, and again when it was lost. */
	void (*listening)(struct exposed *exposed, const char *place, void *arg);
	/* A client has come, or is gone. */
	void (*accepted)(struct exposed *exposed, void *arg);
	void (*gone)(struct exposed *exposed, void *arg);
	/* It can't be had, and never could. Later failures are logged, and it is tried again. */
	void (*failed)(struct exposed *exposed, const struct error *err, void *arg);
	void *arg;
};

struct exposed *expose_new(const struct expose_config *config);
const char *expose_target(const struct exposed *exposed); /* "127.0.0.1:5432" */
const char *expose_port(const struct exposed *exposed);   /* "5432", or the Unix socket's path */
json_t *expose_to_json(
	const struct exposed *exposed); /* as forward.list has forwards. New reference */

/* There is room for more clients. */
void expose_go_on(struct exposed *exposed);

/* Closes its place in the pod. */
void expose_stop(struct exposed *exposed);
/* Resets its clients; called again, at once. */
void expose_abort(struct exposed *exposed);
bool expose_is_idle(const struct exposed *exposed);
void expose_free(struct exposed *exposed); /* when it is stopped and idle */

#endif
