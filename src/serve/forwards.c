/* SPDX-License-Identifier: MIT */
/* Forwards that come and go at run time. They live as long as the server does. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "methods.h"
#include "report.h"

#define UNPRIVILEGED_PORT 1024

struct serve_forward {
	TAILQ_ENTRY(serve_forward) next;
	struct serve *serve;
	json_int_t id;
	struct authority owner;
	bool held;        /* it ends with its owner's connection */
	size_t listeners; /* in its share's */
	struct forward_spec spec;
	char *pod;
	char *container_id; /* NULL: the pod's own netns */
	struct forward *forward;
	size_t connections;
	bool removed; /* it listens no more; freed with its last connection */
	struct loop_task freeing;
	struct traffic before; /* of those that it has outlived, with the same labels in metrics */
};

static struct share *forward_share(const struct serve_forward *f)
{
	return &f->serve->shares[f->owner.kind];
}

/* It listens no more. */
static void forward_uncount(struct serve_forward *f)
{
	forward_share(f)->listeners -= f->listeners;
	f->listeners = 0;
}

/* Nothing more is to be told of it: it has neither listeners nor connections. */
static bool is_over(const struct serve_forward *f)
{
	return f->removed && f->connections == 0;
}

static bool same_labels(const struct serve_forward *a, const struct serve_forward *b)
{
	return strcmp(a->pod, b->pod) == 0 &&
	       strcmp(forward_listener(a->forward, 0), forward_listener(b->forward, 0)) == 0 &&
	       strcmp(forward_remote(a->forward), forward_remote(b->forward)) == 0;
}

static struct traffic all_traffic(const struct serve_forward *f)
{
	struct traffic traffic = forward_traffic(f->forward);

	traffic_add(&traffic, &f->before);
	return traffic;
}

/* Counters may end, but not go down: one that goes on under the same labels takes over what was counted. */
static void hand_over(const struct serve_forward *f)
{
	struct traffic traffic = all_traffic(f);
	struct serve_forward *other;

	TAILQ_FOREACH (other, &f->serve->forwards, next) {
		if (other != f && !is_over(other) && other->forward != NULL &&
		    same_labels(f, other)) {
			traffic_add(&other->before, &traffic);
			return;
		}
	}
}

static void forward_forget(struct serve_forward *f)
{
	TAILQ_REMOVE(&f->serve->forwards, f, next);
	forward_uncount(f);
	loop_cancel(&f->freeing);
	forward_free(f->forward);
	forward_spec_clear(&f->spec);
	free(f->pod);
	free(f->container_id);
	free(f);
}

static void forward_freeing(void *arg)
{
	struct serve_forward *f = arg;
	struct serve *serve = f->serve;

	hand_over(f);
	forward_forget(f);
	serve_check_idle(serve);
}

static void free_if_done(struct serve_forward *f)
{
	if (is_over(f))
		loop_later(f->serve->config.loop, &f->freeing, 0, forward_freeing, f);
}

static void on_accepted(struct forward *forward, void *arg)
{
	struct serve_forward *f = arg;

	(void)forward;
	f->connections++;
}

static void on_event(struct forward *forward, const struct connection_event *event, void *arg)
{
	struct serve_forward *f = arg;

	(void)forward;
	if (event->type == CONNECTION_OPENED)
		return;
	f->connections--;
	free_if_done(f);
}

/* Callers of other users get what nobody but the machine's own users can reach, and no privileged port. */
static int check_listener(const struct authority *caller, const char *method,
			  const struct forward_spec *spec, struct error *err)
{
	bool loopback = spec->bind_type == BIND_DEFAULT || spec->bind_type == BIND_LOCALHOST ||
			(spec->bind_type == BIND_ADDRESS && address_is_loopback(&spec->bind));

	if (caller->kind == CALLER_OWN ||
	    (loopback && (spec->local_port == 0 || spec->local_port >= UNPRIVILEGED_PORT)))
		return 0;
	return error_set(err, REASON_DENIED, EACCES,
			 "%s: other users may listen on loopback addresses and ports from %d",
			 method, UNPRIVILEGED_PORT);
}

