/* SPDX-License-Identifier: MIT */
/* What comes of the connections that callers dial (pod.portDial): for --events, and for metrics by pod. */
#ifndef VZFWD_DIALED_H
#define VZFWD_DIALED_H

#include "lib/events.h"
#include "lib/traffic.h"
#include "methods.h"

/* One of them, from the request on. */
struct dialed;

/* `fd` is the caller's. What follows is called once: that it failed, … */
struct dialed *dialed_new(struct serve *serve, const char *pod, const char *target, uint64_t id,
			  int fd);
void dialed_failed(struct dialed *dialed, const struct error *err);
/* … that its link was given to the caller, and nothing more will be known of it, … */
void dialed_passed(struct dialed *dialed);
/* … or that it is a stream, and then how that ended. */
void dialed_opened(const struct dialed *dialed);
void dialed_closed(struct dialed *dialed, const struct relay_result *result);

/* By pod, without a forward and a target. */
void dialed_each(struct serve *serve, traffic_cb cb, void *arg);

void dialed_clear(struct serve *serve); /* when none of them is left */

#endif
