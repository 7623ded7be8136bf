/* SPDX-License-Identifier: MIT */
/* --status-fd: a JSON line for each thing that who runs `vzfwd dial` wants to know. */
#ifndef VZFWD_STATUS_H
#define VZFWD_STATUS_H

#include "lib/relay.h"

/* All do nothing for fd -1, and errors of writing are nobody's concern. */
void status_connected(int fd, const struct port_dialed *dialed);
void status_error(int fd, const struct error *err);
void status_closed(int fd, const struct relay_result *result);

#endif
