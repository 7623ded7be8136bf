/* SPDX-License-Identifier: MIT */
/*
 * The copy of datagrams between a client's side and a target's.
 *
 * DOC: Theory of Operation
 *
 * A source is read in batches and not read while its sink's queue holds anything; so a direction keeps
 * one scratch buffer's worth at most and BUDGET packets' heads, and what comes meanwhile waits where it belongs: in a
 * pipe its writer stops, in a UDP socket the kernel counts what found no room. Only what datagrams_put() brings,
 * from a socket that others share, cannot wait there: it is queued up to DATAGRAMS_QUEUE_MAX, and lost beyond. A UDP socket as a
 * sink has no queue: what it does not take is lost, as on any other hop.
 *
 *     DATAGRAMS_OPEN
 *     DATAGRAMS_CLOSING  a RESET or EOF is put behind what is queued, LIMIT_MS at most
 *     DATAGRAMS_CLOSED   done() is called behind the events under way
 *
 * UDP has no end, so each side has to make one. The client's EOF (stdin's, a record) is passed on, and the target
 * goes on until it was silent for linger_ms. A link may be closed in order at any time by who has sent EOF before, since
 * nobody promised that all datagrams arrive; without EOF or RESET it was cut. The other way round a target's EOF can only
 * come from a link, and ends all.
 *
 * A client beyond a link sends on until it hears of the end. So when both sides were silent for idle_ms it is told by an EOF, and what
 * it has sent before its own EOF is still passed on, for LIMIT_MS at most; answers to that are lost. A DATAGRAMS_CALLS client is released before any
 * link hears of an end, so that what comes later is the first of another copy, and nothing falls in between.
 *
 * A failed write to a link is not the end: what it said before, maybe a RESET with its reason, is read first, for
 * LIMIT_MS at most.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>

#include "datagrams-end.h"

#define LIMIT_MS 5000
#define TURNS 16
#define BUDGET 1024 /* the smallest ones are a call of the kernel each, and thousands fit a read */

static const char *const state_names[] = { "open", "closing", "closed" };
static_assert(ARRAY_SIZE(state_names) == DATAGRAMS_CLOSED + 1, "a name for each");

static void set_state(struct datagrams *d, enum datagrams_state state)
{
	assert(state > d->state);
	log_debug(&d->name, "datagrams %s -> %s", state_names[d->state], state_names[state]);
	d->state = (uint8_t)state;
}

/* "not there" is for a target that was never heard of; else it is a broken connection like any other. */
static void fill_result(const struct datagrams *d, struct relay_result *result)
{
	*result = (struct relay_result){ .outcome = d->outcome,
					 .gone = d->gone,
					 .bytes_in = d->end[0].bytes,
					 .bytes_out = d->end[1].bytes };
	if (d->err == NULL)
		return;
	result->err = *d->err;
	if (d->end[0].count > 0 ||
	    (d->err->reason != REASON_REFUSED && d->err->reason != REASON_UNREACHABLE))
		error_set(&result->err, REASON_BROKEN, d->err->sys_errno, "%s", d->err->message);
}

static void release_client(struct datagrams *d)
{
	struct datagrams_client *client = d->client;

	d->client = NULL;
	datagrams_client_release(client);
}

static void end_all(struct datagrams *d)
{
	release_client(d);
	datagrams_end_close(&d->end[0]);
	datagrams_end_close(&d->end[1]);
	loop_cancel(&d->linger);
	loop_cancel(&d->doom);
	loop_cancel(&d->work);
	set_state(d, DATAGRAMS_CLOSED);
	log_debug(&d->name, "datagrams: %llu in, %llu out; %llu and %llu dropped",
		  (unsigned long long)d->end[0].count, (unsigned long long)d->end[1].count,
		  (unsigned long long)d->end[0].dropped, (unsigned long long)d->end[1].dropped);
}

static void finished(void *arg)
{
	struct datagrams *d = arg;
	struct relay_result result;

	fill_result(d, &result);
	d->done(&result, d->arg);
	free(d->err);
	free(d);
}

/* Not now: whoever called us looks at it once more. */
static void close_all(struct datagrams *d)
{
	end_all(d);
	loop_after(d->loop, &d->work, finished, d);
}

/* Closes when all is out. */
static void close_step(struct datagrams *d)
{
	datagrams_end_flush(d, 0);
	datagrams_end_flush(d, 1);
	if (packets_are_gone(&d->end[0].queue) && packets_are_gone(&d->end[1].queue))
		close_all(d);
}

