/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd serve` without its command line: callers on control sockets, the methods that they call, the
 * streams and forwards that come of it.
 */
#ifndef VZFWD_SERVE_H
#define VZFWD_SERVE_H

#include <time.h>

#include "lib/acceptor.h"
#include "lib/forward.h"
#include "lib/streams.h"

/* In the run folder (run_path()), where no other place is given. */
#define SERVE_SOCKET "vzfwd.sock"

struct caller;
struct serve_forward;

struct serve_config {
	struct loop *loop;
	const char *pods_dir;        /* borrowed */
	const struct policy *policy; /* borrowed; for netns: and pid: pods */
	int retry_ms;                /* of forwards, as in struct route */
	const uid_t *uids; /* borrowed; who may call beside root and the server's own user */
	size_t uid_count;
	size_t callers_max;      /* at a time, in requests or between them */
	size_t connections_max;  /* streams, and connections of forwards */
	size_t listeners_max;    /* of forwards */
	struct events *events;   /* borrowed; NULL: nobody wants them */
	void (*idle)(void *arg); /* after serve_stop(): nothing is left */
	void *arg;
};

/* Who calls: the user that the server runs as, another one that may, or somebody who may not. */
enum caller_kind { CALLER_OWN, CALLER_OTHER, CALLER_STRANGER, CALLER_KIND_COUNT };

/* What the callers of a kind have going, and may have: none can use up what is another one's. */
struct share {
	struct serve *serve;
	size_t callers, callers_max;
	size_t listeners, listeners_max;
	struct accept_limit connections;
	struct streams streams;
};

struct serve {
	struct serve_config config;
	struct accept_limit callers_limit;
	struct share shares[CALLER_KIND_COUNT]; /* of strangers: callers only */
	uint64_t last_id, last_forward;
	TAILQ_HEAD(, caller) callers;
	TAILQ_HEAD(, serve_forward) forwards;
	TAILQ_HEAD(, account) accounts; /* of dialed.c */
	size_t account_count;
	bool stopping;
	struct timespec since;
};

void serve_init(struct serve *serve, const struct serve_config *config);

/* An accept_cb; `arg` is the struct serve. */
void serve_accepted(int fd, const struct sockaddr_storage *peer, void *arg);

/* Ends all: callers are closed, streams and forwards reset. A second call does not wait for what is under way. */
void serve_stop(struct serve *serve);

/* Only when idle() was called, or nothing was ever accepted. */
void serve_clear(struct serve *serve);

/* For the parts of it: calls idle() if it is stopping and nothing is left. */
void serve_check_idle(struct serve *serve);

#endif
