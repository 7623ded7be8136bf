/* SPDX-License-Identifier: MIT */
/*
 * The way back on the wire: what pod.portAccept asks for, what it is answered, and the notification that a
 * connection begins with. No I/O.
 */
#ifndef VZFWD_RPC_ACCEPT_H
#define VZFWD_RPC_ACCEPT_H

#include "rpc.h"

/* Listens in a pod, and parks the link for one connection. */
#define METHOD_PORT_ACCEPT "pod.portAccept"
/* The connection is there; what follows is the stream. */
#define METHOD_PORT_ACCEPTED "pod.portAccepted"

/* "listen" where whatever leaves the pod is accepted, wherever it goes to. */
#define ACCEPT_EGRESS "egress"

/* What a request asks to listen for. */
struct accept_target {
	enum network network; /* NETWORK_TCP, NETWORK_UDP or NETWORK_UNIX */
	bool egress;
	struct address addr; /* AF_UNSPEC: 127.0.0.1 and ::1; not for egress and unix */
	const char *path;    /* unix; borrowed from the params */
	const char *owner;   /* who parks there; "" if that was not said; borrowed too */
	enum framing framing;
};

/* An owner is a text of at most so many bytes, that nobody else has. */
#define ACCEPT_OWNER_MAX 64

/*
 * network, listen, framing, owner, in this order. REASON_UNSUPPORTED for the network, REASON_INVALID for all else: an address
 * that is none to listen on, udp in raw, egress of unix.
 */
int rpc_get_accept_target(const struct rpc_params *params, struct accept_target *target,
			  struct error *err);

/* The params of a request; "listen" is an address, a path or ACCEPT_EGRESS. New reference. */
json_t *rpc_port_accept_params(const char *handle, const char *container_id, enum network network,
			       const char *listen, const char *owner);

/* The result of one that is parked. New reference. */
json_t *rpc_port_parked(const struct accept_target *target);

/* 0 if a result says so, and that the stream will be `framing`; else REASON_INTERNAL. */
int rpc_check_port_parked(json_t *result, enum framing framing, struct error *err);

/* Who has connected, and where to; AF_UNSPEC: there is no such address (a Unix socket). */
struct port_accepted {
	struct address remote, destination;
};
json_t *rpc_port_accepted_params(const struct port_accepted *accepted); /* new */
int rpc_port_accepted(json_t *params, struct port_accepted *accepted,
		      struct error *err); /* REASON_INTERNAL */

#endif
