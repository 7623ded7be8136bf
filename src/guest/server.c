/* SPDX-License-Identifier: MIT */
/* Keeps count of links and relays, and ends them. */
#include "config.h"

#include "accept.h"
#include "handshake.h"
#include "server.h"

void server_check_idle(struct server *server)
{
	if (TAILQ_EMPTY(&server->links) && streams_are_gone(&server->streams))
		server->config.idle(server->config.arg);
}

/* Whatever it wanted is over. */
static bool host_has_gone(const struct relay_result *result)
{
	return result->outcome == RELAY_CUT || result->outcome == RELAY_SIGNAL ||
	       (result->outcome == RELAY_RESET && result->gone == 1);
}

static void stream_ended(const struct relay_result *result, void *owner, void *arg)
{
	struct server *server = arg;

	accept_release(owner, host_has_gone(result));
	server->exit_code = result->outcome == RELAY_EOF ? 0 : reason_exit_code(result->err.reason);
	server->connections--;
	server_check_idle(server);
}

void server_init(struct server *server, const struct server_config *config)
{
	*server = (struct server){ .config = *config };
	TAILQ_INIT(&server->links);
	TAILQ_INIT(&server->spare);
	streams_init(&server->streams, config->loop, stream_ended, server);
}

void server_clear(struct server *server)
{
	handshake_free_spare(server);
}

void server_add_stream(struct server *server, struct relay_config *config,
		       struct accept_listener *listener)
{
	server->connections++;
	streams_add(&server->streams, config, 0, listener);
}

void server_add_datagrams(struct server *server, struct datagrams_config *config,
			  struct accept_listener *listener)
{
	server->connections++;
	streams_add_datagrams(&server->streams, config, 0, listener);
}

void server_stop(struct server *server)
{
	handshake_abort_all(server);
	streams_abort(&server->streams, "the dialer is being stopped");
	server_check_idle(server);
}
