/* SPDX-License-Identifier: MIT */
/*
 * The two-way copy between a near end (a client, a target, stdin and stdout) and a far
 * one (the link), each bytes as they are or records.
 *
 * DOC: Theory of Operation
 *
 * A relay has two flows, one from each end to the other. A flow reads into the loop's
 * scratch buffer and writes straight through; what the sink does not take waits in the
 * sink's queue, and the flow reads no more until that is gone. So a connection holds at
 * most one scratch buffer's worth a direction, or one pipe's, and nothing while it is idle.
 *
 * A flow is in bulk when its last read brought RELAY_BULK_MIN or more. Between TCP and Unix sockets such a
 * flow takes a pipe from the loop's pool (pipes.c) and moves pages by splice(2): what the source has
 * goes into the pipe, its length into the header of one DATA record, and the pipe behind that into the
 * sink; on the other side the header is read alone and so much is spliced on. What the sink does
 * not take stays in the pipe, which counts as queued and goes back to the pool when it is empty;
 * when something else has to follow it, its bytes move to the queue. Everything else is as with
 * copied bytes. Measured on two hops on two cores, in the same run as copying: 1.9 GB/s in place of
 * 1.3 to 1.5, and 0.35 s of CPU a gigabyte in place of 0.75.
 *
 * AF_VSOCK is copied, from and to. What is read at a time is four of its packets, each as large as fits into 64 KiB of
 * memory with what the kernel adds (relay-io.c).
 *
 * A relay that goes on moving much is given to a second thread (relay-bulk.c): the round trip of a byte beside
 * it takes 60 us in place of 870, at p99 0.33 ms in place of 2.1.
 *
 *     FLOW_OPEN      reading
 *     FLOW_DRAINING  the source has ended; the queue goes out, then the sink is told
 *     FLOW_DONE      the sink was told: shutdown(SHUT_WR), or an EOF record
 *
 * A source that speaks records is read on after its EOF, because RESET, PING and PONG may
 * follow, and because its descriptor's end means something: after EOF both ways it is the
 * orderly close, before that the link was cut, and a cut is passed on as a reset.
 *
 *     RELAY_OPEN       at least one flow is not done
 *     RELAY_FINISHING  both are; waits for what RELAY_ACKED, RELAY_CONFIRM and RELAY_COMMAND ask for
 *     RELAY_RESETTING  each end that is still there is closed by a reset as soon as its
 *                      queue is out, and for TCP the kernel's too: closing with linger 0
 *                      would throw that away. LIMIT_MS at most.
 *     RELAY_CLOSED     both ends are closed; done() is called behind the events under way
 *
 * Raw sockets have linger 0 until they are closed in order, so that the kernel sends a reset too if
 * this process is killed.
 *
 * A failed write is not the end: the peer may have sent data, or a RESET with its reason,
 * before it went away, and that is still to be read. So the failure is kept (error,
 * write_dead), the other flow goes on until it reads the end, and that end counts as a
 * reset. What is still to be read then, or when the peer vanished while reading it is paused (the
 * other side is slow), has LIMIT_MS to be delivered: the doom task, set once and for all.
 *
 * Events are edge-triggered: a callback notes what became ready, relay_pump() works until
 * nothing moves, and then looks for peers that went away unread. A busy relay yields
 * after TURN_BYTES and goes on by the sweep.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>

#include "relay-flow.h"
#include "watch.h"

#define LIMIT_MS 5000
#define TICK_MS 20
#define TICK_MAX_MS 500
#define TURN_BYTES (256 * 1024)

static const char *const relay_state_names[] = { "open", "finishing", "resetting", "closed" };
static const char *const outcome_names[] = { "eof", "reset", "cut", "local", "signal" };
static_assert(ARRAY_SIZE(relay_state_names) == RELAY_CLOSED + 1, "a name for each");
static_assert(ARRAY_SIZE(outcome_names) == RELAY_OUTCOME_COUNT, "a name for each");

const char *relay_outcome_name(enum relay_outcome outcome)
{
	return outcome_names[outcome];
}

static void relay_set_state(struct relay *r, enum relay_state state)
{
	assert(state > r->state);
	log_debug(&r->name, "relay %s -> %s", relay_state_names[r->state],
		  relay_state_names[state]);
	r->state = (uint8_t)state;
}

void relay_finished(void *arg)
{
	struct relay *r = arg;
	struct relay_result result = { .outcome = r->outcome,
				       .gone = r->gone,
				       .bytes_in = end_payload(&r->end[0]),
				       .bytes_out = end_payload(&r->end[1]) };

	if (r->err != NULL)
		result.err = *r->err;
	if (r->done != NULL)
		r->done(&result, r->arg);
	free(r->err);
	free(r);
}

static void relay_close(struct relay *r)
{
	end_close(&r->end[0]);
	end_close(&r->end[1]);
	if (r->doom != NULL)
		loop_cancel(r->doom);
	free(r->doom);
	r->doom = NULL;
	relay_set_state(r, RELAY_CLOSED);
	/* Not now: whoever called us looks at it once more. */
	loop_after(relay_loop(r), &r->work, r->away != NULL ? bulk_closed : relay_finished, r);
}

