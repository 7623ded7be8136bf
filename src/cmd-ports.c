/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd ports`: asks a pod's dialer what listens in the pod and prints it as a
 * table or as JSON.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "call.h"

/* No column is padded wider than this, so that one odd text does not blow up every line. */
#define COLUMN_MAX 46

/* One cell, escaped and padded. */
static void print_cell(const char *text, int width)
{
	_cleanup_free_ char *escaped = escape_bytes(text, strlen(text));

	printf("%-*s", width, escaped);
}

static void widen(int *width, const char *text)
{
	_cleanup_free_ char *escaped = escape_bytes(text, strlen(text));
	size_t length = strlen(escaped);

	if (length > COLUMN_MAX)
		length = COLUMN_MAX;
	if ((int)length > *width)
		*width = (int)length;
}

static void print_table(json_t *ports)
{
	int network_width = (int)strlen("PROTO"), address_width = (int)strlen("ADDRESS");
	struct call_port port;
	json_t *item;
	size_t i;

	json_array_foreach (ports, i, item) {
		call_port_get(item, &port);
		widen(&network_width, port.network);
		widen(&address_width, port.address);
	}
	printf("%-*s  %-*s  %-5s  PROCESS\n", network_width, "PROTO", address_width, "ADDRESS",
	       "PORT");
	json_array_foreach (ports, i, item) {
		call_port_get(item, &port);
		print_cell(port.network, network_width);
		printf("  ");
		print_cell(port.address, address_width);
		printf("  %-5u  ", (unsigned)port.port);
		print_cell(port.process ? port.process : "-", 0);
		if (port.process)
			printf(" (%lld)", port.pid);
		putchar('\n');
	}
}

/* Asks and prints: 0, or a negative number with *err. */
static int list_ports(struct pod *pod, const struct call_options *o, struct error *err)
{
	struct call *call = call_open(pod, err);
	_cleanup_json_ json_t *result = NULL;
	json_t *params, *ports;
	int rc;

	if (!call)
		return -EPROTO;
	params = call_pod_params(pod->handle, o->container);
	rc = call_method(call, "pod.ports", params, &result, err);
	call_close(call);
	if (rc < 0)
		return rc;
	ports = call_ports(result, err);
	if (!ports)
		return -EPROTO;
	if (o->json) {
		json_dumpf(ports, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
	} else {
		print_table(ports);
	}
	return call_flush_stdout(err);
}

static int run_ports(struct cli *cli, int argc, char **argv)
{
	_cleanup_free_ char *what = NULL;
	struct call_options o = { 0 };
	struct pod pod = { 0 };
	struct error err;
	int rc;

	rc = call_options_parse(cli, &cmd_ports, argc, argv, &o, &err);
	if (rc == 0)
		rc = command_pod(cli, o.pod, o.handle, &pod, &err);
	if (rc == 0)
		rc = list_ports(&pod, &o, &err);
	if (rc < 0) {
		what = xasprintf("ports%s%s", pod.name || o.pod ? " " : "",
				 pod.name ? pod.name
				 : o.pod  ? o.pod
					  : "");
		rc = command_fail(what, &err);
	}
	pod_clear(&pod);
	return rc;
}

const struct command cmd_ports = {
	.name = "ports",
	.synopsis = "[POD]",
	.summary = "list what listens in a pod",
	.details = "Prints protocol, address, port and process of every TCP listener and every\n"
		   "bound UDP socket in the pod's network namespace.",
	.options = call_option_defs,
	.operands = { VALUE_POD },
	.run = run_ports,
};
