/* SPDX-License-Identifier: MIT */
/*
 * DNS in a pod, at port 53 of an address there, UDP and TCP: the pod's clients come by parked links, and what they ask is
 * answered by a server (dns/server.h) here.
 */
#ifndef VZFWD_DNS_RESPONDER_H
#define VZFWD_DNS_RESPONDER_H

#include "dns/server.h"
#include "lib/backward.h"

struct responder;

struct responder_config {
	struct park_config
		park; /* of both its listeners: network, listen, label and the callbacks are not looked at */
	struct address address;
	struct dns_server *server; /* borrowed */
	uint64_t *last_id;
	/* It listens there ("192.168.127.254:53/udp"); it can't; a client is gone. */
	void (*listening)(const char *place, void *arg);
	void (*failed)(const char *place, const struct error *err, void *arg);
	void (*gone)(void *arg);
	void *arg;
};

struct responder *responder_new(const struct responder_config *config);
void responder_go_on(struct responder *responder); /* there is room for more clients */
void responder_stop(
	struct responder *responder); /* closes its places in the pod, and ends its clients */
bool responder_is_idle(const struct responder *responder);
void responder_free(
	struct responder *responder); /* when it is stopped and idle; NULL is harmless */

#endif
