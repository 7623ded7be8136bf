/* SPDX-License-Identifier: MIT */
/*
 * The handshake on a link in the guest: request lines are read and answered, until it is a
 * stream.
 */
#ifndef VZFWD_HANDSHAKE_H
#define VZFWD_HANDSHAKE_H

#include "server.h"

/*
 * Takes the descriptors over (the same one twice for a socket); what becomes of them is told to
 * the server.
 */
void handshake_start(struct server *server, int rfd, int wfd);

/* Gives up what is kept for the next links. */
void handshake_free_spare(struct server *server);

/* Closes all links that are in the handshake. */
void handshake_abort_all(struct server *server);

#endif
