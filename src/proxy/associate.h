/* SPDX-License-Identifier: MIT */
/* Datagrams by SOCKS (RFC 1928, UDP ASSOCIATE): a UDP socket for one client, and a flow for each host that it sends to. */
#ifndef VZFWD_ASSOCIATE_H
#define VZFWD_ASSOCIATE_H

#include "client.h"

/* Opens the socket, and says where it is; `port` is the client's own, 0 if it did not say. Else what is answered, and *err. */
enum socks_reply associate_start(struct client *client, uint16_t port, struct error *err);

void associate_end(struct associate *associate);

/* Adds what its flows have carried. */
void associate_traffic(const struct associate *associate, struct traffic *sum);

#endif
