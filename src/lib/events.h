/* SPDX-License-Identifier: MIT */
/*
 * --events: what becomes of forwards and connections, one JSON object a line, for programs. No event
 * holds anything up: see sink.h.
 */
#ifndef VZFWD_EVENTS_H
#define VZFWD_EVENTS_H

#include "relay.h"

struct events;

/* See sink_open() for `where` and the errors. */
struct events *events_open(struct loop *loop, const char *where, struct error *err);
void events_reopen(struct events *events); /* SIGHUP, where it means that; NULL is harmless */
/* There are no more: it has nothing in its loop from now on. NULL is harmless */
void events_end(struct events *events);
void events_close(struct events *events); /* NULL is harmless */

/* What an event is about. The texts are borrowed; NULL where there is no such thing. */
struct event_source {
	struct events *events; /* NULL: nobody wants to know, and the functions below do nothing */
	const char *pod;
	const char *forward; /* its first listener: "127.0.0.1:8080" */
	const char *target;  /* "80" */
	const char *name;    /* of egress: the host's that it is for */
};

/* A forward listens on these (the reference is taken; NULL if nobody wants to know), or does no more. */
void event_listening(const struct event_source *source, json_t *listeners);
void event_stopped(const struct event_source *source);

/* Who has connected, and when. NULL if nobody wants to know; free(3) it. */
struct event_client;
struct event_client *event_client_new(const struct event_source *source, int fd);
/* The same for one that is known by its address. */
struct event_client *event_client_at(const struct event_source *source,
				     const struct sockaddr_storage *ss);

/* The connection `id` has its target, … */
void event_opened(const struct event_source *source, uint64_t id,
		  const struct event_client *client);
/* … and has ended, … */
void event_closed(const struct event_source *source, uint64_t id, const struct event_client *client,
		  const struct relay_result *result);
/* … or could not have one. */
void event_failed(const struct event_source *source, uint64_t id, const struct event_client *client,
		  const struct error *err);

/* It may not have its target: `rule` says so. */
void event_denied(const struct event_source *source, uint64_t id, const struct event_client *client,
		  const char *rule, const struct error *err);

/* The pod can't be reached any more, and again. */
void event_pod_lost(const struct event_source *source, const struct error *err);
void event_pod_back(const struct event_source *source);

#endif
