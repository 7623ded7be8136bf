/* SPDX-License-Identifier: MIT */
/*
 * --capture: what connections carry, as a file for Wireshark. Each is told as a conversation of TCP or UDP between its
 * client and its target, made up from the bytes that were passed on: its addresses, order, ends and resets are real,
 * its segments are not.
 */
#ifndef VZFWD_CAPTURE_H
#define VZFWD_CAPTURE_H

#include <sys/socket.h>

#include "error.h"
#include "loop.h"
#include "relay-tap.h"

#define CAPTURE_LIMIT_DEFAULT (UINT64_C(1) << 30)

struct capture;

/*
 * Begins a file, mode 0600, in place of what it had. When the next packet would make it longer than `limit` it is closed, which
 * is logged, and connections go on. REASON_UNSUPPORTED without libpcap, REASON_INVALID for what is no regular file of
 * our own (no symlink is followed), REASON_EXHAUSTED if another vzfwd writes to it, REASON_DENIED.
 */
struct capture *capture_open(struct loop *loop, const char *path, uint64_t limit,
			     struct error *err);
void capture_close(
	struct capture *capture); /* NULL is harmless; streams that are left are heard no more */

/* "1000000", "512K", "64M", "1G": 0, or REASON_INVALID. */
int capture_limit_parse(const char *value, uint64_t *limit, struct error *err);

/* One conversation. */
struct capture_stream;

enum capture_type { CAPTURE_TCP, CAPTURE_UDP };

/*
 * It is connected. A client that is none of IP's is 127.0.0.1, and so is a target ("127.0.0.1:80") that is none; their
 * ports are made up, from `id` for the client.
 */
struct capture_stream *capture_stream_new(struct capture *capture, enum capture_type type,
					  const struct sockaddr_storage *client, const char *target,
					  uint64_t id);

/* For the relay. NULL for NULL. Valid until it is freed. */
struct tap *capture_stream_tap(struct capture_stream *stream);
void capture_stream_free(struct capture_stream *stream); /* NULL is harmless */

/* One of TCP that was refused. */
void capture_refused(struct capture *capture, const struct sockaddr_storage *client,
		     const char *target, uint64_t id);

#endif
