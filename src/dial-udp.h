/* SPDX-License-Identifier: MIT */
/* What dial does differently for udp: its options, and the copy of datagrams. */
#ifndef VZFWD_DIAL_UDP_H
#define VZFWD_DIAL_UDP_H

#include "command.h"
#include "lib/datagrams.h"
#include "lib/link.h"

struct dial_udp {
	enum datagrams_type type; /* of the near end */
	int idle_ms;
	bool given; /* an option of it was */
};

#define DIAL_UDP_DEFAULT                                 \
	{                                                \
		.type = DATAGRAMS_READS, .idle_ms = 2000 \
	}

enum dial_udp_option { DIAL_UDP_FRAMING = 0x200, DIAL_UDP_IDLE };

/* Rows for the option table. */
#define DIAL_UDP_OPTIONS                                                                        \
	{ 0,                                                                                    \
	  "udp-framing",                                                                        \
	  VALUE_WORDS,                                                                          \
	  "FRAMING",                                                                            \
	  "none length",                                                                        \
	  "udp: each read is a datagram (none, the default), or its length in two bytes is "    \
	  "before it",                                                                          \
	  DIAL_UDP_FRAMING },                                                                   \
	{                                                                                       \
		0, "udp-idle", VALUE_TEXT, "SECONDS", NULL,                                     \
			"udp: how long to wait for answers after the end of stdin (default 2)", \
			DIAL_UDP_IDLE                                                           \
	}

/* Handles the ids above: 0 or a negative number with *err. */
int dial_udp_option(struct dial_udp *udp, int id, const char *value, struct error *err);

/* Whether the options go with the network. */
int dial_udp_check(const struct dial_udp *udp, enum network network, enum framing framing,
		   struct error *err);

/* Takes over the near end's descriptors and dialed->fd; its `name`, `done` and `arg` are as in struct datagrams_config. */
struct datagrams *dial_udp_start(const struct dial_udp *udp, struct loop *loop,
				 const struct relay_end_config *near,
				 const struct link_dialed *dialed, struct tap *tap,
				 const char *name, relay_done_cb done, void *arg);

#endif
