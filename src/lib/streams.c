/* SPDX-License-Identifier: MIT */
/* Keeps count of relays and copies of datagrams, and ends them. */
#include "config.h"

#include <string.h>

#include "child.h"
#include "streams.h"

struct stream {
	TAILQ_ENTRY(stream) next;
	struct streams *streams;
	struct relay *relay; /* one of the two */
	struct datagrams *datagrams;
	uint64_t id;
	pid_t child;
	void *owner;
	char label[]; /* "web:80" */
};

void streams_init(struct streams *streams, struct loop *loop, streams_ended_cb ended, void *arg)
{
	*streams = (struct streams){ .loop = loop, .ended = ended, .arg = arg };
	TAILQ_INIT(&streams->list);
}

static void stream_done(const struct relay_result *result, void *arg)
{
	struct stream *stream = arg;
	struct streams *streams = stream->streams;
	void *owner = stream->owner;
	bool in_order = result->outcome == RELAY_EOF;

	log_debug((&(struct log_name){ stream->label, stream->id }),
		  "%s: %llu bytes in, %llu out%s%s", relay_outcome_name(result->outcome),
		  (unsigned long long)result->bytes_in, (unsigned long long)result->bytes_out,
		  in_order ? "" : ": ", in_order ? "" : result->err.message);
	child_end(streams->loop, stream->child);
	TAILQ_REMOVE(&streams->list, stream, next);
	free(stream);
	streams->ended(result, owner, streams->arg);
}

/* Its label takes the place of that of `name`. */
static struct stream *stream_new(struct streams *streams, struct log_name *name, pid_t child,
				 void *owner)
{
	size_t size = strlen(name->label) + 1;
	struct stream *stream = xmalloc(sizeof(*stream) + size);

	*stream = (struct stream){
		.streams = streams, .id = name->id, .child = child, .owner = owner
	};
	memcpy(stream->label, name->label, size);
	name->label = stream->label;
	TAILQ_INSERT_TAIL(&streams->list, stream, next);
	log_debug(name, "connected");
	return stream;
}

void streams_add(struct streams *streams, struct relay_config *config, pid_t child, void *owner)
{
	struct stream *stream = stream_new(streams, &config->name, child, owner);

	config->done = stream_done;
	config->arg = stream;
	stream->relay = relay_new(streams->loop, config);
}

void streams_add_datagrams(struct streams *streams, struct datagrams_config *config, pid_t child,
			   void *owner)
{
	struct stream *stream = stream_new(streams, &config->name, child, owner);

	config->done = stream_done;
	config->arg = stream;
	stream->datagrams = datagrams_new(streams->loop, config);
}

void streams_each(const struct streams *streams, void (*cb)(void *owner, uint64_t in, uint64_t out))
{
	const struct stream *stream;
	uint64_t in, out;

	TAILQ_FOREACH (stream, &streams->list, next) {
		if (stream->relay == NULL)
			continue;
		relay_bytes(stream->relay, &in, &out);
		cb(stream->owner, in, out);
	}
}

void streams_abort(struct streams *streams, const char *why)
{
	struct stream *stream;

	TAILQ_FOREACH (stream, &streams->list, next) {
		if (stream->relay != NULL)
			relay_abort(stream->relay, why);
		else
			datagrams_abort(stream->datagrams, why);
	}
}
