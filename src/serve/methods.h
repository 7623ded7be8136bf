/* SPDX-License-Identifier: MIT */
/* The methods that are answered at once, of pods and forwards. */
#ifndef VZFWD_METHODS_H
#define VZFWD_METHODS_H

#include "lib/rpc.h"
#include "serve.h"

/* The server's own user may do what that user may do without it; others less. */
struct authority {
	uid_t uid;
	enum caller_kind kind;
	uint64_t connection; /* the number of that which it calls by */
};

/*
 * Calls a method: 0 and a new reference in *result, or a negative number with *err; REASON_UNSUPPORTED
 * for a name that is none.
 */
int method_call(struct serve *serve, const struct authority *caller, const char *method,
		const struct rpc_params *params, json_t **result, struct error *err);

/* The registered pod that a parameter names; pod_clear() it. */
int method_pod(struct serve *serve, const char *method, const struct rpc_params *params,
	       const char *name, struct pod *pod, struct error *err);

/* forwards.c: the methods forward.*. */
int forwards_add(struct serve *serve, const struct authority *caller, const char *method,
		 const struct rpc_params *params, json_t **result, struct error *err);
int forwards_remove(struct serve *serve, const struct authority *caller, const char *method,
		    const struct rpc_params *params, json_t **result, struct error *err);
int forwards_list(struct serve *serve, const struct authority *caller, const char *method,
		  const struct rpc_params *params, json_t **result, struct error *err);

/* A caller's connection has ended, and the forwards that it held with it. */
void forwards_release(struct serve *serve, const struct authority *caller);

/* Each of them that listens or has connections left, and what has come of it; several may be alike. */
typedef void (*traffic_cb)(const char *pod, const char *forward, const char *target,
			   const struct traffic *traffic, void *arg);
void forwards_each(const struct serve *serve, traffic_cb cb, void *arg);

/* Stops listening and resets what is left. */
void forwards_stop(struct serve *serve);
void forwards_clear(struct serve *serve); /* frees them; no connection may be left */

#endif
