/* SPDX-License-Identifier: MIT */
/* From a pod and an address to a connected descriptor: a link, and pod.portDial on it. */
#include "config.h"

#include <errno.h>

#include "link.h"

/* The dialer keeps timeoutMs; this much more for the way there and back. */
#define ANSWER_GRACE_MS 5000

struct dialing {
	struct loop *loop;
	struct link *link;
	json_t *params;
	int timeout_ms;
	enum framing framing; /* that was asked for */
	link_dialed_cb cb;
	void *arg;
};

static void dialing_free(struct dialing *d)
{
	link_free(d->link);
	json_decref(d->params);
	free(d);
}

static void dialing_done(struct dialing *d, const struct link_dialed *dialed,
			 const struct error *err)
{
	link_dialed_cb cb = d->cb;
	void *arg = d->arg;
	struct error copy;

	if (err != NULL) {
		copy = *err;
		err = &copy;
	}
	dialing_free(d);
	cb(dialed, err, arg);
}

static int check_framing(const struct dialing *d, enum framing got, struct error *err)
{
	if (got == d->framing)
		return 0;
	if (got == FRAMING_RAW)
		return error_set(err, REASON_UNSUPPORTED, 0,
				 "the dialer does not speak records; see --framing raw");
	return error_set(err, REASON_INTERNAL, 0, "the dialer chose a framing nobody asked for");
}

static void dialing_answered(struct link *link, json_t *result, const struct error *err, void *arg)
{
	struct dialing *d = arg;
	struct link_dialed dialed = { .fd = -1 };
	struct port_dialed info = { 0 };
	struct error failed;

	if (err == NULL && (rpc_port_dialed(result, &info, &failed) < 0 ||
			    check_framing(d, info.framing, &failed) < 0))
		err = &failed;
	if (err == NULL) {
		dialed.fd = link_take_fd(link, &dialed.child);
		dialed.result = &info;
	}
	dialing_done(d, err == NULL ? &dialed : NULL, err);
	port_dialed_clear(&info);
}

static void dialing_opened(struct link *link, const struct error *err, void *arg)
{
	struct dialing *d = arg;
	json_t *params = d->params;

	if (err != NULL) {
		dialing_done(d, NULL, err);
		return;
	}
	d->params = NULL;
	link_call(link, "pod.portDial", params, d->timeout_ms + ANSWER_GRACE_MS, dialing_answered,
		  d);
}

struct dialing *link_dial(struct loop *loop, const struct link_options *options,
			  const struct port_dial *dial, link_dialed_cb cb, void *arg)
{
	struct dialing *d = xcalloc(1, sizeof(*d));
	struct port_dial asked = *dial;

	if (link_is_local(&options->pod->endpoint))
		asked.framing = FRAMING_RAW;
	d->loop = loop;
	d->framing = asked.framing;
	d->timeout_ms = dial->timeout_ms;
	d->params = rpc_port_dial_params(&asked);
	d->cb = cb;
	d->arg = arg;
	d->link = link_open(loop, options, dialing_opened, d);
	return d;
}

void link_dial_cancel(struct dialing *dialing)
{
	if (dialing != NULL)
		dialing_free(dialing);
}
