/* SPDX-License-Identifier: MIT */
/*
 * DOC: Theory of Operation
 *
 * Each pod that is watched has the list of its ports as it was when it was last looked at, and each watch holds on to
 * the one that its peer was last told of. Lists are shared and don't change, so a watch whose peer is slow costs one old list
 * at most, and what it takes in the end is the difference of two lists, however much has happened in between.
 *
 * All pods are looked at in one go. The time until the next one is a hundred times the processor time that this one
 * took, between LOOK_MIN_MS and LOOK_MAX_MS. Sockets that go away could be had from the kernel
 * (SKNLGRP_INET_TCP_DESTROY), but so would be each connection of the pod's, and it has nothing for those that come.
 *
 * Whose sockets they are is found apart from that, by going through the processes for no more than MATCH_MS at a time, one pod
 * at a time, and no sooner again than a hundred times the processor time of it after: what is cheap is told with
 * the ports, and on a large machine they come without it.
 *
 * The netns is opened anew for each look: one that was kept open would outlive its pod, and a pod that is started again has
 * another one.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "lib/log.h"
#include "lib/rpc.h"
#include "ports.h"
#include "ports-watch.h"

#define WATCHES_MAX 64
#define WATCHED_PORTS_MAX 2400 /* as many that are new, and as many that are gone, fit one line */

#define LOOK_MIN_MS 200
#define LOOK_MAX_MS 900 /* and the loop's sweep, and the way to the host: within a second */
#define LOOK_SHARE 100  /* of the processor's time: a hundredth, and one for the processes */
#define MATCH_MS 20

_Static_assert(2 * WATCHED_PORTS_MAX * PORT_JSON_MAX + RPC_LINE_MAX <= RPC_ANSWER_MAX,
	       "a notification is a line that hosts read");

struct watched {
	TAILQ_ENTRY(watched) next;
	struct port_watches *watches;
	char *handle, *container_id; /* NULL: none */
	struct port_list *list;
	bool over;       /* it has become too large to be watched */
	int64_t matched; /* now_ms() when it was last this one's turn */
	bool stuck;      /* it could not be looked at, which was told */
	TAILQ_HEAD(, port_watch) all;
};

struct port_watch {
	TAILQ_ENTRY(port_watch) next;
	struct watched *watched;
	struct port_list *told;
	struct loop_task task;
	void (*changed)(void *arg);
	void *arg;
};

struct port_watches {
	struct loop *loop;
	struct netns_source *source;
	const struct accepts *accepts; /* whose sockets are not the pods' */
	TAILQ_HEAD(, watched) pods;
	size_t count; /* of struct port_watch */
	struct loop_task look;
	int64_t next_match; /* not before this now_ms() */
};

struct port_watches *port_watches_new(struct loop *loop, struct netns_source *source,
				      const struct accepts *accepts)
{
	struct port_watches *watches = xcalloc(1, sizeof(*watches));

	watches->loop = loop;
	watches->source = source;
	watches->accepts = accepts;
	TAILQ_INIT(&watches->pods);
	return watches;
}

void port_watches_free(struct port_watches *watches)
{
	loop_cancel(&watches->look);
	free(watches);
}

static int64_t thread_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void watch_tell(void *arg)
{
	struct port_watch *watch = arg;

	watch->changed(watch->arg);
}

static void watched_tell(struct watched *pod)
{
	struct port_watch *watch;

	TAILQ_FOREACH (watch, &pod->all, next) {
		if (watch->changed != NULL)
			loop_later(pod->watches->loop, &watch->task, 0, watch_tell, watch);
	}
}

/* Takes the list over. */
static void watched_set(struct watched *pod, struct port_list *list)
{
	port_list_unref(pod->list);
	pod->list = list;
	watched_tell(pod);
}

/* What there is in `ns` now. */
static int watched_look_into(struct watched *pod, struct netns *ns, struct error *err)
{
	struct port_list *list;
	_cleanup_json_ json_t *changes = NULL;
	int rc = port_list_get(ns, pod->watches->accepts, pod->list, &list, err);

	if (rc < 0)
		return rc;
	if (port_list_count(list) > WATCHED_PORTS_MAX) {
		port_list_unref(list);
		return error_set(err, REASON_EXHAUSTED, 0, "more than %d ports are not watched",
				 WATCHED_PORTS_MAX);
	}
	changes = port_list_changes(pod->list, list);
	if (changes != NULL) {
		watched_set(pod, list);
	} else {
		port_list_unref(pod->list);
		pod->list = list;
	}
	return 0;
}

static void watched_look(struct watched *pod)
{
	struct log_name name = { pod->container_id != NULL ? pod->container_id : pod->handle, 0 };
	struct netns *ns;
	struct error err;
	int rc = netns_open(pod->watches->source, pod->handle, pod->container_id, &ns, &err);

	if (rc == 0) {
		rc = watched_look_into(pod, ns, &err);
		netns_close(ns);
	} else if (err.reason == REASON_NOT_RUNNING || err.reason == REASON_NOT_FOUND) {
		rc = 0;
		if (port_list_count(pod->list) > 0)
			watched_set(pod, port_list_new());
	}
	if (rc < 0 && !pod->stuck)
		log_warning(&name, "its ports cannot be watched: %s", err.message);
	pod->stuck = rc < 0;
	/* Its watches end: who opens them anew is told why that can't be. */
	pod->over = rc < 0 && err.reason == REASON_EXHAUSTED;
	if (pod->over)
		watched_tell(pod);
}

