/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "forwarding.h"
#include "lib/relay.h"
#include "report.h"

/* Descriptors that are not connections': listeners, the registry, a look into a netns. */
#define SPARE_FDS 16
/* How long forwarding_finish() waits for what was sent to be taken. */
#define FINISH_MS 5000

int forwarding_init(struct forwarding *f, struct error *err)
{
	int rc = loop_init(&f->loop);

	TAILQ_INIT(&f->forwards);
	accept_limit_init(&f->limit, 0);
	if (rc < 0)
		return error_set(err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
	relay_bulk_init(&f->loop);
	return 0;
}

int forwarding_pod(const struct cli *cli, const char *pod_arg, const char *handle, char **dir,
		   char **arg, struct error *err)
{
	struct pod pod;
	int rc = command_pod(cli, pod_arg, handle, &pod, err);

	if (rc < 0)
		return rc;
	if (pod.endpoint.type == ENDPOINT_FD)
		rc = error_set(err, REASON_INVALID, EINVAL, "fd: endpoints are for dial alone");
	*arg = pod.name != NULL ? xstrdup(pod.name) : endpoint_format(&pod.endpoint);
	*dir = pod.name != NULL ? pods_dir(cli->pods_dir, err) : NULL;
	pod_clear(&pod);
	return rc;
}

struct waiting {
	struct retry_waiter waiter;
	struct loop *loop;
};

static void on_there(struct retry_waiter *waiter, const struct error *err)
{
	(void)err;
	loop_stop(container_of(waiter, struct waiting, waiter)->loop);
}

int forwarding_wait(struct forwarding *f, const struct cli *cli, const char *pod_arg,
		    const char *handle, const char *container_id, struct error *err)
{
	_cleanup_free_ char *dir = NULL, *arg = NULL;
	struct waiting waiting = { .waiter.done = on_there, .loop = &f->loop };
	int rc = forwarding_pod(cli, pod_arg, handle, &dir, &arg, err);

	if (pod_arg == NULL)
		pod_arg = getenv("VZFWD_POD");
	if (rc < 0 && (pod_arg == NULL || *pod_arg == '\0' || !retry_is_loss(err)))
		return rc;
	if (rc < 0) {
		free(dir);
		dir = pods_dir(cli->pods_dir, err);
		if (dir == NULL)
			return -EPROTO;
		arg = xstrdup(pod_arg);
	}
	f->awaited = retry_get(&f->loop,
			       &(struct retry_pod){ dir, arg, handle, container_id, f->events });
	retry_doubt(f->awaited);
	if (retry_wait(f->awaited, &waiting.waiter, INT64_MAX))
		rc = loop_run(&f->loop);
	else
		rc = 0;
	retry_leave(&waiting.waiter);
	return rc < 0 ? error_set(err, REASON_INTERNAL, -rc, "the event loop failed") : 0;
}

int forwarding_events(struct forwarding *f, const char *where, struct error *err)
{
	if (where == NULL)
		return 0;
	f->events = events_open(&f->loop, where, err);
	return f->events != NULL ? 0 : -EPROTO;
}

static void forwarded_free(struct forwarded *one)
{
	TAILQ_REMOVE(&one->forwarding->forwards, one, next);
	loop_cancel(&one->freeing);
	forward_free(one->forward);
	forward_spec_clear(&one->spec);
	free((char *)one->config.pods_dir);
	free((char *)one->config.pod_arg);
	free((char *)one->config.handle);
	free((char *)one->config.container_id);
	free(one);
}

static void forwarded_freeing(void *arg)
{
	forwarded_free(arg);
}

static void free_if_done(struct forwarded *one)
{
	if (one->removed && one->connections == 0)
		loop_later(&one->forwarding->loop, &one->freeing, 0, forwarded_freeing, one);
}

static void stop_if_done(struct forwarding *f)
{
	if (f->stopping && f->limit.count == 0)
		loop_stop(&f->loop);
}

static void on_accepted(struct forward *forward, void *arg)
{
	struct forwarded *one = arg;

	(void)forward;
	one->connections++;
	if (one->forwarding->accepted != NULL)
		one->forwarding->accepted(one);
}

static void on_event(struct forward *forward, const struct connection_event *event, void *arg)
{
	struct forwarded *one = arg;

	(void)forward;
	if (event->type == CONNECTION_OPENED)
		return;
	one->connections--;
	free_if_done(one);
	stop_if_done(one->forwarding);
}

static const char *copy_text(const char *text)
{
	return text != NULL ? xstrdup(text) : NULL;
}

struct forwarded *forwarding_add(struct forwarding *f, const struct forward_config *config,
				 struct forward_spec *spec, const struct forward_bind *binds,
				 size_t bind_count, struct error *err)
{
	const struct forward_bind localhost = { .type = BIND_LOCALHOST };
	struct forwarded *one = xcalloc(1, sizeof(*one));

	TAILQ_INSERT_TAIL(&f->forwards, one, next);
	one->forwarding = f;
	one->spec = *spec;
	one->config = *config;
	one->config.pods_dir = copy_text(config->pods_dir);
	one->config.pod_arg = copy_text(config->pod_arg);
	one->config.handle = copy_text(config->handle);
	one->config.container_id = copy_text(config->container_id);
	one->config.spec = &one->spec;
	one->config.limit = &f->limit;
	one->config.events = f->events;
	one->config.last_id = &f->last_id;
	one->config.accepted = on_accepted;
	one->config.event = on_event;
	one->config.arg = one;
	one->forward = forward_new(&f->loop, &one->config, bind_count > 0 ? binds : &localhost,
				   bind_count > 0 ? bind_count : 1, err);
	if (one->forward == NULL) {
		memset(&one->spec, 0, sizeof(one->spec)); /* it stays the caller's */
		forwarded_free(one);
		return NULL;
	}
	one->config.predecessor = NULL;
	memset(spec, 0, sizeof(*spec));
	return one;
}

void forwarding_say(const struct forwarded *one)
{
	const char *local;

	for (size_t i = 0; (local = forward_listener(one->forward, i)) != NULL; i++)
		command_say(xasprintf("Forwarding from %s -> %s\n", local,
				      forward_remote(one->forward)));
}

void forwarding_remove(struct forwarded *one)
{
	if (!one->removed)
		forward_stop(one->forward);
	one->removed = true;
	free_if_done(one);
}

void forwarding_limit(struct forwarding *f, uint64_t wanted)
{
	/* Those that there are have their descriptors already. */
	f->limit.max = forward_connections_max(wanted, SPARE_FDS + f->reserved) + f->limit.count;
}

void forwarding_stop(struct forwarding *f)
{
	struct forwarded *one;

	TAILQ_FOREACH (one, &f->forwards, next) {
		forwarding_remove(one);
		forward_abort(one->forward);
	}
	f->stopping = true;
	stop_if_done(f);
}

static void finish_step(void *arg)
{
	struct forwarding *f = arg;
	struct forwarded *one;

	if (now_ms() >= f->finish_until) {
		forwarding_stop(f);
		forwarding_stop(f); /* once more: at once */
		return;
	}
	TAILQ_FOREACH (one, &f->forwards, next)
		forward_abort_silent(one->forward);
	loop_later(&f->loop, &f->finishing, LOOP_SWEEP_MS, finish_step, f);
	stop_if_done(f);
}

void forwarding_finish(struct forwarding *f)
{
	struct forwarded *one;

	TAILQ_FOREACH (one, &f->forwards, next)
		forwarding_remove(one);
	f->stopping = true;
	f->finish_until = now_ms() + FINISH_MS;
	finish_step(f);
}

void forwarding_on_signal(int number, short what, void *arg)
{
	(void)number;
	(void)what;
	forwarding_stop(arg);
}

static json_t *list_forwards(void *arg)
{
	struct forwarding *f = arg;
	json_t *array = json_array();
	struct forwarded *one;
	json_t *item;

	TAILQ_FOREACH (one, &f->forwards, next) {
		if (one->removed && one->connections == 0)
			continue;
		item = forward_to_json(one->forward);
		if (one->removed)
			json_object_set_new(item, "removed", json_true());
		json_array_append_new(array, item);
	}
	return array;
}

void forwarding_report(struct forwarding *f, const char *command)
{
	f->report = report_open(&f->loop, command, list_forwards, f);
}

int forwarding_run(struct forwarding *f, struct error *err)
{
	int rc = f->stopping ? 0 : loop_run(&f->loop);

	events_end(f->events);
	if (rc < 0)
		return error_set(err, REASON_INTERNAL, 0, "the event loop failed");
	return 0;
}

void forwarding_clear(struct forwarding *f)
{
	struct forwarded *one;

	signals_release(&f->signals);
	loop_cancel(&f->finishing);
	while ((one = TAILQ_FIRST(&f->forwards)) != NULL)
		forwarded_free(one);
	retry_put(f->awaited);
	events_close(f->events);
	report_close(f->report);
	relay_bulk_clear(&f->loop);
	if (f->loop.base != NULL)
		loop_run(&f->loop); /* ends exec: endpoints' commands */
	loop_clear(&f->loop);
}
