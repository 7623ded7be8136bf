/* SPDX-License-Identifier: MIT */
/*
 * Options and output of the commands that ask a dialer, and calls that block: the
 * callbacks of link.h are waited for by running a loop of their own.
 */
#include "config.h"

#include "call.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "lib/link.h"
#include "lib/loop.h"

/* How long a dialer may take for a method other than pod.portDial. */
#define CALL_TIMEOUT_MS 5000

static int handle_option(int id, const char *value, void *arg, struct error *err)
{
	struct call_options *o = arg;

	(void)err;
	switch (id) {
	case CALL_POD:
		o->pod = value;
		break;
	case CALL_HANDLE:
		o->handle = value;
		break;
	case CALL_CONTAINER:
		o->container = value;
		break;
	case CALL_JSON:
		o->json = true;
		break;
	case CALL_WATCH:
		o->watch = true;
		break;
	}
	return 0;
}

int call_options_parse(struct cli *cli, const struct command *cmd, int argc, char **argv,
		       struct call_options *o, struct error *err)
{
	_cleanup_free_ const char **operands = xcalloc(argc, sizeof(*operands));
	int count = command_parse(cli, cmd, argc, argv, handle_option, o, operands);

	if (count > 1 || (count == 1 && o->pod))
		return error_set(err, REASON_INVALID, 0, "more than one POD was given");
	if (count == 1)
		o->pod = operands[0];
	if (o->container && !name_is_valid(o->container))
		return error_set(err, REASON_INVALID, 0, "--container: not a container ID: %s",
				 o->container);
	return 0;
}

struct call {
	struct loop loop;
	struct link *link;
	char *label;
	/* what the callback brought */
	bool answered;
	bool failed;
	struct error err;
	json_t *result;
};

static void call_answer(struct call *call, json_t *result, const struct error *err)
{
	call->answered = true;
	call->failed = err;
	if (err)
		call->err = *err;
	else
		call->result = json_incref(result);
	loop_stop(&call->loop);
}

static void on_opened(struct link *link, const struct error *err, void *arg)
{
	(void)link;
	call_answer(arg, NULL, err);
}

static void on_answer(struct link *link, json_t *result, const struct error *err, void *arg)
{
	(void)link;
	call_answer(arg, result, err);
}

/* Runs the loop until call_answer() was called: 0, or a negative number with what went wrong. */
static int call_wait(struct call *call, struct error *err)
{
	int rc = 0;

	if (!call->answered)
		rc = loop_run(&call->loop);
	if (!call->answered)
		return error_set(err, REASON_INTERNAL, -rc, "the event loop ended early");
	call->answered = false;
	if (!call->failed)
		return 0;
	*err = call->err;
	return err->sys_errno ? -err->sys_errno : -EPROTO;
}

struct call *call_open(struct pod *pod, struct error *err)
{
	struct link_options options = { .pod = pod };
	struct call *call;
	int rc;

	if (pod->endpoint.type == ENDPOINT_FD) {
		error_set(err, REASON_INVALID, 0, "fd: endpoints are for dial only");
		return NULL;
	}
	call = xcalloc(1, sizeof(*call));
	rc = loop_init(&call->loop);
	if (rc < 0) {
		error_set(err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
		free(call);
		return NULL;
	}
	call->label = pod->name ? xstrdup(pod->name) : endpoint_format(&pod->endpoint);
	options.name.label = call->label;
	call->link = link_open(&call->loop, &options, on_opened, call);
	if (call_wait(call, err) < 0) {
		call_close(call);
		return NULL;
	}
	return call;
}

int call_method(struct call *call, const char *method, json_t *params, json_t **result,
		struct error *err)
{
	int rc;

	if (!params)
		params = json_object();
	link_call(call->link, method, params, CALL_TIMEOUT_MS, on_answer, call);
	rc = call_wait(call, err);
	if (rc < 0)
		return rc;
	*result = call->result;
	call->result = NULL;
	return 0;
}

json_t *call_pod_params(const char *handle, const char *container_id)
{
	json_t *params = json_object();

	json_object_set_new(params, "handle", json_string(handle));
	if (container_id)
		json_object_set_new(params, "containerID", json_string(container_id));
	return params;
}

bool call_port_get(json_t *item, struct call_port *port)
{
	json_t *number = json_object_get(item, "port");
	json_t *process = json_object_get(item, "process");
	json_t *pid = json_object_get(process, "pid");

	port->network = json_string_value(json_object_get(item, "network"));
	port->address = json_string_value(json_object_get(item, "address"));
	if (!port->network || !port->address || !json_is_integer(number) ||
	    json_integer_value(number) < 1 || json_integer_value(number) > UINT16_MAX)
		return false;
	port->port = json_integer_value(number);
	port->process = NULL;
	port->pid = 0;
	if (!process || json_is_null(process))
		return true;
	port->process = json_string_value(json_object_get(process, "name"));
	port->pid = json_integer_value(pid);
	return port->process && json_is_integer(pid) && port->pid >= 1 && port->pid <= INT_MAX;
}

json_t *call_ports(json_t *result, struct error *err)
{
	json_t *ports = json_object_get(result, "ports");
	struct call_port port;
	json_t *item;
	size_t i;

	if (!json_is_array(ports)) {
		error_set(err, REASON_INTERNAL, 0, "pod.ports: the answer has no array of ports");
		return NULL;
	}
	json_array_foreach (ports, i, item) {
		if (!call_port_get(item, &port)) {
			error_set(err, REASON_INTERNAL, 0, "pod.ports: item %zu is no port", i);
			return NULL;
		}
	}
	return ports;
}

void call_close(struct call *call)
{
	if (!call)
		return;
	link_free(call->link);
	loop_run(&call->loop); /* an exec: command is ended in there */
	loop_clear(&call->loop);
	free(call->label);
	free(call);
}
