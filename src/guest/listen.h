/* SPDX-License-Identifier: MIT */
/* Where vzfwd-guest listens, and who may come in. */
#ifndef VZFWD_LISTEN_H
#define VZFWD_LISTEN_H

#include "endpoint.h"

/*
 * A listening socket for an endpoint of endpoint_parse_listen(); fd or a negative number with
 * *err.
 */
int listen_open(const struct endpoint *ep, struct error *err);

struct peer_rules {
	uint32_t *cids; /* --allow-cid */
	size_t cid_count;
	bool privileged; /* --privileged-peer: vsock ports below 1024 only */
};

#define PEER_TEXT_MAX 64

/*
 * Whether an accepted peer may speak: a vsock peer by its CID and port, a Unix one if it is root
 * or we. If it may not, `text` tells who it is ("vsock 3:1024", "uid 1000").
 */
bool peer_allowed(const struct peer_rules *rules, int fd, const struct sockaddr_storage *peer,
		  char text[PEER_TEXT_MAX]);

#endif
