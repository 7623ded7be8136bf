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
 * RPC_ANSWER_MAX bytes as text: more is REASON_EXHAUSTED. Those of `accepts`, which are ours and not the pod's, are left out.
 */
struct accepts;
int ports_list(struct netns *ns, const struct accepts *accepts, json_t **out, struct error *err);

/* One of them as text, with a comma: an IPv6 address in full, and a name of 15 bytes that JSON escapes. */
#define PORT_JSON_MAX 209

/* The same at one moment, for who compares. Its ports do not change, and it is shared. */
struct port_list;

/* Looks. The processes of what was there already are as in `known`. 0 and a reference in *out, or a negative number. */
int port_list_get(struct netns *ns, const struct accepts *accepts, const struct port_list *known,
		  struct port_list **out, struct error *err);

/*
 * Looks for the processes that are not known, for no longer than `ms`, and goes on from there the next time: it costs
 * something for each process of the machine and each descriptor of the pod's. Is_matched: there is nobody left to ask.
 */
#define PORT_LIST_MATCH_MS 200 /* for who waits for it: it is a courtesy */
void port_list_match(struct port_list *list, struct netns *ns, int ms);
bool port_list_is_matched(const struct port_list *list);

struct port_list *port_list_new(void); /* of nothing */
struct port_list *port_list_ref(struct port_list *list);
void port_list_unref(struct port_list *list); /* NULL is harmless */
size_t port_list_count(const struct port_list *list);
int port_list_json(const struct port_list *list, json_t **out,
		   struct error *err); /* as ports_list() */

/* {"added":[…],"removed":[…]}, or NULL if nothing has changed. New reference. */
json_t *port_list_changes(const struct port_list *from, const struct port_list *to);

#endif