static void watches_match(struct port_watches *watches)
{
	struct watched *pod, *turn = NULL;
	int64_t began = thread_us();
	struct netns *ns;
	struct error err;

	if (now_ms() < watches->next_match)
		return;
	TAILQ_FOREACH (pod, &watches->pods, next) {
		if (!port_list_is_matched(pod->list) &&
		    (turn == NULL || pod->matched < turn->matched))
			turn = pod;
	}
	if (turn == NULL)
		return;
	turn->matched = now_ms();
	if (netns_open(watches->source, turn->handle, turn->container_id, &ns, &err) < 0)
		return;
	port_list_match(turn->list, ns, MATCH_MS);
	netns_close(ns);
	watches->next_match = now_ms() + (thread_us() - began) * LOOK_SHARE / 1000;
}

static void watches_look(void *arg)
{
	struct port_watches *watches = arg;
	int64_t began = thread_us(), ms;
	struct watched *pod;

	TAILQ_FOREACH (pod, &watches->pods, next)
		watched_look(pod);
	ms = (thread_us() - began) * LOOK_SHARE / 1000;
	if (ms < LOOK_MIN_MS)
		ms = LOOK_MIN_MS;
	if (ms > LOOK_MAX_MS)
		ms = LOOK_MAX_MS;
	watches_match(watches);
	loop_later(watches->loop, &watches->look, ms, watches_look, watches);
}

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void watched_free_unused(struct watched *pod)
{
	if (!TAILQ_EMPTY(&pod->all))
		return;
	TAILQ_REMOVE(&pod->watches->pods, pod, next);
	port_list_unref(pod->list);
	free(pod->handle);
	free(pod->container_id);
	free(pod);
}

static struct watched *watched_get(struct port_watches *watches, const char *handle,
				   const char *container_id)
{
	struct watched *pod;

	/* Where every handle is the one pod, it is that one whoever asks. */
	if (netns_source_has_one(watches->source))
		handle = "pod";
	TAILQ_FOREACH (pod, &watches->pods, next) {
		if (strcmp(pod->handle, handle) == 0 && same_text(pod->container_id, container_id))
			return pod;
	}
	pod = xcalloc(1, sizeof(*pod));
	pod->watches = watches;
	pod->handle = xstrdup(handle);
	pod->container_id = container_id != NULL ? xstrdup(container_id) : NULL;
	pod->list = port_list_new();
	TAILQ_INIT(&pod->all);
	TAILQ_INSERT_TAIL(&watches->pods, pod, next);
	return pod;
}

int port_watch_new(struct port_watches *watches, const char *handle, const char *container_id,
		   struct netns *ns, struct port_watch **out, json_t **ports, struct error *err)
{
	struct port_watch *watch;
	struct watched *pod;
	int rc;

	if (watches->count >= WATCHES_MAX)
		return error_set(err, REASON_EXHAUSTED, 0, "more than %d watches", WATCHES_MAX);
	pod = watched_get(watches, handle, container_id);
	rc = watched_look_into(pod, ns, err);
	if (rc == 0 && !port_list_is_matched(pod->list))
		port_list_match(pod->list, ns, PORT_LIST_MATCH_MS);
	if (rc == 0)
		rc = port_list_json(pod->list, ports, err);
	if (rc < 0) {
		watched_free_unused(pod);
		return rc;
	}
	json_object_set_new(*ports, "watch", json_true());
	watch = xcalloc(1, sizeof(*watch));
	watch->watched = pod;
	watch->told = port_list_ref(pod->list);
	TAILQ_INSERT_TAIL(&pod->all, watch, next);
	if (watches->count++ == 0)
		loop_later(watches->loop, &watches->look, LOOK_MIN_MS, watches_look, watches);
	*out = watch;
	return 0;
}

void port_watch_listen(struct port_watch *watch, void (*changed)(void *arg), void *arg)
{
	watch->changed = changed;
	watch->arg = arg;
	loop_later(watch->watched->watches->loop, &watch->task, 0, watch_tell, watch);
}

bool port_watch_is_over(const struct port_watch *watch)
{
	return watch->watched->over;
}

json_t *port_watch_take(struct port_watch *watch)
{
	json_t *changes = port_list_changes(watch->told, watch->watched->list);

	port_list_unref(watch->told);
	watch->told = port_list_ref(watch->watched->list);
	return changes;
}

void port_watch_free(struct port_watch *watch)
{
	struct port_watches *watches;

	if (watch == NULL)
		return;
	watches = watch->watched->watches;
	loop_cancel(&watch->task);
	TAILQ_REMOVE(&watch->watched->all, watch, next);
	watched_free_unused(watch->watched);
	port_list_unref(watch->told);
	free(watch);
	if (--watches->count == 0)
		loop_cancel(&watches->look);
}
