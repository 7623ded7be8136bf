/* SPDX-License-Identifier: MIT */
/* Keeps count of relays, and ends them. */
#include "config.h"

#include <string.h>

#include "child.h"
#include "streams.h"

struct stream {
	TAILQ_ENTRY(stream) next;
	struct streams *streams;
	struct relay *relay;
	uint64_t id;
	pid_t child;
	char label[]; /* "web:80" */
};

void streams_init(struct streams *streams, struct loop *loop,
		  void (*ended)(const struct relay_result *result, void *arg), void *arg)
{
	*streams = (struct streams){ .loop = loop, .ended = ended, .arg = arg };
	TAILQ_INIT(&streams->list);
}

static void stream_done(const struct relay_result *result, void *arg)
{
	struct stream *stream = arg;
	struct streams *streams = stream->streams;
	bool in_order = result->outcome == RELAY_EOF;

	log_debug((&(struct log_name){ stream->label, stream->id }),
		  "%s: %llu bytes in, %llu out%s%s", relay_outcome_name(result->outcome),
		  (unsigned long long)result->bytes_in, (unsigned long long)result->bytes_out,
		  in_order ? "" : ": ", in_order ? "" : result->err.message);
	child_end(streams->loop, stream->child);
	TAILQ_REMOVE(&streams->list, stream, next);
	free(stream);
	streams->ended(result, streams->arg);
}

void streams_add(struct streams *streams, struct relay_config *config, pid_t child)
{
	size_t size = strlen(config->name.label) + 1;
	struct stream *stream = xmalloc(sizeof(*stream) + size);

	stream->streams = streams;
	stream->id = config->name.id;
	stream->child = child;
	memcpy(stream->label, config->name.label, size);
	config->name.label = stream->label;
	config->done = stream_done;
	config->arg = stream;
	TAILQ_INSERT_TAIL(&streams->list, stream, next);
	log_debug(&config->name, "connected");
	stream->relay = relay_new(streams->loop, config);
}

void streams_abort(struct streams *streams, const char *why)
{
	struct stream *stream;

	TAILQ_FOREACH (stream, &streams->list, next)
		relay_abort(stream->relay, why);
}
