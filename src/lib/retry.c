/* SPDX-License-Identifier: MIT */
/*
 * DOC: Theory of Operation
 *
 * A pod is there until a dial finds that it is not (retry_lost()), or until one of its streams is cut and a look shows
 * it. From then on nobody dials: who would, waits in one queue, and one probe at a time asks the dialer for the pod, as
 * `vzfwd check` does (pod.ports: handle, container, netns), first after 50 ms and then at intervals that double up to a second,
 * with some jitter so that several programs on a host don't ask in step, but once in the time of each waiter. It asks for as long as somebody waits:
 * a pod that nobody wants costs nothing. An answer, whatever it says but that the pod is missing, means that
 * it is there; so does one that a dial under way still gets. Then the waiters dial, some at a time, so that
 * a thousand of them do not run over a dialer that has just started.
 *
 * A pod that is lost again as soon as it is dialed, though it was found, comes and goes: the intervals go on to double, and
 * that it is back is told only once it has stayed.
 *
 * A probe of its own, and not a waiter's dial, since clients leave when they like; and since what is asked of a
 * dialer that may be there or not must not be a thing that matters if it is done and the answer gets lost.
 */
#include "config.h"

#include <errno.h>
#include <event2/util.h>
#include <string.h>

#include "link.h"
#include "retry.h"

#define PAUSE_MIN_MS 50
#define PAUSE_MAX_MS 1000
#define PROBE_TIMEOUT_MS 5000 /* for its answer, once connected */
#define WAKE_AT_ONCE 32

struct retry {
	LIST_ENTRY(retry) next; /* loop->retries */
	struct loop *loop;
	unsigned holders;
	char *pods_dir, *pod_arg, *handle, *container_id;
	char *label; /* how the log names it */
	struct event_source source;
	bool seen; /* it was there at some time */
	bool lost;
	bool told;        /* that it is lost, and not yet that it is back */
	struct error err; /* how it was found missing the last time */
	int64_t since;    /* now_ms(): lost since then, as was told */
	int64_t found_at; /* now_ms(): it came back then, or 0 */
	bool unsteady;    /* it was lost again sooner than PAUSE_MAX_MS after that */
	TAILQ_HEAD(, retry_waiter) waiters; /* the one that came first is first */
	struct link *probe;                 /* under way */
	char *probe_handle;                 /* what it asks for */
	int64_t pause;                      /* before the probe after the next one */
	int64_t next_probe;                 /* not before this now_ms() */
	int64_t probed_at;                  /* when the last one was over */
	struct loop_task probing;           /* begins the next one */
	struct loop_task waking;
	struct loop_task settling; /* it is back, which is told if it stays */
};

static bool same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static char *copy(const char *text)
{
	return text != NULL ? xstrdup(text) : NULL;
}

struct retry *retry_get(struct loop *loop, const struct retry_pod *pod)
{
	struct retry *r;

	LIST_FOREACH (r, &loop->retries, next) {
		if (same(r->pods_dir, pod->pods_dir) && same(r->pod_arg, pod->pod_arg) &&
		    same(r->handle, pod->handle) && same(r->container_id, pod->container_id)) {
			r->holders++;
			return r;
		}
	}
	r = xcalloc(1, sizeof(*r));
	*r = (struct retry){ .loop = loop,
			     .holders = 1,
			     .pods_dir = copy(pod->pods_dir),
			     .pod_arg = xstrdup(pod->pod_arg),
			     .handle = copy(pod->handle),
			     .container_id = copy(pod->container_id),
			     .pause = PAUSE_MIN_MS };
	r->source = (struct event_source){ .events = pod->events, .pod = r->pod_arg };
	r->label = pod->container_id != NULL ? xasprintf("%s/%s", pod->pod_arg, pod->container_id)
					     : xstrdup(pod->pod_arg);
	TAILQ_INIT(&r->waiters);
	LIST_INSERT_HEAD(&loop->retries, r, next);
	return r;
}

static void probe_end(struct retry *r)
{
	link_free(r->probe);
	r->probe = NULL;
	free(r->probe_handle);
	r->probe_handle = NULL;
}

void retry_put(struct retry *r)
{
	if (r == NULL || --r->holders > 0)
		return;
	LIST_REMOVE(r, next);
	probe_end(r);
	loop_cancel(&r->probing);
	loop_cancel(&r->waking);
	loop_cancel(&r->settling);
	free(r->pods_dir);
	free(r->pod_arg);
	free(r->handle);
	free(r->container_id);
	free(r->label);
	free(r);
}

bool retry_is_loss(const struct error *err)
{
	switch (err->reason) {
	case REASON_NOT_FOUND:
	case REASON_NOT_RUNNING:
		return true;
	case REASON_UNREACHABLE:
	case REASON_TIMEOUT:
		return !err->answered;
	default:
		return false;
	}
}

static bool in_doubt(const struct retry *r)
{
	return r->lost || r->probe != NULL;
}

/* ms, give or take a fifth. */
static int64_t jitter(int64_t ms)
{
	uint16_t random;

	evutil_secure_rng_get_bytes(&random, sizeof(random));
	return ms * 4 / 5 + ms * 2 / 5 * random / UINT16_MAX;
}

static void postpone(struct retry *r)
{
	r->probed_at = now_ms();
	r->next_probe = r->probed_at + jitter(r->pause);
	r->pause = r->pause * 2 < PAUSE_MAX_MS ? r->pause * 2 : PAUSE_MAX_MS;
}

static void probe_start(void *arg);

