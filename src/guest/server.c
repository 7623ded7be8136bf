/* SPDX-License-Identifier: MIT */
/* Keeps count of links and relays, and ends them. */
#include "config.h"

#include <string.h>

#include "handshake.h"
#include "server.h"

/* A link that became a relay. */
struct guest_stream {
	TAILQ_ENTRY(guest_stream) next;
	struct server *server;
	struct relay *relay;
	uint64_t id;
	char label[]; /* "web:80" */
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

	log_debug((&(struct log_name){ stream->label, stream->id }),
		  "%s: %llu bytes in, %llu out%s%s", relay_outcome_name(result->outcome),
		  (unsigned long long)result->bytes_in, (unsigned long long)result->bytes_out,
		  in_order ? "" : ": ", in_order ? "" : result->err.message);
	server->exit_code = in_order ? 0 : reason_exit_code(result->err.reason);
	server->connections--;
	TAILQ_REMOVE(&server->streams, stream, next);
	free(stream);
	server_check_idle(server);
}

void server_add_stream(struct server *server, struct relay_config *config)
{
	size_t size = strlen(config->name.label) + 1;
	struct guest_stream *stream = xmalloc(sizeof(*stream) + size);

	stream->server = server;
	stream->id = config->name.id;
	memcpy(stream->label, config->name.label, size);
	config->name.label = stream->label;
	config->done = stream_done;
	config->arg = stream;
	server->connections++;
	TAILQ_INSERT_TAIL(&server->streams, stream, next);
	log_debug(&config->name, "connected");
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
