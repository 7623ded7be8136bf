/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "call.h"
#include "lib/retry.h"
#include "pod-ports.h"

#define PORTS_MAX 4096 /* a dialer tells of no more than 2400 */
#define ANSWER_MS 5000
#define RETRY_MIN_MS 250
#define RETRY_MAX_MS 4000
#define STEADY_MS 10000 /* a link that lived as long may be opened anew without a longer pause */

struct port_array {
	struct pod_port *ports;
	size_t count;
};

struct pod_ports {
	struct pod_ports_config config;
	char *label;
	char *handle; /* that the link asks for */
	struct link *link;
	bool local, started;
	bool lost;    /* which was told, */
	bool missing; /* and that it was the pod */
	struct port_array now;
	int64_t answered; /* now_ms() */
	int retry_ms;
	struct loop_task retry;
};

static int port_compare(const void *a, const void *b)
{
	const struct pod_port *pa = a, *pb = b;
	int rc = (int)pa->network - (int)pb->network;

	if (rc == 0)
		rc = (int)pa->addr.port - (int)pb->addr.port;
	if (rc == 0)
		rc = (int)pa->addr.family - (int)pb->addr.family;
	return rc != 0 ? rc : memcmp(&pa->addr.v6, &pb->addr.v6, sizeof(pa->addr.v6));
}

static void array_clear(struct port_array *array)
{
	for (size_t i = 0; i < array->count; i++)
		free(array->ports[i].process);
	free(array->ports);
	*array = (struct port_array){ 0 };
}

/* What the dialer said of one; what can't be meant is left out. Its process is the caller's. */
static bool port_read(json_t *item, struct pod_port *port)
{
	struct call_port told;
	int family;

	memset(port, 0, sizeof(*port));
	if (!call_port_get(item, &told))
		return false;
	family = strchr(told.address, ':') != NULL ? AF_INET6 : AF_INET;
	if (strcmp(told.network, "udp") == 0)
		port->network = NETWORK_UDP;
	else if (strcmp(told.network, "tcp") == 0)
		port->network = NETWORK_TCP;
	else
		return false;
	port->addr.family = (sa_family_t)family;
	port->addr.port = told.port;
	if (inet_pton(family, told.address, &port->addr.v6) != 1)
		return false;
	port->pid = told.pid;
	port->process = told.process ? escape_bytes(told.process, strlen(told.process)) : NULL;
	return true;
}

/* Adds what a JSON array has, and sorts. */
static void array_add(struct port_array *array, json_t *json)
{
	json_t *item;
	size_t i, kept = 0;

	array->ports = xrealloc(array->ports,
				(array->count + json_array_size(json) + 1) * sizeof(*array->ports));
	json_array_foreach (json, i, item) {
		if (array->count < PORTS_MAX && port_read(item, &array->ports[array->count]))
			array->count++;
	}
	qsort(array->ports, array->count, sizeof(*array->ports), port_compare);
	for (i = 0; i < array->count; i++) {
		if (kept > 0 && port_compare(&array->ports[i], &array->ports[kept - 1]) == 0)
			free(array->ports[i].process);
		else
			array->ports[kept++] = array->ports[i];
	}
	array->count = kept;
}

/* What is in `from` and not in the JSON array. */
static void array_subtract(struct port_array *array, const struct port_array *from, json_t *json)
{
	struct port_array gone = { 0 };

	array_add(&gone, json);
	array->ports = xcalloc(from->count + 1, sizeof(*array->ports));
	for (size_t i = 0; i < from->count; i++) {
		const struct pod_port *port = &from->ports[i];

		if (gone.count > 0 &&
		    bsearch(port, gone.ports, gone.count, sizeof(*port), port_compare) != NULL)
			continue;
		array->ports[array->count] = *port;
		if (port->process != NULL)
			array->ports[array->count].process = xstrdup(port->process);
		array->count++;
	}
	array_clear(&gone);
}

/* Tells what is in `these` and not in `those`. */
static void tell_difference(struct pod_ports *p, const struct port_array *these,
			    const struct port_array *those, bool added)
{
	for (size_t i = 0; i < these->count; i++) {
		const struct pod_port *port = &these->ports[i];

		if (those->count == 0 ||
		    bsearch(port, those->ports, those->count, sizeof(*port), port_compare) == NULL)
			p->config.changed(port, added, p->config.arg);
	}
}

