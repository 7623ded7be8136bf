/* SPDX-License-Identifier: MIT */
/*
 * The listening sockets of a forward: which addresses its spec and --address mean, all of them
 * bound or none.
 */
#ifndef VZFWD_BIND_H
#define VZFWD_BIND_H

#include "forward.h"
#include "sock.h"

#define BIND_TEXT_MAX 128

struct bound {
	int fd;
	struct sock_file file;    /* of a Unix socket */
	char text[BIND_TEXT_MAX]; /* "127.0.0.1:8080", "unix:PATH" */
};

/*
 * Fills *bound (count entries, owned by the caller, their descriptors too) and *port (0 for a Unix
 * socket). See forward_new() for the rules and the errors.
 */
int bind_all(const struct forward_spec *spec, const struct forward_bind *binds, size_t bind_count,
	     struct bound **bound, size_t *count, uint16_t *port, struct error *err);

#endif
