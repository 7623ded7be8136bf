/* SPDX-License-Identifier: MIT */
/* A plain HTTP request to a pod, GET http://web/: passed on, with the answer, and nothing behind it. */
#ifndef VZFWD_FETCH_H
#define VZFWD_FETCH_H

#include "client.h"

/* Takes the client's socket, or answers why not. `request` is of the absolute form. */
void fetch_start(struct client *client, const struct http_request *request);

/* The connection to the target has ended; the client goes on by itself from here. */
void fetch_over(struct fetch *fetch, const struct relay_result *result);

/* There was no target: forgets all of it, and the socket is the client's again. */
void fetch_release(struct fetch *fetch);

/* Ends it without an answer. */
void fetch_abort(struct fetch *fetch);

#endif
