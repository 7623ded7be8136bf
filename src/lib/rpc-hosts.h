/* SPDX-License-Identifier: MIT */
/*
 * Names in a pod's hosts file, on the wire: what pod.hosts asks for, and what it is answered. No I/O.
 */
#ifndef VZFWD_RPC_HOSTS_H
#define VZFWD_RPC_HOSTS_H

#include "rpc.h"

/* Writes names into a hosts file, for as long as the link lives. */
#define METHOD_HOSTS "pod.hosts"

#define HOSTS_NAMES_MAX 256 /* of a request */

struct hosts_request {
	const char *path, *tag; /* borrowed from the params */
	char *lines;            /* of the file: "ADDRESS NAME", one a name; the caller's */
};

/*
 * path, tag, entries, in this order; REASON_INVALID for what is none of that. A resolver may take no more than 511 bytes of a
 * line (musl), so each name has its own.
 */
int rpc_get_hosts(const struct rpc_params *params, struct hosts_request *request,
		  struct error *err);

/* The params of a request; takes the reference to the entries. New reference. */
json_t *rpc_hosts_params(const char *handle, const char *container_id, const char *path,
			 const char *tag, json_t *entries);

/* The result once they are written. New reference. */
json_t *rpc_hosts_written(const char *path);
int rpc_check_hosts_written(json_t *result, struct error *err); /* 0 or REASON_INTERNAL */

#endif
