/* SPDX-License-Identifier: MIT */
/* Keeps count of links and relays, and ends them. */
#include "config.h"

#include "handshake.h"
#include "server.h"

/* A link that became a relay. */
struct guest_stream {
	TAILQ_ENTRY(guest_stream) next;
	struct server *server;
	struct relay *relay;
	struct log_name name; /* its label is ours */
};

void server_init(struct server *server, const struct server_config *config)
{
	*server = (struct server){ .config = *config };
	TAILQ_INIT(&server->links);
	TAILQ_INIT(&server->streams);
}

void server_check_idle(struct server *server)
{
	if (TAILQ_EMPTY(&server->links) && TAILQ_EMPTY(&server->streams))
		server->config.idle(server->config.arg);
}

static void stream_done(const struct relay_result *result, void *arg)
{
	struct guest_stream *stream = arg;
	struct server *server = stream->server;
	bool in_order = result->outcome == RELAY_EOF;

	log_debug(&stream->name, "%s: %llu bytes in, %llu out%s%s",
		  relay_outcome_name(result->outcome), (unsigned long long)result->bytes_in,
		  (unsigned long long)result->bytes_out, in_order ? "" : ": ",
		  in_order ? "" : result->err.message);
	server->exit_code = in_order ? 0 : reason_exit_code(result->err.reason);
	server->connections--;
	TAILQ_REMOVE(&server->streams, stream, next);
	free((char *)stream->name.label);
	free(stream);
	server_check_idle(server);
}

void server_add_stream(struct server *server, struct relay_config *config)
{
	struct guest_stream *stream = xcalloc(1, sizeof(*stream));

	stream->server = server;
	stream->name = config->name;
	config->done = stream_done;
	config->arg = stream;
	server->connections++;
	TAILQ_INSERT_TAIL(&server->streams, stream, next);
	log_debug(&stream->name, "connected");
	stream->relay = relay_new(server->config.loop, config);
}

void server_stop(struct server *server)
{
	struct guest_stream *stream;

	handshake_abort_all(server);
	TAILQ_FOREACH (stream, &server->streams, next)
		relay_abort(stream->relay, "the dialer is being stopped");
	server_check_idle(server);
}
