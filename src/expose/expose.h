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
	struct park_config park; /* as in struct responder_config */
	/* All borrowed, and outlive it. */
	const char *siblings_dir; /* where pod:NAME is looked for */
	const struct expose_spec *spec;
	struct address alias; /* where it listens if the spec does not say */
	bool on_loopback;     /* on the pod's 127.0.0.1 and ::1 too */
	int timeout_ms, udp_idle_ms;
	uint64_t *last_id;
	/* It listens there ("192.168.127.254:5432"): told of each place, and again when it was lost. */
	void (*listening)(struct exposed *exposed, const char *place, void *arg);
	/* A client has come, or is gone. */
	void (*accepted)(struct exposed *exposed, void *arg);
	void (*gone)(struct exposed *exposed, void *arg);
	/* As that of struct park_config. */
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
