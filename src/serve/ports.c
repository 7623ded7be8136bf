/* SPDX-License-Identifier: MIT */
/* pod.ports for a caller: asked of the pod's dialer, whose texts are escaped on the way. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "call.h"
#include "caller.h"

#define TIMEOUT_MS 5000

static json_t *port_to_json(const struct call_port *port)
{
	json_t *json = json_pack("{s:o, s:o, s:i}", "network", rpc_escaped_string(port->network),
				 "address", rpc_escaped_string(port->address), "port", port->port);

	if (port->process != NULL)
		json_object_set_new(json, "process",
				    json_pack("{s:o, s:I}", "name",
					      rpc_escaped_string(port->process), "pid",
					      (json_int_t)port->pid));
	return json;
}

void caller_ports_cancel(struct caller *c)
{
	link_free(c->link);
	c->link = NULL;
	json_decref(c->params);
	c->params = NULL;
}

static void ports_fail(struct caller *c, const struct error *err)
{
	struct error copy = *err;

	caller_ports_cancel(c);
	session_fail(&c->session, &copy, SESSION_GO_ON);
}

static void answered(struct link *link, json_t *result, const struct error *err, void *arg)
{
	struct caller *c = arg;
	_cleanup_json_ json_t *answer = NULL;
	json_t *ports, *array, *item;
	struct error failed;
	struct call_port port;
	size_t i;

	(void)link;
	ports = err == NULL ? call_ports(result, &failed) : NULL;
	if (ports == NULL) {
		ports_fail(c, err != NULL ? err : &failed);
		return;
	}
	array = json_array();
	json_array_foreach (ports, i, item) {
		call_port_get(item, &port);
		json_array_append_new(array, port_to_json(&port));
	}
	answer = json_pack("{s:o}", "ports", array);
	caller_ports_cancel(c);
	session_answer(&c->session, rpc_format_result(c->session.request.id, answer),
		       SESSION_GO_ON);
}

static void opened(struct link *link, const struct error *err, void *arg)
{
	struct caller *c = arg;
	json_t *params = c->params;

	if (err != NULL) {
		ports_fail(c, err);
		return;
	}
	c->params = NULL;
	link_call(link, METHOD_PORTS, params, TIMEOUT_MS, answered, c);
}

void caller_ports(struct caller *c)
{
	const struct rpc_params *params = &c->session.request.params;
	struct serve *serve = c->serve;
	struct link_options options = { .policy = serve->config.policy,
					.name = session_name(&c->session) };
	const char *container_id;
	bool watch = false;
	struct pod pod;
	struct error err;
	int rc = method_pod(serve, METHOD_PORTS, params, "handle", &pod, &err);

	if (rc == 0)
		rc = rpc_get_string(METHOD_PORTS, params, "containerID", false, &container_id,
				    &err);
	if (rc == 0)
		rc = rpc_get_boolean(METHOD_PORTS, params, "watch", &watch, &err);
	if (rc < 0) {
		ports_fail(c, &err);
	} else if (watch) {
		caller_watch_start(c, pod.name, container_id);
	} else {
		c->params = call_pod_params(pod.handle, container_id);
		options.pod = &pod;
		c->link = link_open(serve->config.loop, &options, opened, c);
	}
	pod_clear(&pod);
}