/* The forward that a request names, if it is the caller's to take away. */
static int find_own(struct serve *serve, const struct authority *caller, const char *method,
		    json_int_t id, struct serve_forward **found, struct error *err)
{
	struct serve_forward *f;

	TAILQ_FOREACH (f, &serve->forwards, next) {
		if (f->id == id && !f->removed)
			break;
	}
	if (f == NULL)
		return error_set(err, REASON_NOT_FOUND, 0, "%s: there is no forward %lld", method,
				 (long long)id);
	if (caller->kind != CALLER_OWN && f->owner.uid != caller->uid)
		return error_set(err, REASON_DENIED, EPERM, "%s: forward %lld is somebody else's",
				 method, (long long)id);
	*found = f;
	return 0;
}

/* The one that `replaces` names, or NULL. */
static int find_predecessor(struct serve_forward *f, const char *method,
			    const struct rpc_params *params, const struct forward **predecessor,
			    struct error *err)
{
	struct serve_forward *old;
	json_int_t id;
	int rc = rpc_get_integer(params, "replaces", &id);

	*predecessor = NULL;
	if (rc == 0)
		return 0;
	if (rc < 0)
		return error_set(err, REASON_INVALID, 0, "%s: replaces must be an integer", method);
	rc = find_own(f->serve, &f->owner, method, id, &old, err);
	if (rc < 0)
		return rc;
	if (!forward_spec_same_local(&old->spec, &f->spec))
		return error_set(err, REASON_INVALID, 0,
				 "%s: forward %lld does not listen at the same place", method,
				 (long long)id);
	*predecessor = old->forward;
	return 0;
}

static int parse_forward(const struct authority *caller, const char *method,
			 const struct rpc_params *params, struct serve_forward *f, int *timeout_ms,
			 struct error *err)
{
	const char *listen, *container_id;
	struct port_target target;

	if (rpc_get_string(method, params, "containerID", false, &container_id, err) < 0 ||
	    rpc_get_port_target(method, params, FRAMING_RECORDS, &target, err) < 0 ||
	    rpc_get_string(method, params, "listen", true, &listen, err) < 0 ||
	    rpc_get_boolean(method, params, "held", &f->held, err) < 0)
		return -EINVAL;
	if (container_id != NULL && !name_is_valid(container_id))
		return error_set(err, REASON_INVALID, EINVAL, "%s: not a container ID: %s", method,
				 container_id);
	if (listener_parse(&f->spec, listen, err) < 0)
		return error_prefix(err, "%s", method);
	f->container_id = container_id != NULL ? xstrdup(container_id) : NULL;
	f->spec.network = target.network;
	f->spec.remote = target.addr;
	if (target.network == NETWORK_UNIX)
		f->spec.remote_path = xstrdup(target.path);
	*timeout_ms = target.timeout_ms;
	return check_listener(caller, method, &f->spec, err);
}

static int open_forward(struct serve_forward *f, const char *method, int timeout_ms,
			const struct forward *predecessor, struct error *err)
{
	struct serve *serve = f->serve;
	const struct forward_bind localhost = { .type = BIND_LOCALHOST };
	const struct forward_config config = {
		.pods_dir = serve->config.pods_dir,
		.pod_arg = f->pod,
		.container_id = f->container_id,
		.policy = serve->config.policy,
		.timeout_ms = timeout_ms,
		.retry_ms = serve->config.retry_ms,
		.spec = &f->spec,
		.predecessor = predecessor,
		.limit = &forward_share(f)->connections,
		.events = serve->config.events,
		.last_id = &serve->last_id,
		.accepted = on_accepted,
		.event = on_event,
		.arg = f,
	};

	f->forward = forward_new(serve->config.loop, &config, &localhost, 1, err);
	return f->forward == NULL ? error_prefix(err, "%s", method) : 0;
}

/* {"id":…,"listen":…,"listeners":[…]} */
static json_t *added_to_json(const struct serve_forward *f)
{
	return json_pack("{s:I, s:o, s:o}", "id", f->id, "listen",
			 rpc_system_string(forward_listener(f->forward, 0)), "listeners",
			 forward_listeners(f->forward));
}

