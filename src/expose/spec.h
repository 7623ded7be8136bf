/* SPDX-License-Identifier: MIT */
/* One argument of `vzfwd expose`: where pods reach a service, and where it is. Parsing and printing only. */
#ifndef VZFWD_EXPOSE_SPEC_H
#define VZFWD_EXPOSE_SPEC_H

#include "lib/endpoint.h"

enum expose_target {
	EXPOSE_HOST, /* an address of the host's, or that it reaches */
	EXPOSE_UNIX, /* a Unix socket of the host's */
	EXPOSE_POD   /* a port of another pod's */
};

struct expose_spec {
	enum network network; /* NETWORK_TCP, NETWORK_UDP, NETWORK_UNIX: the pod's side */
	char *name;           /* that pods reach it by; owned; NULL: the host's names */
	struct address at;    /* the pod's side; AF_UNSPEC: the alias address */
	char *at_path;        /* of a Unix socket in the pod; owned */
	enum expose_target target;
	struct address host; /* EXPOSE_HOST; AF_UNSPEC: the loopback; EXPOSE_POD: the same there */
	char *path;          /* EXPOSE_UNIX; owned */
	char *pod;           /* EXPOSE_POD: its name; owned */
};

/*
 * [NAME:]PORT[:[HOST:]PORT][/udp], and in place of the service unix:PATH or pod:POD:[HOST:]PORT; NAME may be an IP address to listen on,
 * or NAME=IP for both, and unix:PATH stands for [NAME:]PORT. Split on ':' outside brackets. REASON_INVALID; expose_spec_clear() frees it.
 */
int expose_spec_parse(struct expose_spec *spec, const char *text, struct error *err);
/* True if both are the same place in a pod, of which the alias address is `alias`. */
bool expose_spec_same_place(const struct expose_spec *a, const struct expose_spec *b,
			    const struct address *alias);
void expose_spec_clear(struct expose_spec *spec);

/* Where it is, as it is printed: "127.0.0.1:5432", "unix:/run/pg.sock", "pod:db:5432", "127.0.0.1:53/udp". Fresh memory. */
char *expose_spec_target(const struct expose_spec *spec);

#endif
