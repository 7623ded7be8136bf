/* SPDX-License-Identifier: MIT */
/* What comes over a link unasked: notifications, and the one that a stream follows. */
#include "config.h"

#include <errno.h>

#include "link-internal.h"
#include "local.h"

#define NOTIFIED_PAUSE_MS 200 /* as often as vzfwd-guest looks */

/* The link is of no use afterwards. */
static void notified_fail(struct link *link)
{
	struct error err = link->err;

	link_stop(link);
	link_set_state(link, LINK_OVER);
	if (link->accepted != NULL)
		link->accepted(link, NULL, &err, link->answer_arg);
	else
		link->notified(link, NULL, &err, link->answer_arg);
}

/* The last notification: what follows is a stream. */
static void accepted(struct link *link, json_t *params)
{
	struct link_accepted told = { .framing = FRAMING_RECORDS };

	if (rpc_port_accepted(params, &told.told, &link->err) < 0) {
		notified_fail(link);
		return;
	}
	loop_cancel(&link->task);
	link_set_state(link, LINK_IDLE);
	link->accepted(link, &told, NULL, link->answer_arg);
}

/*
 * One line at a time: the callback may free the link, and others have their turn. What comes more often than that stays
 * in the socket, and with the dialer: it does not say how much this process has to do.
 */
static void read_notification(void *arg)
{
	struct link *link = arg;
	_cleanup_json_ json_t *params = NULL;
	int rc = line_read(&link->line, link->fd);

	if (rc == -EAGAIN)
		return;
	if (rc == 1) {
		rc = rpc_parse_notification(link->line.text, link->line.length, link->method,
					    &params, &link->err);
		if (rc == 1 && link->accepted != NULL) {
			accepted(link, params);
			return;
		}
		if (rc >= 0) {
			loop_later(link->loop, &link->task, NOTIFIED_PAUSE_MS, read_notification,
				   link);
			if (rc == 1)
				link->notified(link, params, NULL, link->answer_arg);
			return;
		}
	} else {
		error_set(&link->err, REASON_UNREACHABLE, rc < 0 ? -rc : 0, "the link ended");
	}
	notified_fail(link);
}

static void local_notified(json_t *params, void *arg)
{
	struct link *link = arg;

	if (params != NULL) {
		link->notified(link, params, NULL, link->answer_arg);
		return;
	}
	error_set(&link->err, REASON_UNREACHABLE, 0, "the link ended");
	notified_fail(link);
}

void link_notify(struct link *link, const char *method, link_notified_cb cb, void *arg)
{
	link->method = method;
	link->notified = cb;
	link->answer_arg = arg;
	link_set_state(link, LINK_NOTIFIED);
	if (link->local != NULL)
		local_notify(link->local, local_notified, link);
	else
		loop_later(link->loop, &link->task, 0, read_notification, link);
}

void link_notified(struct link *link)
{
	if (link->task.list != NULL)
		return;
	if (link->accepted != NULL)
		read_notification(link); /* a client waits for this one */
	else
		loop_later(link->loop, &link->task, 0, read_notification, link);
}

static void local_accepted(int fd, const struct port_accepted *told, void *arg)
{
	struct link *link = arg;
	struct link_accepted client = { .framing = FRAMING_RAW };

	if (told == NULL) {
		error_set(&link->err, REASON_UNREACHABLE, 0, "the pod has gone");
		notified_fail(link);
		return;
	}
	client.told = *told;
	link->fd = fd;
	link_set_state(link, LINK_IDLE);
	link->accepted(link, &client, NULL, link->answer_arg);
}

void link_accept(struct link *link, link_accepted_cb cb, void *arg)
{
	link->method = METHOD_PORT_ACCEPTED;
	link->accepted = cb;
	link->answer_arg = arg;
	link->line.max = RPC_LINE_MAX; /* many links wait at a time */
	link_set_state(link, LINK_NOTIFIED);
	if (link->local != NULL)
		local_accept(link->local, local_accepted, link);
	else if (!link->line.alone)
		loop_later(link->loop, &link->task, 0, read_notification, link);
}
