/* SPDX-License-Identifier: MIT */
/* Keeps callers, streams and forwards together, and ends them. */
#include "config.h"

#include "caller.h"
#include "dialed.h"

void serve_check_idle(struct serve *serve)
{
	if (!serve->stopping || !TAILQ_EMPTY(&serve->callers) || !TAILQ_EMPTY(&serve->forwards))
		return;
	for (int i = 0; i < CALLER_KIND_COUNT; i++) {
		if (!streams_are_gone(&serve->shares[i].streams))
			return;
	}
	serve->config.idle(serve->config.arg);
}

static void stream_ended(const struct relay_result *result, void *owner, void *arg)
{
	struct share *share = arg;

	dialed_closed(owner, result);
	accept_limit_release(&share->connections);
	serve_check_idle(share->serve);
}

/* Where other users may call, half of the connections are theirs; root may in any case, and has a few. */
static void share_init(struct serve *serve, enum caller_kind kind)
{
	const struct serve_config *config = &serve->config;
	struct share *share = &serve->shares[kind];
	size_t others = config->connections_max / (config->uid_count > 0 ? 2 : 16);
	size_t connections = config->connections_max - (config->uid_count > 0 ? others : 0);

	*share = (struct share){ .serve = serve,
				 .callers_max = config->callers_max,
				 .listeners_max = config->listeners_max };
	if (kind == CALLER_OTHER) {
		share->callers_max = (config->callers_max + 1) / 2;
		share->listeners_max = config->listeners_max / 2;
		connections = others > 0 ? others : 1;
	} else if (kind == CALLER_STRANGER) {
		share->callers_max = config->callers_max / 16 + 1;
	}
	accept_limit_init(&share->connections, connections);
	streams_init(&share->streams, config->loop, stream_ended, share);
}

void serve_init(struct serve *serve, const struct serve_config *config)
{
	*serve = (struct serve){ .config = *config };
	clock_gettime(CLOCK_REALTIME, &serve->since);
	TAILQ_INIT(&serve->accounts);
	TAILQ_INIT(&serve->callers);
	TAILQ_INIT(&serve->forwards);
	accept_limit_init(&serve->callers_limit, config->callers_max);
	for (int i = 0; i < CALLER_KIND_COUNT; i++)
		share_init(serve, (enum caller_kind)i);
}

void serve_stop(struct serve *serve)
{
	struct caller *c;

	serve->stopping = true;
	TAILQ_FOREACH (c, &serve->callers, next) {
		if (c->session.state != SESSION_CLOSED)
			session_close(&c->session);
	}
	forwards_stop(serve);
	for (int i = 0; i < CALLER_KIND_COUNT; i++)
		streams_abort(&serve->shares[i].streams, "the server is being stopped");
	serve_check_idle(serve);
}

void serve_clear(struct serve *serve)
{
	forwards_clear(serve);
	dialed_clear(serve);
}
