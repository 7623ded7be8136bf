/* SPDX-License-Identifier: MIT */
/* vzfwd-guest's command line. */
#ifndef VZFWD_GUEST_OPTIONS_H
#define VZFWD_GUEST_OPTIONS_H

#include "caps.h"
#include "commands.h"
#include "listen.h"
#include "netns.h"
#include "policy.h"

#define CONNECTIONS_LIMIT 1000000

struct guest_options {
	struct endpoint *listen; /* at least one unless stdio */
	size_t listen_count;
	bool stdio;
	struct netns_source *source;
	struct policy policy;
	bool allow_expose, allow_egress;
	struct peer_rules peers;
	const char *token_file;   /* NULL: none */
	uint64_t max_connections; /* 0: by the descriptor limit */
	struct caps_user user;
	struct common_options common;
};

/* options_clear() in every case. */
int options_parse(struct guest_options *options, int argc, char **argv, struct error *err);
void options_clear(struct guest_options *options);
void options_help(void); /* on stdout */

#endif
