/* SPDX-License-Identifier: MIT */
/*
 * DOC: Theory of Operation
 *
 * As many links as are wanted are kept open: one that has its client is followed by another once that client is led on. When the last one
 * that waited is taken, clients may have to wait in the pod: then others are opened first, and the number that is wanted doubles, up to the
 * limit; when half of them would have done for DECAY_MS it is halved. Those that are too many then are not closed (a client may be
 * on its way to one), they are not replaced. A link that was but the way to the client's own socket (netns:, pid:) is not
 * replaced: it waits for the next one itself.
 *
 * The pod can make this process work, by connecting. How much, is limited: by the links that are parked, by the clients that
 * there may be at a time (config.room) and by those a second (a bucket of tokens). Who comes in excess of that is kept waiting
 * here, with its link, and the others in the pod's backlog, when all links that there may be have such a client. That links
 * are parked or held at all times is what keeps the listener open.
 *
 * A link that fails is followed by another after a pause, which doubles as long as they fail. Where the pod is lost
 * nothing is opened before it is back (retry.h).
 */
#include "config.h"

#include <errno.h>
#include <event2/util.h>
#include <stdio.h>

#include "park.h"
#include "retry.h"

#define ANSWER_MS 5000
#define DECAY_MS 10000
#define PAUSE_MIN_MS 50
#define PAUSE_MAX_MS 2000
#define OWNER_BYTES 16
#define TAKEN_MS 1000 /* an address that is in use at first is tried again for so long */

struct parking {
	TAILQ_ENTRY(parking) next;
	struct park *park;
	struct link *link;
	char *handle;
	bool waits; /* for a client; else it is still on its way */
	bool held;  /* its client is there, and there was no room: */
	struct link_accepted accepted;
};

struct park {
	struct park_config config;
	struct retry *retry;
	struct retry_waiter waiter;
	char owner[2 * OWNER_BYTES + 1];
	TAILQ_HEAD(, parking) links;
	unsigned count, waiting, held; /* of links */
	unsigned wanted, least;        /* least: the fewest that waited since the last decay */
	bool up, ever_up;
	bool complained;   /* of what it is missing now */
	int64_t up_since;  /* now_ms(); until it was up: when it began */
	int64_t pause;     /* before the next try */
	double tokens;     /* clients that may still come in this second */
	int64_t tokens_at; /* now_ms() */
	struct loop_task filling, decaying, giving;
};

static void park_fill(void *arg);
static void park_give(void *arg);
static void refill(struct park *park);
static void parking_wait(struct parking *p);

static void fill_later(struct park *park, int64_t ms)
{
	if (park->filling.list == NULL)
		loop_later(park->config.loop, &park->filling, ms, park_fill, park);
}

static void parking_free(struct parking *p)
{
	struct park *park = p->park;

	TAILQ_REMOVE(&park->links, p, next);
	park->count--;
	park->waiting -= p->waits;
	park->held -= p->held;
	if (park->waiting < park->least)
		park->least = park->waiting;
	link_free(p->link);
	free(p->handle);
	free(p);
}

static void on_back(struct retry_waiter *waiter, const struct error *err)
{
	(void)err; /* it waits for ever */
	park_fill(container_of(waiter, struct park, waiter));
}

static void try_again(struct park *park)
{
	fill_later(park, park->pause);
	park->pause = park->pause * 2 < PAUSE_MAX_MS ? park->pause * 2 : PAUSE_MAX_MS;
}

/* Nothing of the park may be used after it. */
static void park_failed(struct park *park, const struct error *err)
{
	bool lost = retry_is_loss(err) && park->ever_up;

	if (park->waiting == 0)
		park->up = false;
	if (lost)
		retry_lost(park->retry, err);
	else if (err->answered)
		retry_found(park->retry);
	try_again(park);
	if (lost)
		return;
	if (!park->ever_up) {
		/* Who has it may just be ending: a process that is started again. */
		if (err->sys_errno != EADDRINUSE || now_ms() - park->up_since > TAKEN_MS)
			park->config.failed(err, park->config.arg);
		return;
	}
	if (!park->complained)
		log_error(&(struct log_name){ park->config.label, 0 },
			  "%s is not listened on any more: %s", park->config.listen, err->message);
	park->complained = true;
}