/* Takes the array over: from now on that is what there is. */
static void ports_set(struct pod_ports *p, struct port_array *array)
{
	struct port_array before = p->now;

	p->now = *array;
	if (p->config.changed != NULL) {
		tell_difference(p, &before, &p->now, false);
		tell_difference(p, &p->now, &before, true);
	}
	array_clear(&before);
	if (p->config.settled != NULL)
		p->config.settled(p->config.arg);
}

static void ports_open(void *arg);

static void ports_reopen(struct pod_ports *p)
{
	link_free(p->link);
	p->link = NULL;
	loop_later(p->config.loop, &p->retry, p->retry_ms, ports_open, p);
	p->retry_ms = p->retry_ms * 2 < RETRY_MAX_MS ? p->retry_ms * 2 : RETRY_MAX_MS;
}

static void ports_lost(struct pod_ports *p, const struct error *err)
{
	bool missing = retry_is_loss(err);

	ports_reopen(p);
	if (p->lost && p->missing == missing)
		return;
	p->lost = true;
	p->missing = missing;
	if (p->config.lost != NULL)
		p->config.lost(err, p->config.arg);
}

static void on_notified(struct link *link, json_t *params, const struct error *err, void *arg)
{
	struct pod_ports *p = arg;
	struct port_array array = { 0 };
	struct error copy;

	(void)link;
	if (err != NULL) {
		copy = *err;
		if (now_ms() - p->answered >= STEADY_MS)
			p->retry_ms = RETRY_MIN_MS;
		if (retry_is_loss(&copy))
			ports_reopen(p); /* whose outcome tells more */
		else
			ports_lost(p, &copy);
		return;
	}
	array_subtract(&array, &p->now, json_object_get(params, "removed"));
	array_add(&array, json_object_get(params, "added"));
	ports_set(p, &array);
}

static void on_answer(struct link *link, json_t *result, const struct error *err, void *arg)
{
	struct pod_ports *p = arg;
	struct port_array array = { 0 };
	struct error failed;
	json_t *ports = NULL;

	if (err != NULL)
		failed = *err;
	else if ((ports = call_ports(result, &failed)) != NULL &&
		 !json_is_true(json_object_get(result, "watch")))
		error_set(&failed, REASON_UNSUPPORTED, 0,
			  "the dialer cannot watch ports: it needs a newer vzfwd-guest");
	if (ports == NULL || !json_is_true(json_object_get(result, "watch"))) {
		ports_lost(p, &failed);
		return;
	}
	link_notify(link, METHOD_PORTS_CHANGED, on_notified, p);
	p->answered = now_ms();
	if (p->lost || !p->started)
		p->config.back(p->config.arg);
	p->lost = false;
	p->started = true;
	array_add(&array, ports);
	ports_set(p, &array);
}

static void on_opened(struct link *link, const struct error *err, void *arg)
{
	struct pod_ports *p = arg;
	struct error copy;
	json_t *params;

	if (err != NULL) {
		copy = *err;
		ports_lost(p, &copy);
		return;
	}
	params = call_pod_params(p->handle, p->config.container_id);
	json_object_set_new(params, "watch", json_true());
	link_call(link, METHOD_PORTS, params, ANSWER_MS, on_answer, p);
}

static void ports_open(void *arg)
{
	struct pod_ports *p = arg;
	struct link_options options = { .policy = p->config.policy, .name = { p->label, 0 } };
	struct pod pod;
	struct error err;

	if (pods_resolve(p->config.pods_dir, p->config.pod_arg, &pod, &err) < 0) {
		ports_lost(p, &err);
		return;
	}
	free(p->handle);
	p->handle = xstrdup(p->config.handle != NULL ? p->config.handle : pod.handle);
	p->local = link_is_local(&pod.endpoint);
	options.pod = &pod;
	p->link = link_open(p->config.loop, &options, on_opened, p);
	pod_clear(&pod);
}

struct pod_ports *pod_ports_start(const struct pod_ports_config *config)
{
	struct pod_ports *p = xcalloc(1, sizeof(*p));

	p->config = *config;
	p->label = xasprintf("%s:ports", config->pod_arg);
	p->retry_ms = RETRY_MIN_MS;
	loop_later(config->loop, &p->retry, 0, ports_open, p);
	return p;
}

const struct pod_port *pod_ports_get(const struct pod_ports *p, size_t *count)
{
	*count = p->now.count;
	return p->now.ports;
}

bool pod_ports_is_local(const struct pod_ports *p)
{
	return p->local;
}

void pod_ports_stop(struct pod_ports *p)
{
	if (p == NULL)
		return;
	loop_cancel(&p->retry);
	link_free(p->link);
	array_clear(&p->now);
	free(p->label);
	free(p->handle);
	free(p);
}
