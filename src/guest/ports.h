/* SPDX-License-Identifier: MIT */
/*
 * What listens in a netns: sock_diag(7) dumps through a socket inside of it,
 * and the processes behind the sockets where /proc tells them.
 */
#ifndef VZFWD_PORTS_H
#define VZFWD_PORTS_H

#include <jansson.h>

#include "netns.h"

/*
 * {"ports":[{"network":"tcp","address":"127.0.0.1","port":80,
 *            "process":{"pid":12,"name":"nginx"}},…]}
 *
 * sorted by network, port, address, each once: TCP listeners, IPv4 and IPv6 apart (an address may
 * be "0.0.0.0" or "::"), and bound, unconnected UDP sockets. New reference in *out. At most
 * RPC_ANSWER_MAX bytes as text: more is REASON_EXHAUSTED.
 */
int ports_list(struct netns *ns, json_t **out, struct error *err);

#endif