static void out_of_time(void *arg)
{
	struct datagrams *d = arg;
	bool told = !d->end[0].write_dead && packets_are_gone(&d->end[0].queue);
	struct error err;

	error_set(&err, REASON_BROKEN, ETIMEDOUT, "datagrams were not taken in time");
	if (d->state == DATAGRAMS_OPEN && d->leaving) {
		datagrams_finish(d, -1, told ? RELAY_EOF : RELAY_LOCAL, told ? NULL : &err);
	} else if (d->state == DATAGRAMS_OPEN) {
		datagrams_finish(d, -1, RELAY_CUT, &err);
	} else if (d->outcome == RELAY_EOF) {
		d->outcome = RELAY_LOCAL;
		d->err = xmalloc(sizeof(err));
		*d->err = err;
	}
	if (d->state == DATAGRAMS_CLOSING)
		close_all(d);
}

void datagrams_doom(struct datagrams *d)
{
	if (d->doom.list == NULL)
		loop_later(d->loop, &d->doom, LIMIT_MS, out_of_time, d);
}

/* Tells a link how it ended: by a RESET, or (err NULL) an EOF. */
static void tell(struct datagrams *d, int to, const struct error *err)
{
	struct datagrams_end *end = &d->end[to];
	uint8_t record[RECORD_HEADER_SIZE + RECORD_RESET_MAX];
	size_t size = RECORD_HEADER_SIZE;

	if (end->type != DATAGRAMS_RECORDS || (err == NULL && end->eof_sent))
		return;
	end->eof_sent = true;
	if (err != NULL)
		size = record_encode_reset(record, err);
	else
		record_put_header(record, RECORD_EOF, 0);
	datagrams_end_send(d, to, record, size);
}

void datagrams_finish(struct datagrams *d, int gone, enum relay_outcome outcome,
		      const struct error *err)
{
	if (d->state != DATAGRAMS_OPEN)
		return;
	d->outcome = (uint8_t)outcome;
	d->gone = (int8_t)gone;
	if (err != NULL) {
		d->err = xmalloc(sizeof(*err));
		*d->err = *err;
		log_debug(&d->name, "%s: %s", relay_outcome_name(outcome), err->message);
	}
	set_state(d, DATAGRAMS_CLOSING);
	release_client(d);
	if (gone >= 0)
		datagrams_end_close(&d->end[gone]);
	for (int i = 0; i < 2; i++) {
		if (i != gone)
			tell(d, i, err);
	}
	datagrams_doom(d);
	/* The pump's, or the loop's: this may have been called from within a read. */
	loop_later(d->loop, &d->work, 0, datagrams_pump, d);
}

void datagrams_failed(struct datagrams *d, int i, int sys_errno)
{
	struct error err;

	if (d->end[i].type == DATAGRAMS_SOCKET || d->end[i].type == DATAGRAMS_CALLS) {
		error_set_connect(&err, sys_errno);
		datagrams_finish(d, i, RELAY_RESET, &err);
	} else {
		error_set(&err, REASON_BROKEN, sys_errno, "%s", errno_text(sys_errno));
		datagrams_finish(d, i, RELAY_LOCAL, &err);
	}
}

/* Nothing goes back to the client from here on. */
static void leave(struct datagrams *d)
{
	d->leaving = true;
	tell(d, 0, NULL);
	d->end[1].read_done = true;
	datagrams_doom(d);
}

static void lingered(void *arg)
{
	struct datagrams *d = arg;
	int64_t silent = now_ms() - d->heard;
	int limit = d->client_ended && d->linger_ms > 0 ? d->linger_ms : d->idle_ms;

	if (d->state != DATAGRAMS_OPEN)
		return;
	if (silent < limit)
		loop_later(d->loop, &d->linger, limit - silent, lingered, d);
	else if (d->end[0].type == DATAGRAMS_RECORDS && !d->client_ended)
		leave(d);
	else
		datagrams_finish(d, -1, RELAY_EOF, NULL);
}

void datagrams_eof(struct datagrams *d, int from)
{
	if (from == 1 || d->leaving) {
		datagrams_finish(d, -1, RELAY_EOF, NULL);
		return;
	}
	tell(d, 1, NULL);
	d->client_ended = true;
	if (d->linger_ms == 0 || d->state != DATAGRAMS_OPEN)
		return;
	d->heard = now_ms();
	loop_later(d->loop, &d->linger, d->linger_ms, lingered, d);
}

static void show(struct datagrams *d, int from, const struct datagrams_batch *batch)
{
	for (unsigned i = 0; d->tap != NULL && i < batch->count; i++)
		d->tap->data(d->tap, from, batch->item[i].iov_base, batch->item[i].iov_len);
}

void datagrams_deliver(struct datagrams *d, int from, struct datagrams_batch *batch)
{
	if (batch->count > 0 && d->state == DATAGRAMS_OPEN) {
		if (d->linger.list != NULL && (from == 1 || !d->client_ended))
			d->heard = now_ms();
		show(d, from, batch);
		datagrams_end_put(d, !from, batch);
	}
	batch->count = 0;
}

