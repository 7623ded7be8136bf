/* SPDX-License-Identifier: MIT */
/* The host's resolvers, as resolv.conf(5) has them. */
#ifndef VZFWD_DNS_RESOLV_H
#define VZFWD_DNS_RESOLV_H

#include <sys/socket.h>
#include <sys/stat.h>

#include "util.h"

#define RESOLV_SERVERS_MAX 3 /* as glibc's and musl's resolvers have it */
#define RESOLV_CONF_MAX 65536

struct resolv {
	struct resolv_server {
		struct sockaddr_storage ss;
		socklen_t len;
	} servers[RESOLV_SERVERS_MAX];
	unsigned count; /* of servers, one at least */
	unsigned attempts;
	int64_t timeout_ms; /* of an attempt, for each server */
};

/*
 * What the text, of a resolv.conf, says of nameservers and of the options timeout and attempts. As there, no
 * nameserver means 127.0.0.1. Lines that can't be read are passed over. The servers listen on `port`.
 */
void resolv_parse(struct resolv *resolv, const char *text, uint16_t port);

/* Read anew when it changes: hosts move between networks. Zero-initialise, then set path and port. */
struct resolv_file {
	const char *path; /* kept by the caller */
	uint16_t port;
	struct stat read; /* the file that was read last */
	struct resolv resolv;
};

/* True if something has changed. A file that can't be read is like an empty one. */
bool resolv_file_read(struct resolv_file *file);

#endif