/* One that waited has ended. The dialer, or the pod, may have been started anew: the next try tells. */
static void park_cut(struct park *park, const struct error *err)
{
	if (now_ms() - park->up_since > PAUSE_MAX_MS)
		park->pause = PAUSE_MIN_MS;
	if (park->waiting == 0)
		park->up = false;
	log_debug(&(struct log_name){ park->config.label, 0 }, "a parked link: %s", err->message);
	try_again(park);
}

/*
 * What a link has led to is the client's own socket: it can wait for the next one. Not if there are too many of them, but one
 * stays: it is what keeps the listener when there is room for nobody.
 */
static bool may_go_on(const struct parking *p)
{
	const struct park *park = p->park;

	return p->accepted.framing == FRAMING_RAW && park->count <= park->wanted &&
	       (park->count == 1 || park->count <= *park->config.room);
}

/* Gives its client away, and waits for another one or is freed. */
static void parking_give(struct parking *p)
{
	struct park *park = p->park;
	struct park_client client = { .network = park->config.network,
				      .framing = p->accepted.framing,
				      .told = p->accepted.told };

	client.fd = link_take_fd(p->link, &client.child, &client.watch);
	client.datagrams = link_take_datagrams(p->link);
	client.listener = link_take_listener(p->link);
	p->held = false;
	park->held--;
	--*park->config.room;
	park->config.accepted(&client, park->config.arg);
	if (may_go_on(p))
		parking_wait(p);
	else
		parking_free(p);
}

/* One more client in this second: `rate` tokens are added in each. */
static bool take_token(struct park *park)
{
	double rate = park->config.rate;
	int64_t now = now_ms();

	park->tokens += (double)(now - park->tokens_at) * rate / 1000;
	park->tokens_at = now;
	if (park->tokens > rate)
		park->tokens = rate;
	if (park->tokens < 1)
		return false;
	park->tokens--;
	return true;
}

/* To as many as there is room for now. */
static void give_held(struct park *park)
{
	struct parking *p, *next;

	for (p = TAILQ_FIRST(&park->links); p != NULL && park->held > 0; p = next) {
		next = TAILQ_NEXT(p, next);
		if (!p->held)
			continue;
		if (*park->config.room == 0)
			return;
		if (!take_token(park)) {
			loop_later(park->config.loop, &park->giving, 1000 / park->config.rate + 1,
				   park_give, park);
			return;
		}
		parking_give(p);
	}
}

static void park_give(void *arg)
{
	give_held(arg);
	park_fill(arg);
}

static void on_accepted(struct link *link, const struct link_accepted *accepted,
			const struct error *err, void *arg)
{
	struct parking *p = arg;
	struct park *park = p->park;
	struct error copy;

	(void)link;
	if (err != NULL) {
		copy = *err;
		parking_free(p);
		park_cut(park, &copy);
		return;
	}
	park->pause = PAUSE_MIN_MS;
	p->accepted = *accepted;
	p->waits = false;
	if (--park->waiting < park->least)
		park->least = park->waiting;
	if (park->waiting == 0 && park->wanted < park->config.max)
		park->wanted =
			park->wanted * 2 < park->config.max ? park->wanted * 2 : park->config.max;
	p->held = true;
	park->held++;
	/* Behind those that were there before. */
	TAILQ_REMOVE(&park->links, p, next);
	TAILQ_INSERT_TAIL(&park->links, p, next);
	if (park->waiting == 0)
		refill(park);
	give_held(park);
	refill(park);
}

static void parking_wait(struct parking *p)
{
	p->waits = true;
	p->park->waiting++;
	link_accept(p->link, on_accepted, p);
}

static void on_parked(struct link *link, json_t *result, const struct error *err, void *arg)
{
	struct parking *p = arg;
	struct park *park = p->park;
	struct error failed;
	bool told;

	(void)link;
	if (err != NULL)
		failed = *err;
	else if (rpc_check_port_parked(result, FRAMING_RECORDS, &failed) == 0)
		goto parked;
	parking_free(p);
	park_failed(park, &failed);
	return;
parked:
	retry_found(park->retry);
	told = park->up;
	if (!told)
		park->up_since = now_ms();
	park->up = park->ever_up = true;
	park->complained = false;
	parking_wait(p);
	if (!told)
		park->config.listening(park->config.arg);
}

