/* SPDX-License-Identifier: MIT */
/*
 * The forwards of a process that is there for them (listen, run, up): what they share, which is their loop, their limit
 * of connections, those connections' numbers and the signals; how they come and go, and how all of it ends.
 */
#ifndef VZFWD_FORWARDING_H
#define VZFWD_FORWARDING_H

#include "command.h"
#include "lib/forward.h"
#include "signals.h"

struct forwarding;

/* One of them. */
struct forwarded {
	TAILQ_ENTRY(forwarded) next;
	struct forwarding *forwarding;
	struct forward *forward;
	/* What it was made from; the texts are its own. */
	struct forward_config config;
	struct forward_spec spec;
	size_t connections; /* that are open, or in the making */
	bool removed;       /* it listens no more; freed with its last connection */
	struct loop_task freeing;
};

struct forwarding {
	struct loop loop;
	struct accept_limit limit;
	uint64_t last_id;
	struct stop_signals signals;
	struct events *events;                          /* NULL: nobody wants them */
	struct report *report;                          /* for vzfwd status; NULL: none */
	TAILQ_HEAD(forwarded_list, forwarded) forwards; /* in the order in which they were added */
	size_t reserved; /* descriptors for listeners that are to come */
	bool stopping;
	struct retry *awaited; /* held, for what is known of the pod */
	struct loop_task finishing;
	int64_t finish_until;
	/* A client was accepted. May be NULL. */
	void (*accepted)(struct forwarded *forwarded);
};

/* 0, or a negative number with *err (REASON_EXHAUSTED); forwarding_clear() in either case. */
int forwarding_init(struct forwarding *f, struct error *err);

/*
 * The pod that an option, the environment or the registry means, for forwards to it: it has to be known, but need
 * not be reachable yet. Sets *pods_dir (NULL for an endpoint) and *pod_arg, both the caller's.
 */
int forwarding_pod(const struct cli *cli, const char *pod, const char *handle, char **pods_dir,
		   char **pod_arg, struct error *err);

/* --events; before the first forward. `where` NULL: none. See sink_open() for the errors. */
int forwarding_events(struct forwarding *f, const char *where, struct error *err);

/*
 * Runs the loop until such a pod is there, registered (which an only one, without a name, has to be already)
 * and reachable, or until it is stopped. 0, or a negative number with *err if that won't help.
 */
int forwarding_wait(struct forwarding *f, const struct cli *cli, const char *pod,
		    const char *handle, const char *container_id, struct error *err);

/*
 * Listens: see forward_new() for the errors. Of `config`, the members pods_dir to timeout_ms are what is wanted: their
 * texts are copied, the policy is borrowed. The spec is taken over (zeroed) on success. It lives until it is removed.
 */
struct forwarded *forwarding_add(struct forwarding *f, const struct forward_config *config,
				 struct forward_spec *spec, const struct forward_bind *binds,
				 size_t bind_count, struct error *err);

/* Prints where it listens and leads to: "Forwarding from 127.0.0.1:8080 -> 80". */
void forwarding_say(const struct forwarded *forwarded);

/* It listens no more; its connections go on, and with the last one of them it is freed. */
void forwarding_remove(struct forwarded *forwarded);

/*
 * How many connections there may be, of all forwards together: `wanted`, or (0) as many as the descriptors
 * are enough for. When the listeners are there that the program starts with, none is accepted before; and when
 * there are others.
 */
void forwarding_limit(struct forwarding *f, uint64_t wanted);

/*
 * Stops listening, resets what there is, and ends forwarding_run() when it is gone. Called again, it doesn't wait
 * for the resets to be delivered: see forward_abort().
 */
void forwarding_stop(struct forwarding *f);

/*
 * The same when whoever the forwards are for has ended: what it had sent is still delivered (within 5 s), connections
 * that others have open are reset as soon as nothing comes from them.
 */
void forwarding_finish(struct forwarding *f);

/* forwarding_stop() for signals_catch(); arg is the struct forwarding. */
void forwarding_on_signal(int number, short what, void *arg);

/* From now on they are shown by vzfwd status, as this command's ("listen"). */
void forwarding_report(struct forwarding *f, const char *command);

/* Serves them until they are stopped: 0, or a negative number with *err. */
int forwarding_run(struct forwarding *f, struct error *err);

/* Waits for exec: endpoints' commands to end. No connection may be left, and no event of the caller's in its loop. */
void forwarding_clear(struct forwarding *f);

#endif
