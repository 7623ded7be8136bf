/* SPDX-License-Identifier: MIT */
/*
 * What a service manager gives a service and is told by it: listening sockets (sd_listen_fds(3)) and
 * its state (sd_notify(3)). Both are environment variables and datagrams; neither needs libsystemd, and
 * other managers and tools (systemd-socket-activate, s6, podman) speak them too.
 */
#ifndef VZFWD_SERVICE_H
#define VZFWD_SERVICE_H

#include "error.h"

/*
 * The listening sockets that this process was started with, in the manager's order: *fds is fresh memory, the
 * descriptors are the caller's. 0 and a count of 0 where there are none, LISTEN_PID of another process
 * included. Each must be a listening AF_UNIX stream socket, else nothing is given: REASON_INVALID.
 *
 * They become close-on-exec and non-blocking. The manager has the same open file description, and
 * O_NONBLOCK belongs to that; accept(2) knows no other way not to wait. It only polls, and sets the flag as
 * it wants it at each start (systemd.exec(5), NonBlocking=). What must not be done to such a
 * socket: shutdown(2), which ends it for the manager too, and unlinking its file.
 *
 * LISTEN_* leave the environment in every case. Call it once, early, before there are other threads.
 */
int service_listen_fds(int **fds, size_t *count, struct error *err);

/*
 * Tells the manager "READY=1", "STOPPING=1"; a single datagram. Nothing happens where there is no manager; one that
 * can't be told costs a line at debug level. Never blocks.
 *
 * The first call takes NOTIFY_SOCKET out of the environment, since what an exec: endpoint starts is not the
 * service, and container runtimes would pass it on into containers: call it before there are other threads
 * or children.
 */
void service_notify(const char *state);

#endif
