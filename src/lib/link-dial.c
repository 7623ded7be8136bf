/* SPDX-License-Identifier: MIT */
/* From a pod and an address to a connected descriptor: a link, and pod.portDial on it. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "link.h"
#include "watch.h"

/* The dialer keeps timeoutMs; this much more for the way there and back. */
#define ANSWER_GRACE_MS 5000

struct dialing {
	struct loop *loop;
	struct link *link;
	struct port_dial dial; /* as it is asked for */
	struct link_early *early;
	bool wants_watch;
	bool local;
	link_dialed_cb cb;
	void *arg;
	char texts[]; /* of dial */
};

static void dialing_free(struct dialing *d)
{
	link_free(d->link);
	free(d);
}

static void dialing_failed(struct dialing *d, const struct error *err)
{
	link_dialed_cb cb = d->cb;
	void *arg = d->arg;
	struct error copy = *err;

	dialing_free(d);
	cb(NULL, &copy, arg);
}

static int check_framing(const struct dialing *d, enum framing got, struct error *err)
{
	if (got == d->dial.framing || d->local)
		return 0;
	if (got == FRAMING_RAW)
		return error_set(err, REASON_UNSUPPORTED, 0,
				 "the dialer does not speak records; see --framing raw");
	return error_set(err, REASON_INTERNAL, 0, "the dialer chose a framing nobody asked for");
}

static void dialing_answered(struct link *link, const struct port_dialed *result,
			     const struct error *err, void *arg)
{
	struct dialing *d = arg;
	struct link_dialed dialed = { .result = result };
	struct error failed;

	if (err == NULL && check_framing(d, result->framing, &failed) < 0)
		err = &failed;
	if (err != NULL) {
		dialing_failed(d, err);
		return;
	}
	dialed.fd = link_take_fd(link, &dialed.child, &dialed.watch);
	if (dialed.watch != NULL && !d->wants_watch) {
		watch_stop(d->loop, dialed.watch);
		dialed.watch = NULL;
	}
	d->cb(&dialed, NULL, d->arg);
	dialing_free(d);
}

static void dialing_opened(struct link *link, const struct error *err, void *arg)
{
	struct dialing *d = arg;

	if (err != NULL)
		dialing_failed(d, err);
	else
		link_port_dial(link, &d->dial, d->early, d->dial.timeout_ms + ANSWER_GRACE_MS,
			       dialing_answered, d);
}

/* A copy of `text` (NULL: none) at *end, which goes behind it. */
static const char *keep(char **end, const char *text)
{
	char *copy = *end;

	if (text == NULL)
		return NULL;
	*end = stpcpy(copy, text) + 1;
	return copy;
}

bool link_is_local(const struct endpoint *ep)
{
	return ep->type == ENDPOINT_NETNS || ep->type == ENDPOINT_PID;
}

struct dialing *link_dial(struct loop *loop, const struct link_options *options,
			  const struct port_dial *dial, link_dialed_cb cb, void *arg)
{
	size_t id_size = dial->container_id != NULL ? strlen(dial->container_id) + 1 : 0;
	struct dialing *d = xmalloc(sizeof(*d) + strlen(dial->handle) + 1 + strlen(dial->address) +
				    1 + id_size);
	char *end = d->texts;

	*d = (struct dialing){ .loop = loop,
			       .dial = *dial,
			       .early = options->early,
			       .wants_watch = options->wants_watch,
			       .cb = cb,
			       .arg = arg };
	d->dial.handle = keep(&end, dial->handle);
	d->dial.address = keep(&end, dial->address);
	d->dial.container_id = keep(&end, dial->container_id);
	d->local = link_is_local(&options->pod->endpoint);
	d->link = link_open(loop, options, dialing_opened, d);
	return d;
}

void link_dial_cancel(struct dialing *dialing)
{
	if (dialing != NULL)
		dialing_free(dialing);
}
