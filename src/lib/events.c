/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <string.h>

#include "events.h"
#include "sink.h"
#include "sock.h"

struct events {
	struct sink *sink;
};

struct event_client {
	int64_t since_ms;
	char address[ADDRESS_TEXT_MAX]; /* "unix" for a Unix socket, whose process is known: */
	struct sock_peer peer;
};

/* Takes the reference. */
static char *to_line(json_t *event)
{
	_cleanup_free_ char *text =
		xcheck(json_dumps(xcheck(event), JSON_COMPACT | JSON_ENSURE_ASCII));

	json_decref(event);
	return xasprintf("%s\n", text);
}

static json_t *new_event(const char *name)
{
	char time[TIME_TEXT_MAX];

	return xcheck(json_pack("{s:s, s:s}", "time", format_time(time), "event", name));
}

static char *dropped(uint64_t count)
{
	json_t *event = new_event("dropped");

	json_object_set_new(event, "count", json_integer((json_int_t)count));
	return to_line(event);
}

struct events *events_open(struct loop *loop, const char *where, struct error *err)
{
	struct sink *sink = sink_open(loop, where, dropped, err);
	struct events *events;

	if (sink == NULL) {
		error_prefix(err, "--events");
		return NULL;
	}
	events = xmalloc(sizeof(*events));
	events->sink = sink;
	return events;
}

void events_reopen(struct events *events)
{
	if (events != NULL)
		sink_reopen(events->sink);
}

void events_end(struct events *events)
{
	if (events != NULL)
		sink_end(events->sink);
}

void events_close(struct events *events)
{
	if (events == NULL)
		return;
	sink_close(events->sink);
	free(events);
}

static void put_text(json_t *event, const char *name, const char *text)
{
	if (text != NULL)
		json_object_set_new(event, name, rpc_escaped_string(text));
}

static void put_integer(json_t *event, const char *name, uint64_t value)
{
	json_object_set_new(event, name, json_integer((json_int_t)value));
}

/* NULL if nobody wants to know. */
static json_t *begin(const struct event_source *source, const char *name)
{
	json_t *event;

	if (source->events == NULL)
		return NULL;
	event = new_event(name);
	put_text(event, "pod", source->pod);
	put_text(event, "forward", source->forward);
	put_text(event, "target", source->target);
	put_text(event, "name", source->name);
	return event;
}

/* Takes the reference. */
static void put(const struct event_source *source, json_t *event)
{
	_cleanup_free_ char *line = to_line(event);

	sink_put(source->events->sink, line);
}

void event_listening(const struct event_source *source, json_t *listeners)
{
	json_t *event = begin(source, "listening");

	if (event == NULL)
		return;
	json_object_set_new(event, "listeners", listeners);
	put(source, event);
}

void event_stopped(const struct event_source *source)
{
	json_t *event = begin(source, "stopped");

	if (event != NULL)
		put(source, event);
}

struct event_client *event_client_at(const struct event_source *source,
				     const struct sockaddr_storage *ss)
{
	struct event_client *client;
	struct address address;

	if (source->events == NULL)
		return NULL;
	client = xcalloc(1, sizeof(*client));
	client->since_ms = now_ms();
	if (address_from_sockaddr(&address, (const struct sockaddr *)ss) == 0)
		address_format(&address, client->address);
	return client;
}

struct event_client *event_client_new(const struct event_source *source, int fd)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	struct event_client *client;

	if (source->events == NULL)
		return NULL;
	getpeername(fd, (struct sockaddr *)&ss, &len);
	client = event_client_at(source, &ss);
	if (ss.ss_family == AF_UNIX) {
		strcpy(client->address, "unix");
		sock_peer(fd, &client->peer);
	}
	return client;
}

static json_t *begin_connection(const struct event_source *source, const char *name, uint64_t id,
				const struct event_client *client)
{
	json_t *event = begin(source, name);

	if (event == NULL)
		return NULL;
	put_integer(event, "id", id);
	if (client != NULL && client->address[0] != '\0')
		json_object_set_new(event, "client", json_string(client->address));
	if (client != NULL && client->peer.pid > 0) {
		put_integer(event, "pid", (uint64_t)client->peer.pid);
		put_integer(event, "uid", client->peer.uid);
	}
	return event;
}

void event_opened(const struct event_source *source, uint64_t id, const struct event_client *client)
{
	json_t *event = begin_connection(source, "opened", id, client);

	if (event != NULL)
		put(source, event);
}

static void put_end(const struct event_source *source, json_t *event,
		    const struct event_client *client)
{
	if (client != NULL)
		put_integer(event, "durationMs", (uint64_t)(now_ms() - client->since_ms));
	put(source, event);
}

void event_closed(const struct event_source *source, uint64_t id, const struct event_client *client,
		  const struct relay_result *result)
{
	json_t *event = begin_connection(source, "closed", id, client);

	if (event == NULL)
		return;
	put_text(event, "reason", relay_outcome_name(result->outcome));
	if (result->outcome != RELAY_EOF)
		put_text(event, "message", result->err.message);
	put_integer(event, "bytesIn", result->bytes_in);
	put_integer(event, "bytesOut", result->bytes_out);
	put_end(source, event, client);
}

static void put_error(json_t *event, const struct error *err)
{
	put_text(event, "reason", reason_name(err->reason));
	put_text(event, "message", err->message);
}

void event_failed(const struct event_source *source, uint64_t id, const struct event_client *client,
		  const struct error *err)
{
	json_t *event = begin_connection(source, "failed", id, client);

	if (event == NULL)
		return;
	put_error(event, err);
	put_end(source, event, client);
}

void event_denied(const struct event_source *source, uint64_t id, const struct event_client *client,
		  const char *rule, const struct error *err)
{
	json_t *event = begin_connection(source, "denied", id, client);

	if (event == NULL)
		return;
	put_text(event, "rule", rule);
	put_error(event, err);
	put_end(source, event, client);
}

void event_pod_lost(const struct event_source *source, const struct error *err)
{
	json_t *event = begin(source, "pod-lost");

	if (event == NULL)
		return;
	put_error(event, err);
	put(source, event);
}

void event_pod_back(const struct event_source *source)
{
	json_t *event = begin(source, "pod-back");

	if (event != NULL)
		put(source, event);
}