static void on_opened(struct link *link, const struct error *err, void *arg)
{
	struct parking *p = arg;
	struct park *park = p->park;
	struct error copy;

	if (err != NULL) {
		copy = *err;
		parking_free(p);
		park_failed(park, &copy);
		return;
	}
	link_call(link, METHOD_PORT_ACCEPT,
		  rpc_port_accept_params(p->handle, park->config.container_id, park->config.network,
					 park->config.listen, park->owner),
		  ANSWER_MS, on_parked, p);
}

static int park_open(struct park *park, struct error *err)
{
	struct link_options options = { .policy = park->config.policy,
					.name = { park->config.label, 0 } };
	struct parking *p;
	struct pod pod;

	if (pods_resolve(park->config.pods_dir, park->config.pod_arg, &pod, err) < 0)
		return -EPROTO;
	p = xcalloc(1, sizeof(*p));
	p->park = park;
	p->handle = xstrdup(park->config.handle != NULL ? park->config.handle : pod.handle);
	TAILQ_INSERT_TAIL(&park->links, p, next);
	park->count++;
	options.pod = &pod;
	p->link = link_open(park->config.loop, &options, on_opened, p);
	pod_clear(&pod);
	return 0;
}

/* Opens as many as are wanted now. 0, or a negative number with *err. */
static int fill(struct park *park, struct error *err)
{
	while (park->count < park->wanted && park->count < *park->config.room) {
		if (park->waiter.retry != NULL || retry_wait(park->retry, &park->waiter, INT64_MAX))
			return 0;
		if (park_open(park, err) < 0)
			return -EPROTO;
	}
	return 0;
}

/* The same from where the park must not be freed: if that fails, it does so again in the loop, where it may be told. */
static void refill(struct park *park)
{
	struct error err;

	if (fill(park, &err) < 0)
		loop_later(park->config.loop, &park->filling, 0, park_fill, park);
}

/* Nothing of the park may be used after it. */
static void park_fill(void *arg)
{
	struct park *park = arg;
	struct error err;

	if (fill(park, &err) < 0)
		park_failed(park, &err);
}

static void park_decay(void *arg)
{
	struct park *park = arg;

	if (park->least > park->wanted / 2 && park->wanted > park->config.min)
		park->wanted =
			park->wanted / 2 > park->config.min ? park->wanted / 2 : park->config.min;
	park->least = park->waiting;
	loop_later(park->config.loop, &park->decaying, DECAY_MS, park_decay, park);
}

/* By which the guest tells our links from those of others who would like to listen there. */
static void make_owner(char owner[2 * OWNER_BYTES + 1])
{
	uint8_t random[OWNER_BYTES];

	evutil_secure_rng_get_bytes(random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(owner + 2 * i, 3, "%02x", random[i]);
}

struct park *park_new(const struct park_config *config)
{
	struct park *park = xcalloc(1, sizeof(*park));

	park->config = *config;
	park->wanted = config->min;
	park->pause = PAUSE_MIN_MS;
	park->tokens = config->rate;
	park->tokens_at = now_ms();
	park->up_since = now_ms();
	park->waiter.done = on_back;
	make_owner(park->owner);
	park->retry =
		retry_get(config->loop,
			  &(struct retry_pod){ config->pods_dir, config->pod_arg, config->handle,
					       config->container_id, config->events });
	TAILQ_INIT(&park->links);
	fill_later(park, 0);
	loop_later(config->loop, &park->decaying, DECAY_MS, park_decay, park);
	return park;
}

void park_go_on(struct park *park)
{
	loop_later(park->config.loop, &park->giving, 0, park_give, park);
}

void park_free(struct park *park)
{
	struct parking *p;

	if (park == NULL)
		return;
	while ((p = TAILQ_FIRST(&park->links)) != NULL)
		parking_free(p);
	retry_leave(&park->waiter);
	loop_cancel(&park->filling);
	loop_cancel(&park->decaying);
	loop_cancel(&park->giving);
	retry_put(park->retry);
	free(park);
}
