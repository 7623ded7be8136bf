/* SPDX-License-Identifier: MIT */
/* Keeps callers, streams and forwards together, and ends them. */
#include "config.h"

#include "caller.h"

void serve_check_idle(struct serve *serve)
{
	if (serve->stopping && TAILQ_EMPTY(&serve->callers) && TAILQ_EMPTY(&serve->forwards) &&
	    streams_are_gone(&serve->streams))
		serve->config.idle(serve->config.arg);
}

static void stream_ended(const struct relay_result *result, void *arg)
{
	struct serve *serve = arg;

	(void)result;
	accept_limit_release(&serve->connections);
	serve_check_idle(serve);
}

void serve_init(struct serve *serve, const struct serve_config *config)
{
	*serve = (struct serve){ .config = *config };
	TAILQ_INIT(&serve->callers);
	TAILQ_INIT(&serve->forwards);
	accept_limit_init(&serve->callers_limit, config->callers_max);
	accept_limit_init(&serve->connections, config->connections_max);
	streams_init(&serve->streams, config->loop, stream_ended, serve);
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
	streams_abort(&serve->streams, "the server is being stopped");
	serve_check_idle(serve);
}

void serve_clear(struct serve *serve)
{
	forwards_clear(serve);
}
