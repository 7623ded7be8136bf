/* SPDX-License-Identifier: MIT */
/*
 * pod.ports with "watch" for a caller. The pod's ports are followed as by the commands that do that (pod-ports.h), over a
 * link of the caller's own, and what the caller has not been told yet is kept by port: one that has come and gone meanwhile
 * is nothing to tell of, so who is slow to read costs no more than two lists.
 */
#include "config.h"

#include <arpa/inet.h>

#include "caller.h"
#include "pod-ports.h"

#define TOLD_MAX 1000 /* ports a notification */

struct caller_watch {
	struct caller *caller;
	char *pod, *container_id;
	struct pod_ports *ports;
	json_t *changes; /* "tcp 127.0.0.1:80": {"added":true,"port":{…}} */
	bool answered;
};

static json_t *port_to_json(const struct pod_port *port)
{
	char host[INET6_ADDRSTRLEN];
	json_t *json;

	inet_ntop(port->addr.family, &port->addr.v6, host, sizeof(host));
	json = xcheck(json_pack("{s:s, s:s, s:i}", "network", network_name(port->network),
				"address", host, "port", (int)port->addr.port));
	if (port->process != NULL)
		json_object_set_new(json, "process",
				    json_pack("{s:o, s:I}", "name",
					      rpc_system_string(port->process), "pid",
					      (json_int_t)port->pid));
	return json;
}

static void on_changed(const struct pod_port *port, bool added, void *arg)
{
	struct caller_watch *w = arg;
	char address[ADDRESS_TEXT_MAX];
	_cleanup_free_ char *key = NULL;
	json_t *before;

	if (!w->answered)
		return;
	key = xasprintf("%s %s", network_name(port->network), address_format(&port->addr, address));
	before = json_object_get(w->changes, key);
	if (before != NULL && json_is_true(json_object_get(before, "added")) != added)
		json_object_del(w->changes, key);
	else
		json_object_set_new(w->changes, key,
				    json_pack("{s:b, s:o}", "added", added, "port",
					      port_to_json(port)));
}

static void answer(struct caller_watch *w)
{
	size_t count;
	const struct pod_port *ports = pod_ports_get(w->ports, &count);
	_cleanup_json_ json_t *result = NULL;
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, port_to_json(&ports[i]));
	result = json_pack("{s:o, s:b}", "ports", array, "watch", 1);
	w->answered = true;
	session_answer(&w->caller->session,
		       rpc_format_result(w->caller->session.request.id, result), SESSION_GO_ON);
}

/* The session may end in here, and the watch with it; nothing follows. */
static void on_settled(void *arg)
{
	struct caller_watch *w = arg;

	if (!w->answered)
		answer(w);
	else if (json_object_size(w->changes) > 0)
		session_notify(&w->caller->session);
}

/* Later on it is looked for again, and has the ports that it had. */
static void on_lost(const struct error *err, void *arg)
{
	struct caller_watch *w = arg;
	struct session *session = &w->caller->session;
	struct error failed = *err;

	if (w->answered)
		return;
	caller_watch_stop(w->caller);
	session_fail(session, &failed, SESSION_GO_ON);
}

static void on_back(void *arg)
{
	(void)arg;
}

void caller_watch_start(struct caller *c, const char *pod, const char *container_id)
{
	struct caller_watch *w = xcalloc(1, sizeof(*w));

	caller_watch_stop(c);
	c->watch = w;
	w->caller = c;
	w->pod = xstrdup(pod);
	w->container_id = container_id != NULL ? xstrdup(container_id) : NULL;
	w->changes = json_object();
	w->ports =
		pod_ports_start(&(struct pod_ports_config){ .loop = c->serve->config.loop,
							    .pods_dir = c->serve->config.pods_dir,
							    .pod_arg = w->pod,
							    .container_id = w->container_id,
							    .policy = c->serve->config.policy,
							    .changed = on_changed,
							    .settled = on_settled,
							    .lost = on_lost,
							    .back = on_back,
							    .arg = w });
}

char *caller_watch_notification(struct caller *c)
{
	_cleanup_json_ json_t *params = NULL;
	json_t *added, *removed, *change;
	const char *key;
	void *next;
	size_t count = 0;

	if (c->watch == NULL || json_object_size(c->watch->changes) == 0)
		return NULL;
	added = json_array();
	removed = json_array();
	json_object_foreach_safe(c->watch->changes, next, key, change)
	{
		bool is_new = json_is_true(json_object_get(change, "added"));

		if (count++ == TOLD_MAX)
			break;
		json_array_append(is_new ? added : removed, json_object_get(change, "port"));
		json_object_del(c->watch->changes, key);
	}
	params = json_pack("{s:o, s:o}", "added", added, "removed", removed);
	return rpc_format_notification(METHOD_PORTS_CHANGED, params);
}

void caller_watch_stop(struct caller *c)
{
	struct caller_watch *w = c->watch;

	if (w == NULL)
		return;
	c->watch = NULL;
	pod_ports_stop(w->ports);
	json_decref(w->changes);
	free(w->pod);
	free(w->container_id);
	free(w);
}