/* The next probe, if anybody wants to know. */
static void probe_later(struct retry *r)
{
	int64_t now = now_ms();

	if (r->probe != NULL || r->probing.list != NULL || TAILQ_EMPTY(&r->waiters))
		return;
	if (now > r->next_probe + PAUSE_MAX_MS)
		r->pause = PAUSE_MIN_MS; /* nobody has asked for a while */
	loop_later(r->loop, &r->probing, now < r->next_probe ? r->next_probe - now : 0, probe_start,
		   r);
}

/* Whose time is up before the next probe gets one in the middle of it, if the last one was not just now. */
static void probe_before(struct retry *r, int64_t until)
{
	int64_t middle = now_ms() + (until - now_ms()) / 2, soonest = r->probed_at + PAUSE_MIN_MS;

	if (r->probe != NULL || r->next_probe < until)
		return;
	r->next_probe = middle > soonest ? middle : soonest;
	loop_cancel(&r->probing);
}

static void wake(void *arg)
{
	struct retry *r = arg;
	struct retry_waiter *w;

	r->holders++; /* who is woken may be the last one */
	for (int i = 0; i < WAKE_AT_ONCE && !in_doubt(r); i++) {
		w = TAILQ_FIRST(&r->waiters);
		if (w == NULL)
			break;
		retry_leave(w);
		w->done(w, NULL);
	}
	if (!in_doubt(r) && !TAILQ_EMPTY(&r->waiters))
		loop_later(r->loop, &r->waking, LOOP_SWEEP_MS, wake, r);
	retry_put(r);
}

void retry_lost(struct retry *r, const struct error *err)
{
	struct log_name name = { r->label, 0 };

	r->err = *err;
	loop_cancel(&r->waking);
	loop_cancel(&r->settling);
	if (!r->lost) {
		r->lost = true;
		r->unsteady = r->found_at != 0 && now_ms() - r->found_at <= PAUSE_MAX_MS;
		if (!r->unsteady)
			r->pause = PAUSE_MIN_MS;
		postpone(r);
	}
	if (!r->told) {
		r->told = true;
		r->since = now_ms();
		log_warning(&name, "%s: %s", r->seen ? "lost" : "not there yet", err->message);
		event_pod_lost(&r->source, err);
	}
	probe_later(r);
}

static void tell_back(void *arg)
{
	struct retry *r = arg;
	struct log_name name = { r->label, 0 };

	r->told = false;
	log_warning(&name, "%s after %.1f s", r->seen ? "back" : "there",
		    (double)(r->found_at - r->since) / 1000);
	event_pod_back(&r->source);
}

void retry_found(struct retry *r)
{
	probe_end(r);
	loop_cancel(&r->probing);
	if (r->lost) {
		r->found_at = now_ms();
		if (r->unsteady)
			loop_later(r->loop, &r->settling, PAUSE_MAX_MS, tell_back, r);
		else
			tell_back(r);
	}
	r->lost = false;
	r->seen = true;
	if (!TAILQ_EMPTY(&r->waiters) && r->waking.list == NULL)
		loop_later(r->loop, &r->waking, 0, wake, r);
}

static void probe_done(struct retry *r, const struct error *err)
{
	struct error copy;

	if (err != NULL)
		copy = *err;
	probe_end(r);
	if (err == NULL || !retry_is_loss(&copy)) {
		retry_found(r);
		return;
	}
	if (r->lost)
		postpone(r);
	retry_lost(r, &copy);
}

static void probe_answered(struct link *link, json_t *result, const struct error *err, void *arg)
{
	(void)link;
	(void)result;
	probe_done(arg, err);
}

static void probe_opened(struct link *link, const struct error *err, void *arg)
{
	struct retry *r = arg;

	if (err != NULL) {
		probe_done(r, err);
		return;
	}
	link_call(link, "pod.ports",
		  xcheck(json_pack("{s:s, s:s*}", "handle", r->probe_handle, "containerID",
				   r->container_id)),
		  PROBE_TIMEOUT_MS, probe_answered, r);
}

static void probe_start(void *arg)
{
	struct retry *r = arg;
	struct link_options options = { .name = { r->label, 0 } };
	struct pod pod;
	struct error err;

	if (pods_resolve(r->pods_dir, r->pod_arg, &pod, &err) < 0) {
		probe_done(r, &err);
		return;
	}
	r->probe_handle = xstrdup(r->handle != NULL ? r->handle : pod.handle);
	options.pod = &pod;
	r->probe = link_open(r->loop, &options, probe_opened, r);
	pod_clear(&pod);
}

bool retry_doubt(struct retry *r)
{
	if (in_doubt(r))
		return false;
	loop_cancel(&r->waking);
	error_set(&r->err, REASON_TIMEOUT, ETIMEDOUT, "the pod does not answer");
	probe_start(r);
	return true;
}

static void time_is_up(void *arg)
{
	struct retry_waiter *w = arg;
	struct error err = w->retry->err;

	retry_leave(w);
	w->done(w, &err);
}

bool retry_wait(struct retry *r, struct retry_waiter *w, int64_t until)
{
	int64_t left = until - now_ms();

	if (!in_doubt(r) || left <= 0)
		return false;
	w->retry = r;
	TAILQ_INSERT_TAIL(&r->waiters, w, next);
	if (until < INT64_MAX)
		loop_later(r->loop, &w->deadline, left, time_is_up, w);
	probe_before(r, until);
	probe_later(r);
	return true;
}

void retry_leave(struct retry_waiter *w)
{
	struct retry *r = w->retry;

	if (r == NULL)
		return;
	TAILQ_REMOVE(&r->waiters, w, next);
	loop_cancel(&w->deadline);
	w->retry = NULL;
	if (TAILQ_EMPTY(&r->waiters))
		loop_cancel(&r->probing);
}
