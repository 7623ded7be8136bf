/* SPDX-License-Identifier: MIT */
/* Between capture.c, which has the file, and capture-stream.c, which makes the packets. */
#ifndef VZFWD_CAPTURE_FILE_H
#define VZFWD_CAPTURE_FILE_H

#include <sys/queue.h>

#include "capture.h"

#define CAPTURE_PACKET_MAX (40 + 20 + 8 + 65535)

struct capture {
	bool ended; /* nothing more is written */
	uint16_t ip_id;
	TAILQ_HEAD(, capture_stream) streams;
	uint8_t packet[CAPTURE_PACKET_MAX];
};

/* Writes so much of capture->packet, unless it has ended. */
void capture_write(struct capture *capture, size_t size);

/* Its streams do without it from now on. */
void capture_forget_streams(struct capture *capture);

#endif