int forwards_add(struct serve *serve, const struct authority *caller, const char *method,
		 const struct rpc_params *params, json_t **result, struct error *err)
{
	struct share *share = &serve->shares[caller->kind];
	const struct forward *predecessor;
	struct serve_forward *f;
	struct pod pod;
	int timeout_ms = TIMEOUT_MS_DEFAULT, rc;

	/* One forward has two at most. */
	if (share->listeners + 2 > share->listeners_max)
		return error_set(err, REASON_EXHAUSTED, 0,
				 "%s: %zu listeners: no more until one is removed", method,
				 share->listeners);
	/* The pod has to be known, but need not be reachable yet. */
	rc = method_pod(serve, method, params, "pod", &pod, err);
	if (rc < 0)
		return rc;
	f = xcalloc(1, sizeof(*f));
	f->serve = serve;
	f->owner = *caller;
	f->pod = xstrdup(pod.name);
	pod_clear(&pod);
	TAILQ_INSERT_TAIL(&serve->forwards, f, next);
	rc = parse_forward(caller, method, params, f, &timeout_ms, err);
	if (rc == 0)
		rc = find_predecessor(f, method, params, &predecessor, err);
	if (rc == 0)
		rc = open_forward(f, method, timeout_ms, predecessor, err);
	if (rc < 0) {
		forward_forget(f);
		return rc;
	}
	while (forward_listener(f->forward, f->listeners) != NULL)
		f->listeners++;
	share->listeners += f->listeners;
	f->id = (json_int_t)++serve->last_forward;
	log_info(NULL, "forward %lld: %s -> %s:%s", (long long)f->id,
		 forward_listener(f->forward, 0), f->pod, forward_remote(f->forward));
	*result = added_to_json(f);
	return 0;
}

static void forward_remove(struct serve_forward *f)
{
	forward_stop(f->forward);
	forward_uncount(f);
	f->removed = true;
	free_if_done(f);
}

int forwards_remove(struct serve *serve, const struct authority *caller, const char *method,
		    const struct rpc_params *params, json_t **result, struct error *err)
{
	struct serve_forward *f;
	json_int_t id;
	int rc;

	if (rpc_get_integer(params, "id", &id) != 1)
		return error_set(err, REASON_INVALID, 0, "%s: id must be an integer", method);
	rc = find_own(serve, caller, method, id, &f, err);
	if (rc < 0)
		return rc;
	forward_remove(f);
	*result = json_object();
	return 0;
}

void forwards_release(struct serve *serve, const struct authority *caller)
{
	struct serve_forward *f;

	TAILQ_FOREACH (f, &serve->forwards, next) {
		if (f->held && f->owner.connection == caller->connection && !f->removed)
			forward_remove(f);
	}
}

int forwards_list(struct serve *serve, const struct authority *caller, const char *method,
		  const struct rpc_params *params, json_t **result, struct error *err)
{
	json_t *array = json_array();
	struct serve_forward *f;

	(void)caller;
	(void)method;
	(void)params;
	(void)err;
	TAILQ_FOREACH (f, &serve->forwards, next) {
		_cleanup_json_ json_t *more = NULL;
		json_t *item;

		if (is_over(f))
			continue;
		item = json_pack("{s:I}", "id", f->id);
		if (f->removed)
			json_object_set_new(item, "removed", json_true());
		more = forward_to_json(f->forward);
		json_object_update(item, more);
		json_array_append_new(array, item);
	}
	*result = report_result("serve", array);
	return 0;
}

void forwards_each(const struct serve *serve, traffic_cb cb, void *arg)
{
	const struct serve_forward *f;

	TAILQ_FOREACH (f, &serve->forwards, next) {
		struct traffic traffic = all_traffic(f);

		if (!is_over(f))
			cb(f->pod, forward_listener(f->forward, 0), forward_remote(f->forward),
			   &traffic, arg);
	}
}

void forwards_stop(struct serve *serve)
{
	struct serve_forward *f;

	TAILQ_FOREACH (f, &serve->forwards, next) {
		if (!f->removed)
			forward_stop(f->forward);
		f->removed = true;
		forward_abort(f->forward);
		free_if_done(f);
	}
}

void forwards_clear(struct serve *serve)
{
	struct serve_forward *f;

	while ((f = TAILQ_FIRST(&serve->forwards)) != NULL)
		forward_forget(f);
}