static void relay_out_of_time(void *arg);

void relay_doom(struct relay *r)
{
	if (r->doom != NULL)
		return;
	r->doom = xcalloc(1, sizeof(*r->doom));
	loop_later(relay_loop(r), r->doom, LIMIT_MS, relay_out_of_time, r);
}

/* Whether an end with nothing queued has taken all, as far as it matters before a reset. */
static bool reset_was_taken(struct relay *r, int i)
{
	struct relay_end *end = &r->end[i];

	if (end->framing == FRAMING_RAW)
		return end_acked(end);
	if (!(r->flags & RELAY_COMMAND))
		return true;
	end_shut_write(end);
	return end_gone(end) != 0;
}

/*
 * Closes those ends whose queue is out; the rest by and by. A mere hang-up tells nothing here: a TCP
 * socket that was shut down both ways shows it too, with data in flight.
 */
static void relay_reset_step(struct relay *r)
{
	bool waits = false;

	for (int i = 0; i < 2; i++) {
		struct relay_end *end = &r->end[i];

		if (end_is_closed(end))
			continue;
		end_flush(end);
		end_gone(end);
		if (end->write_dead || end->error != 0 ||
		    (end_queued(end) == 0 && reset_was_taken(r, i)))
			end_close(end);
		else if (end_queued(end) == 0)
			waits = true;
	}
	if (end_is_closed(&r->end[0]) && end_is_closed(&r->end[1]))
		relay_close(r);
	else if (waits)
		loop_later(relay_loop(r), &r->work, TICK_MS, relay_pump, r);
}

void relay_reset(struct relay *r, int gone, enum relay_outcome outcome, const struct error *err)
{
	uint8_t record[RECORD_HEADER_SIZE + RECORD_RESET_MAX];

	if (r->state >= RELAY_RESETTING)
		return;
	r->outcome = (uint8_t)outcome;
	r->gone = (int8_t)gone;
	r->err = xmalloc(sizeof(*err));
	*r->err = *err;
	log_debug(&r->name, "%s: %s", relay_outcome_name(outcome), err->message);
	relay_set_state(r, RELAY_RESETTING);
	if (r->tap != NULL)
		r->tap->reset(r->tap, gone == 0 ? 0 : 1);
	for (int i = 0; i < 2; i++) {
		struct relay_end *end = &r->end[i];

		end->reset = true;
		if (i == gone)
			end_close(end);
		else if (end->framing == FRAMING_RECORDS)
			end_send(end, record, record_encode_reset(record, err));
	}
	relay_doom(r);
	relay_reset_step(r);
}

void relay_end_lost(struct relay *r, int i, int sys_errno)
{
	struct relay_end *end = &r->end[i];
	enum relay_outcome outcome = RELAY_LOCAL;
	struct error err;

	if (end->error != 0)
		sys_errno = end->error;
	if (i == 1)
		outcome = end->framing == FRAMING_RECORDS ? RELAY_CUT : RELAY_RESET;
	if (outcome == RELAY_CUT)
		error_set(&err, REASON_BROKEN, sys_errno, "the link was cut");
	else if (sys_errno == EPIPE && end->rsock)
		error_set(&err, REASON_BROKEN, ECONNRESET, "%s", errno_text(ECONNRESET));
	else
		error_set(&err, REASON_BROKEN, sys_errno, "%s", errno_text(sys_errno));
	relay_reset(r, i, outcome, &err);
}

bool relay_end_is_over(const struct relay *r, int i)
{
	return r->end[i].read_done || (i == 0 && r->end[i].rfd != r->end[i].wfd);
}

/*
 * The errno if the peer of an end is gone, and that matters; else 0. A hang-up without an error tells
 * little: a Unix client may have sent all it has and closed, and what it sent is still under
 * way. It counts for a link, whose order of ending is known, and where RELAY_READER asks
 * for it.
 */
static int relay_end_gone(struct relay *r, int i)
{
	struct relay_end *end = &r->end[i];
	int sys_errno = end_gone(end);

	if (sys_errno != END_HUNG_UP)
		return sys_errno;
	if (r->flow[!i] == FLOW_DONE)
		return 0;
	if (end->framing == FRAMING_RECORDS)
		return EPIPE;
	return (r->flags & RELAY_READER) && i == 0 &&
			       (end->rfd != end->wfd || r->flow[i] == FLOW_DONE)
		       ? EPIPE
		       : 0;
}

/* Looks for a peer that went away unseen, since its end is not being read. */
static void relay_look(struct relay *r, int i)
{
	struct relay_end *end = &r->end[i];
	bool reads = end->rfd == end->wfd && !end->read_done && end_queued(&r->end[!i]) == 0;
	int sys_errno;

	if (r->state != RELAY_OPEN || !end->unseen || end->write_dead || reads)
		return;
	sys_errno = relay_end_gone(r, i);
	if (sys_errno == 0)
		return;
	if (relay_end_is_over(r, i))
		relay_end_lost(r, i, sys_errno);
	else
		relay_doom(r);
}

