/* SPDX-License-Identifier: MIT */
/*
 * What the commands that ask a pod's dialer something (ports, check) have in common:
 * their options, a link to the dialer with calls that block until they are answered,
 * and reading what it says about ports.
 */
#ifndef VZFWD_CALL_H
#define VZFWD_CALL_H

#include "command.h"
#include "lib/rpc.h"

struct call_options {
	const char *pod; /* POD or --pod; NULL if none was given */
	const char *handle, *container;
	bool json, watch;
};

enum call_option { CALL_POD, CALL_HANDLE, CALL_CONTAINER, CALL_JSON, CALL_WATCH };

/* Rows for the option tables: --pod, --handle, --container, --json. */
#define CALL_OPTIONS                                                                        \
	OPTION_POD(CALL_POD), OPTION_HANDLE(CALL_HANDLE), OPTION_CONTAINER(CALL_CONTAINER), \
	{                                                                                   \
		0, "json", VALUE_NONE, NULL, NULL, "print JSON", CALL_JSON                  \
	}

/* command_parse() with these options and at most one operand, the POD. 0 or REASON_INVALID. */
int call_options_parse(struct cli *cli, const struct command *cmd, int argc, char **argv,
		       struct call_options *o, struct error *err);

struct call;

/* Connects to the pod's dialer; the pod is borrowed until this returns. NULL with *err. */
struct call *call_open(struct pod *pod, struct error *err);

/*
 * Makes a call (the params' reference is taken; NULL: none). 0 and a new reference in *result, or a
 * negative number and *err; then no other call may follow.
 */
int call_method(struct call *call, const char *method, json_t *params, json_t **result,
		struct error *err);

void call_close(struct call *call); /* NULL is harmless */

/* What pod.ports takes: a handle and, unless NULL, a containerID. New reference. */
json_t *call_pod_params(const char *handle, const char *container_id);

/*
 * The array of listening ports out of a result of pod.ports: borrowed, with every item one that
 * call_port_get() takes. NULL with REASON_INTERNAL if the dialer answered anything else.
 */
json_t *call_ports(json_t *result, struct error *err);

/* One listening port. The texts are the guest's: borrowed, not escaped. */
struct call_port {
	const char *network, *address;
	uint16_t port;
	const char *process; /* NULL if not known */
	long long pid;
};
bool call_port_get(json_t *item, struct call_port *port); /* false if the item is none */

#endif