bool datagrams_put(struct datagrams *d, const uint8_t *data, size_t size)
{
	struct datagrams_end *sink = &d->end[1];
	struct datagrams_batch batch = { .item = { { (void *)data, size } }, .count = 1 };
	uint64_t before = sink->count;

	if (!packets_fit(&sink->queue, size, DATAGRAMS_QUEUE_MAX) || d->state != DATAGRAMS_OPEN) {
		sink->dropped++;
		return false;
	}
	if (d->linger.list != NULL)
		d->heard = now_ms();
	show(d, 0, &batch);
	datagrams_end_put(d, 1, &batch);
	if (sink->error != 0) /* the kernel tells it once, and now it was told */
		loop_later(d->loop, &d->work, 0, datagrams_pump, d);
	return sink->count > before;
}

/* A link is read, and its end is met there. Of all others it matters that nobody reads what they are written. */
static void look_at_reader(struct datagrams *d, int i)
{
	struct datagrams_end *end = &d->end[i];
	struct pollfd pfd = { .fd = end->wfd };

	if (!end->hung_up || d->state != DATAGRAMS_OPEN)
		return;
	end->hung_up = false;
	if ((end->type == DATAGRAMS_READS || end->type == DATAGRAMS_LENGTHS) &&
	    poll(&pfd, 1, 0) == 1 && (pfd.revents & (POLLERR | POLLHUP)))
		datagrams_failed(d, i, EPIPE);
}

/* True if there may be more to do. */
static bool step(struct datagrams *d, int from)
{
	struct datagrams_end *source = &d->end[from];

	datagrams_end_flush(d, !from);
	return d->state == DATAGRAMS_OPEN && source->readable && !source->read_done &&
	       packets_are_gone(&d->end[!from].queue) &&
	       (source->budget == 0 || datagrams_end_read(d, from));
}

void datagrams_pump(void *arg)
{
	struct datagrams *d = arg;
	bool more = true;

	d->end[0].budget = d->end[1].budget = BUDGET;
	for (int i = 0; i < TURNS && more && d->state == DATAGRAMS_OPEN; i++) {
		more = step(d, 0);
		more |= step(d, 1);
	}
	look_at_reader(d, 0);
	if (d->state == DATAGRAMS_CLOSING)
		close_step(d);
	else if (more && d->state == DATAGRAMS_OPEN)
		loop_later(d->loop, &d->work, 0, datagrams_pump, d);
}

struct datagrams *datagrams_new(struct loop *loop, const struct datagrams_config *config)
{
	struct datagrams *d = xcalloc(1, sizeof(*d));
	struct error err;
	int rc = 0, failed;

	d->loop = loop;
	d->gone = -1;
	d->tap = config->tap;
	d->name = config->name;
	d->linger_ms = config->linger_ms;
	d->idle_ms = config->idle_ms;
	d->heard = now_ms();
	d->client = config->client;
	d->done = config->done;
	d->arg = config->arg;
	for (int i = 0; i < 2; i++) {
		failed = datagrams_end_init(d, i, &config->end[i]);
		if (failed < 0)
			rc = failed;
	}
	if (rc < 0) {
		error_set(&err, REASON_BROKEN, -rc, "%s", errno_text(-rc));
		datagrams_finish(d, -1, RELAY_LOCAL, &err);
	} else {
		if (d->idle_ms > 0)
			loop_later(loop, &d->linger, d->idle_ms, lingered, d);
		/* Datagrams may have come already; not now, since got() may need what is made with this. */
		loop_later(loop, &d->work, 0, datagrams_pump, d);
		if (d->client != NULL && d->client->ops->joined != NULL)
			d->client->ops->joined(d->client, d);
	}
	return d;
}

void datagrams_client_failed(struct datagrams *d, int sys_errno)
{
	if (d->state == DATAGRAMS_OPEN)
		datagrams_failed(d, 0, sys_errno);
}

void datagrams_client_release(struct datagrams_client *client)
{
	if (client != NULL && client->ops->released != NULL)
		client->ops->released(client);
}

int64_t datagrams_heard(const struct datagrams *d)
{
	return d->heard;
}

void datagrams_abort(struct datagrams *d, const char *why)
{
	struct error err;

	if (d->state == DATAGRAMS_CLOSING) {
		close_all(d);
		return;
	}
	error_set(&err, REASON_BROKEN, 0, "%s", why);
	datagrams_finish(d, -1, RELAY_SIGNAL, &err);
}

void datagrams_free(struct datagrams *d, struct relay_result *result)
{
	release_client(d);
	for (int i = 0; i < 2 && d->state == DATAGRAMS_OPEN; i++)
		tell(d, i, NULL);
	fill_result(d, result);
	if (d->state != DATAGRAMS_CLOSED)
		end_all(d);
	loop_cancel(&d->work);
	free(d->err);
	free(d);
}
