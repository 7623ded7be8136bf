/* SPDX-License-Identifier: MIT */
/* Where a client wants to go: from a host's name and a port to a pod and an address in it. */
#ifndef VZFWD_AIM_H
#define VZFWD_AIM_H

#include "proxy.h"

/* Zero-initialise; stays where it is. */
struct aim {
	struct proxy *proxy;
	char *label; /* "web:80", as it was asked for: NULL before that */
	char *pod;   /* NULL: the proxy's own */
	char address[ADDRESS_TEXT_MAX];
	char target[ADDRESS_TEXT_MAX + sizeof("/udp")]; /* as events have it */
	struct route route; /* its event and arg are the caller's to set */
};

/* REASON_NOT_FOUND, REASON_DENIED, REASON_INVALID. Sets the label in every case. */
int aim_at(struct aim *aim, struct proxy *proxy, enum network network, const char *host,
	   uint16_t port, struct error *err);

/* No connection or flow by its route may be left. What they carried is the proxy's now. */
void aim_clear(struct aim *aim);

#endif
