/* SPDX-License-Identifier: MIT */
/* The clients of a listener, or of a pod, that are on their way back: what is done with all of them, or with one of them for another. */
#include "config.h"

#include <errno.h>

#include "backward-state.h"

#define LOGGED_MAX 20 /* lines in a second */

void backwards_init(struct backwards *all, struct loop *loop, int64_t *room,
		    void (*gone)(void *arg), void *arg)
{
	*all = (struct backwards){ .loop = loop,
				   .udp_idle_ms = DATAGRAMS_IDLE_MS,
				   .room = room,
				   .gone = gone,
				   .arg = arg };
	TAILQ_INIT(&all->list);
}

bool backwards_may_log(struct backward *b)
{
	struct backwards *all = b->config.all;
	int64_t now = now_ms();

	if (now - all->logging_since >= 1000) {
		if (all->logged > LOGGED_MAX)
			log_warning(&(struct log_name){ b->config.label, 0 },
				    "%u more clients got no service", all->logged - LOGGED_MAX);
		all->logging_since = now;
		all->logged = 0;
	}
	return ++all->logged <= LOGGED_MAX;
}

static bool goes_before(const struct backward *b, const struct backward *other)
{
	if (other == NULL || b->denied != other->denied)
		return other == NULL || b->denied;
	return datagrams_heard(b->datagrams) < datagrams_heard(other->datagrams);
}

/* The one that was quiet for longest; of all, those that are denied first. */
void backwards_make_room(struct backwards *all, bool denied)
{
	struct backward *b, *oldest = NULL;
	struct relay_result result;

	TAILQ_FOREACH (b, &all->list, next) {
		if (b->datagrams != NULL && (b->denied || !denied) && goes_before(b, oldest))
			oldest = b;
	}
	if (oldest == NULL)
		return;
	datagrams_free(oldest->datagrams, &result);
	backward_done(&result, oldest);
}

static bool is_one_of(const struct address *addr, const struct address *addrs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (address_same_host(&addrs[i], addr))
			return true;
	}
	return false;
}

void backwards_forgive(struct backwards *all, const struct address *to, size_t count)
{
	struct backward *b, *next;
	struct relay_result result;

	for (b = TAILQ_FIRST(&all->list); b != NULL; b = next) {
		next = TAILQ_NEXT(b, next);
		if (!b->denied || (to != NULL && !is_one_of(&b->told.destination, to, count)))
			continue;
		datagrams_free(b->datagrams, &result);
		backward_end(b);
	}
}

struct traffic backwards_traffic(const struct backwards *all)
{
	struct traffic sum = all->traffic;
	const struct backward *b;
	uint64_t in, out;

	TAILQ_FOREACH (b, &all->list, next) {
		if (b->relay == NULL)
			continue;
		relay_bytes(b->relay, &in, &out);
		sum.bytes_in += b->service_last ? in : out;
		sum.bytes_out += b->service_last ? out : in;
	}
	return sum;
}

void backwards_abort(struct backwards *all)
{
	struct backward *b, *next;
	struct error err;

	for (b = TAILQ_FIRST(&all->list); b != NULL; b = next) {
		next = TAILQ_NEXT(b, next);
		if (b->relay != NULL) {
			relay_abort(b->relay, "the way back was closed");
		} else if (b->datagrams != NULL) {
			datagrams_abort(b->datagrams, "the way back was closed");
		} else {
			error_set(&err, REASON_BROKEN, ECANCELED, "the way back was closed");
			backward_fail(b, &err);
		}
	}
}
