/* SPDX-License-Identifier: MIT */
/* One client's flow: from its first datagram by a link of its own to the target. */
#include "config.h"

#include <assert.h>
#include <errno.h>

#include "child.h"
#include "flow.h"

/* For so long a target that is not there is not asked again. */
#define HOLD_MS 1000

static const char *const state_names[] = { "dialing", "open", "held" };
static_assert(ARRAY_SIZE(state_names) == FLOW_STATE_COUNT, "a name for each");

static struct log_name flow_name(const struct flow *flow)
{
	return (struct log_name){ flow->route->label, flow->id };
}

static void flow_set_state(struct flow *flow, enum flow_state state)
{
	struct log_name name = flow_name(flow);

	assert(state > flow->state);
	log_debug(&name, "flow %s -> %s", state_names[flow->state], state_names[state]);
	flow->state = state;
}

/* To --events too, and the traffic's numbers. */
static void flow_tell(struct flow *flow, struct connection_event *event)
{
	struct route *route = flow->route;

	event->id = flow->id;
	switch (event->type) {
	case CONNECTION_OPENED:
		event_opened(&route->source, flow->id, flow->who);
		break;
	case CONNECTION_CLOSED:
		event_closed(&route->source, flow->id, flow->who, event->result);
		route->traffic.open--;
		break;
	case CONNECTION_FAILED:
		event_failed(&route->source, flow->id, flow->who, event->err);
		route->traffic.failed[event->err->reason]++;
		route->traffic.open--;
		break;
	}
	route->event(event, route->arg);
}

/* Lets go of everything but its place in the table. */
static void flow_clear(struct flow *flow)
{
	struct log_name name = flow_name(flow);

	if (flow->dropped > 0)
		log_debug(&name, "%llu datagrams dropped before it was open",
			  (unsigned long long)flow->dropped);
	flow->dropped = 0;
	link_dial_cancel(flow->dialing);
	flow->dialing = NULL;
	loop_cancel(&flow->failed);
	free(flow->err);
	flow->err = NULL;
	packets_clear(&flow->waiting);
	capture_stream_free(flow->captured);
	flow->captured = NULL;
	child_end(flow->route->loop, flow->child);
	flow->child = 0;
}

/*
 * Its client can't be told: only the kernel sends ICMP. It will try again, and a log line and a link for each
 * datagram of a busy one would help nobody; so the flow is kept for a while, and nothing is done.
 */
static void flow_hold(struct flow *flow)
{
	flow_clear(flow);
	flow_set_state(flow, FLOW_HELD);
	flow_expire(flow, HOLD_MS);
}

static void flow_fail(struct flow *flow, const struct error *err)
{
	struct connection_event event = { .type = CONNECTION_FAILED, .err = err };
	struct log_name name = flow_name(flow);

	if (route_learn(flow->route, err))
		log_debug(&name, "%s", err->message);
	else
		log_error(&name, "%s", err->message);
	flow_hold(flow);
	flow_tell(flow, &event);
}

static void flow_failed(void *arg)
{
	struct flow *flow = arg;
	struct error err = *flow->err;

	flow_fail(flow, &err);
}

static void flow_got(struct datagrams_client *client, const uint8_t *data, size_t size)
{
	struct flow *flow = container_of(client, struct flow, client);

	flow_used(flow);
	flow->route->traffic.bytes_in += size;
	flow->ops->reply(flow, data, size);
}

static void flow_done(const struct relay_result *result, void *arg)
{
	struct flow *flow = arg;
	struct log_name name = flow_name(flow);
	struct connection_event event = { .type = CONNECTION_CLOSED, .result = result };

	flow->datagrams = NULL;
	if (result->outcome != RELAY_EOF)
		log_error(&name, "%s", result->err.message);
	flow_hold(flow);
	flow_tell(flow, &event);
	if (result->outcome == RELAY_EOF)
		flow_drop(flow, NULL);
}

static const struct datagrams_client_ops flow_client_ops = { .got = flow_got };

static void flow_send(struct flow *flow, const uint8_t *data, size_t size)
{
	if (datagrams_put(flow->datagrams, data, size))
		flow->route->traffic.bytes_out += size;
}

static void flow_dialed(const struct link_dialed *dialed, const struct error *err, void *arg)
{
	struct flow *flow = arg;
	struct connection_event opened = { .type = CONNECTION_OPENED,
					   .dialed = dialed != NULL ? dialed->result : NULL };
	struct datagrams_config config;
	struct packet *packet;

	flow->dialing = NULL;
	if (err != NULL) {
		flow_fail(flow, err);
		return;
	}
	route_learn(flow->route, NULL);
	flow->child = dialed->child;
	flow->client.ops = &flow_client_ops;
	config = (struct datagrams_config){
		.end = { { .type = DATAGRAMS_CALLS, .rfd = -1, .wfd = -1 },
			 { datagrams_type_of(dialed->result->framing), dialed->fd, dialed->fd } },
		.tap = capture_stream_tap(flow->captured),
		.name = flow_name(flow),
		.client = &flow->client,
		.done = flow_done,
		.arg = flow,
	};
	flow_set_state(flow, FLOW_OPEN);
	flow->datagrams = datagrams_new(flow->route->loop, &config);
	flow_tell(flow, &opened);
	while ((packet = packets_take(&flow->waiting)) != NULL) {
		flow_send(flow, packet->data, packet->size);
		free(packet);
	}
}

void flow_start(struct flow *flow, const uint8_t *data, size_t size)
{
	struct link_options options = { .name = flow_name(flow) };
	struct error err;

	flow->route->traffic.open++;
	flow->route->traffic.total++;
	packets_init(&flow->waiting);
	packets_put(&flow->waiting, NULL, 0, data, size, 0);
	flow->dialing = route_dial(flow->route, &options, flow_dialed, flow, &err);
	if (flow->dialing != NULL)
		return;
	flow->err = xmalloc(sizeof(err));
	*flow->err = err;
	loop_later(flow->route->loop, &flow->failed, 0, flow_failed, flow);
}

void flow_put(struct flow *flow, const uint8_t *data, size_t size)
{
	switch (flow->state) {
	case FLOW_DIALING:
		if (packets_fit(&flow->waiting, size, DATAGRAMS_QUEUE_MAX))
			packets_put(&flow->waiting, NULL, 0, data, size, 0);
		else
			flow->dropped++;
		break;
	case FLOW_OPEN:
		flow_send(flow, data, size);
		break;
	default:
		return;
	}
	flow_used(flow);
}

void flow_end(struct flow *flow, const char *why)
{
	struct connection_event event = { .type = CONNECTION_FAILED };
	struct log_name name = flow_name(flow);
	struct relay_result result;
	struct error err;

	if (flow->state != FLOW_HELD)
		log_debug(&name, "%s", why);
	if (flow->state == FLOW_DIALING) {
		error_set(&err, REASON_BROKEN, ECANCELED, "%s", why);
		event.err = &err;
	} else if (flow->state == FLOW_OPEN) {
		datagrams_free(flow->datagrams, &result);
		event.type = CONNECTION_CLOSED;
		event.result = &result;
	}
	flow_clear(flow);
	if (flow->state != FLOW_HELD)
		flow_tell(flow, &event);
	free(flow->who);
	flow->ops->free(flow);
}