static void relay_out_of_time(void *arg)
{
	struct relay *r = arg;
	struct error err;

	log_debug(&r->name, "%zu and %zu bytes were not taken in time", end_queued(&r->end[0]),
		  end_queued(&r->end[1]));
	for (int i = 0; i < 2 && r->state < RELAY_RESETTING; i++) {
		int sys_errno = relay_end_gone(r, i);

		if (sys_errno != 0)
			relay_end_lost(r, i, sys_errno);
	}
	error_set(&err, REASON_BROKEN, ETIMEDOUT, "bytes were not taken in time");
	relay_reset(r, -1, RELAY_LOCAL, &err);
	if (r->state == RELAY_RESETTING)
		relay_close(r);
}

/* Both directions are done: closes as soon as the ends show what the flags ask for. */
static void relay_finish_step(struct relay *r)
{
	static const unsigned asks[] = { RELAY_ACKED, RELAY_CONFIRM };
	bool waits = false;

	if (r->flags & RELAY_COMMAND)
		end_shut_write(&r->end[1]);
	for (int i = 0; i < 2; i++) {
		struct relay_end *end = &r->end[i];

		if (!(r->flags & asks[i]))
			continue;
		if (end->framing == FRAMING_RECORDS) {
			waits |= !end->read_done;
			continue;
		}
		end_gone(end);
		if (end->error != 0) {
			relay_end_lost(r, i, end->error);
			return;
		}
		waits |= !end_acked(end);
	}
	if (waits) {
		loop_later(relay_loop(r), &r->work, r->tick_ms, relay_pump, r);
		r->tick_ms = r->tick_ms < TICK_MAX_MS ? r->tick_ms * 2 : TICK_MAX_MS;
	} else {
		relay_close(r);
	}
}

void relay_pump(void *arg)
{
	struct relay *r = arg;
	bool more = true;

	r->moved = 0;
	while (more && r->moved < TURN_BYTES && r->state <= RELAY_FINISHING) {
		more = flow_step(r, 0);
		if (r->state <= RELAY_FINISHING)
			more |= flow_step(r, 1);
		if (r->state == RELAY_OPEN && r->flow[0] == FLOW_DONE && r->flow[1] == FLOW_DONE)
			relay_set_state(r, RELAY_FINISHING);
	}
	if (bulk_move(r))
		return;
	if (more && r->state <= RELAY_FINISHING) {
		loop_later(relay_loop(r), &r->work, 0, relay_pump, r);
		return;
	}
	relay_look(r, 0);
	relay_look(r, 1);
	if (r->state == RELAY_RESETTING)
		relay_reset_step(r);
	else if (r->state == RELAY_FINISHING)
		relay_finish_step(r);
}

static struct relay *relay_of(struct relay_end *end)
{
	return container_of(end - end->index, struct relay, end[0]);
}

void relay_end_event(struct relay_end *end)
{
	relay_pump(relay_of(end));
}

struct loop *relay_end_loop(struct relay_end *end)
{
	return relay_loop(relay_of(end));
}

void relay_bytes(const struct relay *r, uint64_t *in, uint64_t *out)
{
	*in = end_payload(&r->end[0]);
	*out = end_payload(&r->end[1]);
}

struct relay *relay_new(struct loop *loop, const struct relay_config *config)
{
	struct relay *r = xcalloc(1, sizeof(*r));
	struct error err;
	int rc = 0, failed;

	r->home = loop;
	r->flags = (uint8_t)config->flags;
	r->tap = config->tap;
	r->name = config->name;
	r->done = config->done;
	r->arg = config->arg;
	r->tick_ms = TICK_MS;
	for (int i = 0; i < 2; i++) {
		r->end[i].index = (uint8_t)i;
		failed = end_init(&r->end[i], loop, &config->end[i]);
		if (failed < 0)
			rc = failed;
	}
	if (rc < 0) {
		error_set(&err, REASON_BROKEN, -rc, "%s", errno_text(-rc));
		relay_reset(r, -1, RELAY_LOCAL, &err);
	} else {
		/* Bytes may have come behind the handshake; of all else the watches tell. */
		r->end[1].readable = true;
		relay_pump(r);
	}
	return r;
}

void relay_take_aborts(struct relay *r)
{
	struct error err;

	while (r->aborted != atomic_load(&r->aborts) && r->state < RELAY_CLOSED) {
		if (r->aborted++ > 0 && r->state == RELAY_RESETTING) {
			relay_close(r);
			return;
		}
		error_set(&err, REASON_BROKEN, 0, "%s", atomic_load(&r->why));
		relay_reset(r, -1, RELAY_SIGNAL, &err);
	}
}

void relay_abort(struct relay *r, const char *why)
{
	if (atomic_load(&r->aborts) == UINT8_MAX)
		return;
	atomic_store(&r->why, why);
	atomic_fetch_add(&r->aborts, 1);
	if (r->away != NULL)
		bulk_look(r);
	else
		relay_take_aborts(r);
}
