/* SPDX-License-Identifier: MIT */
/*
 * What the commands of the way back (expose, egress) share: whose pod it is, the address and the names that it knows the host by,
 * how many links are parked and clients served, and how all of it begins and ends.
 */
#ifndef VZFWD_WAY_BACK_H
#define VZFWD_WAY_BACK_H

#include "dial-options.h"
#include "dns/zones.h"
#include "expose/hosts.h"
#include "expose/hosts-options.h"
#include "forwarding.h"
#include "lib/park.h"

struct way_back;

struct way_back_ops {
	const char *command; /* "expose" */
	/* Closes the places in the pod and resets who came by them; again: at once. */
	void (*stop)(struct way_back *w);
	bool (*is_idle)(const struct way_back *w); /* nobody is left */
	void (*go_on)(struct way_back *w);         /* there is room for more */
	json_t *(*list)(const struct way_back *w); /* for vzfwd status. New reference */
	void (*reload)(struct way_back *w);        /* SIGHUP; NULL where that ends it */
};

/* Embedded in a command's own. way_back_init() it. */
struct way_back {
	const struct way_back_ops *ops;
	struct forwarding forwarding; /* of no forwards: the loop and the signals */
	struct dial_options dial;
	struct hosts_options hosts_options;
	struct address alias;
	struct host_names names;
	struct zones *zones; /* what DNS in the pod answers: --dns-zone, and the names */
	uint64_t park, park_max, rate, max_connections;
	int udp_idle_ms; /* 0: the default */
	bool wait;
	const char *events;
	char *pods_dir, *pod_arg; /* pods_dir NULL: pod_arg is an endpoint */
	char *hosts_tag;
	struct hosts_link *hosts; /* NULL: none */
	int64_t room;             /* how many clients there may still be */
	bool opened, failed;
	struct error err; /* that ended it */
};

enum way_back_option {
	WAY_BACK_ALIAS_IP = 0x300,
	WAY_BACK_DNS_ZONE,
	WAY_BACK_PARK,
	WAY_BACK_PARK_MAX,
	WAY_BACK_CONNECT_RATE,
	WAY_BACK_MAX_CONNECTIONS,
	WAY_BACK_UDP_IDLE,
	WAY_BACK_WAIT,
	WAY_BACK_EVENTS
};

/* As gvproxy and podman have it. */
#define WAY_BACK_ALIAS "192.168.127.254"

/* Rows for the option tables. */
#define WAY_BACK_OPTIONS                                                                          \
	{ 0,                                                                                      \
	  "alias-ip",                                                                             \
	  VALUE_TEXT,                                                                             \
	  "IP",                                                                                   \
	  NULL,                                                                                   \
	  "the address in the pod that stands for the host (default: " WAY_BACK_ALIAS ")",        \
	  WAY_BACK_ALIAS_IP },                                                                    \
		{ 0,                                                                              \
		  "dns-zone",                                                                     \
		  VALUE_TEXT,                                                                     \
		  "ZONE",                                                                         \
		  NULL,                                                                           \
		  "answer DNS questions for ZONE[=ADDRESS][,NAME=ADDRESS]...[,ttl=SECONDS] too",  \
		  WAY_BACK_DNS_ZONE },                                                            \
		HOSTS_OPTIONS, { 0,                                                               \
				 "wait",                                                          \
				 VALUE_NONE,                                                      \
				 NULL,                                                            \
				 NULL,                                                            \
				 "wait until the pod is there",                                   \
				 WAY_BACK_WAIT },                                                 \
		{ 0,                                                                              \
		  "park",                                                                         \
		  VALUE_NUMBER,                                                                   \
		  "N",                                                                            \
		  NULL,                                                                           \
		  "links that wait for clients of the pod, at each place (default 4)",            \
		  WAY_BACK_PARK },                                                                \
		{ 0,                                                                              \
		  "park-max",                                                                     \
		  VALUE_NUMBER,                                                                   \
		  "N",                                                                            \
		  NULL,                                                                           \
		  "and as many under load (default 64)",                                          \
		  WAY_BACK_PARK_MAX },                                                            \
		{ 0,                                                                              \
		  "connect-rate",                                                                 \
		  VALUE_NUMBER,                                                                   \
		  "N",                                                                            \
		  NULL,                                                                           \
		  "clients a second at most, at each place; more wait (default 10000)",           \
		  WAY_BACK_CONNECT_RATE },                                                        \
		{ 0,                                                                              \
		  "max-connections",                                                              \
		  VALUE_NUMBER,                                                                   \
		  "N",                                                                            \
		  NULL,                                                                           \
		  "connections at a time; more wait (default: what the descriptor limit allows)", \
		  WAY_BACK_MAX_CONNECTIONS },                                                     \
		{ 0,                                                                              \
		  "udp-idle",                                                                     \
		  VALUE_TEXT,                                                                     \
		  "SECONDS",                                                                      \
		  NULL,                                                                           \
		  "udp: a flow ends after this much silence (default 90)",                        \
		  WAY_BACK_UDP_IDLE },                                                            \
		{ 0,           "timeout",                                                         \
		  VALUE_TEXT,  "SECONDS",                                                         \
		  NULL,        "how long connecting on may take (0.001 to 600, default 10)",      \
		  DIAL_TIMEOUT },                                                                 \
		OPTION_HANDLE(DIAL_HANDLE), OPTION_CONTAINER(DIAL_CONTAINER),                     \
		OPTION_ALLOW_UNIX(DIAL_ALLOW_UNIX), OPTION_EVENTS(WAY_BACK_EVENTS)

void way_back_init(struct way_back *w, const struct way_back_ops *ops);

/* Handles the ids above, and those of HOSTS_OPTIONS and dial_option(): 0 or a negative number with *err. */
int way_back_option(struct way_back *w, int id, const char *value, struct error *err);

/*
 * Everything but the places in the pod: signals, events, the pod (waited for, if that was wanted). Where it was stopped meanwhile
 * forwarding.stopping is set, and nothing more is to be done. 0 or a negative number with *err.
 */
int way_back_start(struct cli *cli, struct way_back *w, const char *pod, struct error *err);

/* What park_new() needs of all of this. */
struct park_config way_back_park(struct way_back *w);

/*
 * Once the command's own places are made, `places` of them and `spare` descriptors for what else it has: makes room for clients, writes the names. `specs` is what is
 * exposed, for its names; `tag` (NULL: nothing) tells this command's block in the hosts file from others of the same pod and alias.
 */
void way_back_open(struct way_back *w, size_t places, size_t spare, const char *tag);

/* The names for what is exposed; before the places are made. REASON_INVALID for what can't be one in DNS. */
int way_back_name(struct way_back *w, const struct expose_spec *specs, size_t count,
		  struct error *err);

/* What can't be had at first ends it. */
void way_back_fail(struct way_back *w, const struct error *err);

/* A client is gone. */
void way_back_gone(struct way_back *w);

/* Runs it to its end: 0 or a negative number with *err. */
int way_back_serve(struct way_back *w, struct error *err);

/* After the command's own is gone. */
void way_back_clear(struct way_back *w);

#endif
