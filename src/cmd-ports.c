/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd ports`: asks a pod's dialer what listens in the pod and prints it as a
 * table or as JSON.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "call.h"
#include "lib/loop.h"
#include "pod-ports.h"

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
	return stdout_flush(err);
}

/* ports --watch. */
struct watching {
	struct loop loop;
	bool json, connected, failed;
	const char *label;
	struct error err;
};

static void watching_fail(struct watching *w)
{
	w->failed = true;
	loop_stop(&w->loop);
}

static void print_json_change(const struct pod_port *port, const char *host, bool added)
{
	_cleanup_json_ json_t *json =
		json_pack("{s:s, s:s, s:s, s:i}", "change", added ? "added" : "removed", "network",
			  network_name(port->network), "address", host, "port",
			  (int)port->addr.port);

	if (port->process)
		json_object_set_new(json, "process",
				    json_pack("{s:I, s:o}", "pid", (json_int_t)port->pid, "name",
					      rpc_system_string(port->process)));
	json_dumpf(json, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
}

static void on_change(const struct pod_port *port, bool added, void *arg)
{
	struct watching *w = arg;
	char host[INET6_ADDRSTRLEN];

	inet_ntop(port->addr.family, &port->addr.v6, host, sizeof(host));
	if (w->json) {
		print_json_change(port, host, added);
		return;
	}
	printf("%c %s  %-15s  %-5u  %s", added ? '+' : '-', network_name(port->network), host,
	       (unsigned)port->addr.port, port->process ? port->process : "-");
	if (port->process)
		printf(" (%lld)", port->pid);
	putchar('\n');
}

static void on_settled(void *arg)
{
	struct watching *w = arg;

	if (stdout_flush(&w->err) < 0)
		watching_fail(w);
}

/* The first time it is the command's failure. */
static void on_lost(const struct error *err, void *arg)
{
	struct watching *w = arg;

	if (w->connected) {
		log_error(&(struct log_name){ w->label, 0 }, "lost: %s", err->message);
		return;
	}
	w->err = *err;
	watching_fail(w);
}

static void on_back(void *arg)
{
	struct watching *w = arg;

	if (w->connected)
		log_error(&(struct log_name){ w->label, 0 }, "is back");
	w->connected = true;
}

/* Until something fails: a negative number with *err. */
static int watch_ports(struct cli *cli, const struct pod *pod, const struct call_options *o,
		       struct error *err)
{
	_cleanup_free_ char *endpoint = endpoint_format(&pod->endpoint);
	_cleanup_free_ char *dir = NULL;
	struct watching w = { .json = o->json, .label = pod->name ? pod->name : endpoint };
	struct pod_ports_config config = { .loop = &w.loop,
					   .pod_arg = w.label,
					   .handle = pod->handle,
					   .container_id = o->container,
					   .changed = on_change,
					   .settled = on_settled,
					   .lost = on_lost,
					   .back = on_back,
					   .arg = &w };
	struct pod_ports *ports;
	int rc;

	if (pod->endpoint.type == ENDPOINT_FD)
		return error_set(err, REASON_INVALID, 0, "fd: endpoints are for dial only");
	dir = pod->name ? pods_dir(cli->pods_dir, err) : NULL;
	if (pod->name && !dir)
		return -EPROTO;
	config.pods_dir = dir;
	rc = loop_init(&w.loop);
	if (rc < 0)
		return error_set(err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
	ports = pod_ports_start(&config);
	rc = loop_run(&w.loop);
	pod_ports_stop(ports);
	loop_run(&w.loop); /* an exec: command is ended in there */
	loop_clear(&w.loop);
	if (!w.failed)
		return error_set(err, REASON_INTERNAL, -rc, "the event loop ended early");
	*err = w.err;
	return -EPROTO;
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
		rc = o.watch ? watch_ports(cli, &pod, &o, &err) : list_ports(&pod, &o, &err);
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

static const struct option_def options[] = {
	CALL_OPTIONS,
	{ 0, "watch", VALUE_NONE, NULL, NULL, "go on with what begins (+) and stops (-) to listen",
	  CALL_WATCH },
	{ 0 },
};

const struct command cmd_ports = {
	.name = "ports",
	.synopsis = "[POD]",
	.summary = "list what listens in a pod",
	.details = "Prints protocol, address, port and process of every TCP listener and every\n"
		   "bound UDP socket in the pod's network namespace.",
	.options = options,
	.operands = { VALUE_POD },
	.run = run_ports,
};
