/* SPDX-License-Identifier: MIT */
/* Catches SIGTERM, SIGINT and SIGHUP. */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>

#include "signals.h"

static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
static_assert(ARRAY_SIZE(numbers) == STOP_SIGNALS, "an event for each");

/* True for a SIGHUP that nohup(1) has turned off. */
static bool is_unwanted(int number)
{
	struct sigaction action;

	return number == SIGHUP && sigaction(number, NULL, &action) == 0 &&
	       action.sa_handler == SIG_IGN;
}

int signals_catch(struct stop_signals *signals, struct loop *loop,
		  void (*cb)(int number, short what, void *arg), void *arg, struct error *err)
{
	for (size_t i = 0; i < STOP_SIGNALS; i++) {
		if (is_unwanted(numbers[i]))
			continue;
		signals->events[i] = evsignal_new(loop->base, numbers[i], cb, arg);
		if (signals->events[i] == NULL || event_add(signals->events[i], NULL) < 0)
			return error_set(err, REASON_EXHAUSTED, ENOMEM, "%s", errno_text(ENOMEM));
	}
	return 0;
}

void signals_release(struct stop_signals *signals)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < STOP_SIGNALS; i++)
		sigaddset(&set, numbers[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < STOP_SIGNALS; i++) {
		if (signals->events[i] != NULL)
			event_free(signals->events[i]);
		signals->events[i] = NULL;
	}
}

void signals_die(int number)
{
	sigset_t set;

	signal(number, SIG_DFL);
	raise(number);
	sigemptyset(&set);
	sigaddset(&set, number);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}
