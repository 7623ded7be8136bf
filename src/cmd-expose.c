/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd expose`: lets a pod reach services of the host and ports of other pods, and nothing else of either, until it is
 * told to stop.
 */
#include "config.h"

#include <errno.h>

#include "dns/responder.h"
#include "expose/expose.h"
#include "way-back.h"

#define DNS_PLACES 2

enum { OPTION_ON_LOOPBACK = 1, OPTION_DNS };

static const struct option_def options[] = {
	{ 0, "on-loopback", VALUE_NONE, NULL, NULL, "on the pod's 127.0.0.1 and ::1 too",
	  OPTION_ON_LOOPBACK },
	{ 0, "dns", VALUE_NONE, NULL, NULL,
	  "answer DNS questions for the host's names at its address in the pod", OPTION_DNS },
	WAY_BACK_OPTIONS,
	OPTION_ALLOW(DIAL_ALLOW),
	{ 0 },
};

struct exposing {
	struct way_back way;
	bool on_loopback, dns, zone;
	char *siblings_dir;
	struct expose_spec *specs;
	struct exposed **exposed;
	size_t spec_count, count;
	size_t turn; /* whose clients have the next room */
	struct dns_server *server;
	struct responder *responder; /* NULL: no --dns */
};

static struct exposing *exposing_of(const struct way_back *w)
{
	return container_of(w, struct exposing, way);
}

static int expose_option(int id, const char *value, void *arg, struct error *err)
{
	struct exposing *x = arg;

	switch (id) {
	case OPTION_ON_LOOPBACK:
		x->on_loopback = true;
		return 0;
	case OPTION_DNS:
		x->dns = true;
		return 0;
	case WAY_BACK_DNS_ZONE:
		x->zone = true;
		return way_back_option(&x->way, id, value, err);
	default:
		return way_back_option(&x->way, id, value, err);
	}
}

static void stop_all(struct way_back *w)
{
	struct exposing *x = exposing_of(w);

	for (size_t i = 0; i < x->count; i++) {
		expose_stop(x->exposed[i]);
		expose_abort(x->exposed[i]);
	}
	if (x->responder != NULL)
		responder_stop(x->responder);
}

static bool are_idle(const struct way_back *w)
{
	const struct exposing *x = exposing_of(w);

	for (size_t i = 0; i < x->count; i++) {
		if (!expose_is_idle(x->exposed[i]))
			return false;
	}
	return x->responder == NULL || responder_is_idle(x->responder);
}

/* Each is the first to have the room in its turn. */
static void go_on(struct way_back *w)
{
	struct exposing *x = exposing_of(w);

	x->turn++;
	for (size_t i = 0; i < x->count; i++)
		expose_go_on(x->exposed[(x->turn + i) % x->count]);
	if (x->responder != NULL)
		responder_go_on(x->responder);
}

static json_t *list_exposed(const struct way_back *w)
{
	const struct exposing *x = exposing_of(w);
	json_t *array = xcheck(json_array());

	for (size_t i = 0; i < x->count; i++)
		json_array_append_new(array, expose_to_json(x->exposed[i]));
	return array;
}

static const struct way_back_ops ops = {
	.command = "expose",
	.stop = stop_all,
	.is_idle = are_idle,
	.go_on = go_on,
	.list = list_exposed,
};

static void on_listening(struct exposed *exposed, const char *place, void *arg)
{
	(void)arg;
	command_say(xasprintf("Exposing %s -> %s\n", place, expose_target(exposed)));
}

static void on_accepted(struct exposed *exposed, void *arg)
{
	(void)arg;
	command_say(xasprintf("Handling connection for %s\n", expose_port(exposed)));
}

static void on_gone(struct exposed *exposed, void *arg)
{
	struct exposing *x = arg;

	(void)exposed;
	way_back_gone(&x->way);
}

static void on_failed(struct exposed *exposed, const struct error *err, void *arg)
{
	struct exposing *x = arg;

	(void)exposed;
	way_back_fail(&x->way, err);
}

static int parse_specs(struct exposing *x, const char **operands, int count, struct error *err)
{
	if (count < 2)
		return error_set(err, REASON_INVALID, EINVAL, "%s? See vzfwd expose --help",
				 count == 0 ? "which POD" : "which PORT");
	if (x->zone && !x->dns)
		return error_set(err, REASON_INVALID, EINVAL, "--dns-zone is for --dns");
	x->specs = xcalloc((size_t)count, sizeof(*x->specs));
	for (int i = 1; i < count; i++) {
		if (expose_spec_parse(&x->specs[i - 1], operands[i], err) < 0)
			return -EINVAL;
		x->spec_count++;
		for (int k = 1; k < i; k++) {
			if (expose_spec_same_place(&x->specs[k - 1], &x->specs[i - 1],
						   &x->way.alias))
				return error_set(
					err, REASON_INVALID, EINVAL,
					"%s and %s are the same place in the pod: NAME=IP:PORT has "
					"another address",
					operands[k], operands[i]);
		}
	}
	return 0;
}

static void on_asking(const char *place, void *arg)
{
	(void)arg;
	command_say(xasprintf("Answering DNS questions at %s\n", place));
}

static void on_unasked(const char *place, const struct error *err, void *arg)
{
	struct exposing *x = arg;
	struct error failed = *err;

	error_prefix(&failed, "%s", place);
	way_back_fail(&x->way, &failed);
}

static void on_asker_gone(void *arg)
{
	struct exposing *x = arg;

	way_back_gone(&x->way);
}

/* Of other names than ours nothing is told: that is egress's to decide. */
static bool may_resolve(const char *name, uint16_t type, void *arg)
{
	(void)name;
	(void)type;
	(void)arg;
	return false;
}

static void open_dns(struct exposing *x)
{
	struct dns_server_config server = { .zones = x->way.zones, .allowed = may_resolve };
	struct responder_config config = { .park = way_back_park(&x->way),
					   .address = x->way.alias,
					   .last_id = &x->way.forwarding.last_id,
					   .listening = on_asking,
					   .failed = on_unasked,
					   .gone = on_asker_gone,
					   .arg = x };

	if (!x->dns)
		return;
	config.server = x->server = dns_server_new(config.park.loop, &server);
	x->responder = responder_new(&config);
}

static void open_all(struct exposing *x, const char *tag)
{
	struct way_back *w = &x->way;
	struct expose_config config = {
		.park = way_back_park(w),
		.siblings_dir = x->siblings_dir,
		.alias = w->alias,
		.on_loopback = x->on_loopback,
		.timeout_ms = w->dial.timeout_ms,
		.udp_idle_ms = w->udp_idle_ms,
		.last_id = &w->forwarding.last_id,
		.listening = on_listening,
		.accepted = on_accepted,
		.gone = on_gone,
		.failed = on_failed,
		.arg = x,
	};

	x->exposed = xcalloc(x->spec_count, sizeof(*x->exposed));
	for (size_t i = 0; i < x->spec_count; i++) {
		config.spec = &x->specs[i];
		x->exposed[x->count++] = expose_new(&config);
	}
	open_dns(x);
	way_back_open(w, x->spec_count * (x->on_loopback ? 2 : 1) + (x->dns ? DNS_PLACES : 0), 0,
		      tag);
}

static int expose_start(struct cli *cli, struct exposing *x, const char **operands, int count,
			struct error *err)
{
	int rc = parse_specs(x, operands, count, err);

	if (rc == 0)
		rc = way_back_name(&x->way, x->specs, x->spec_count, err);
	if (rc == 0) {
		x->siblings_dir = pods_dir(cli->pods_dir, err);
		rc = x->siblings_dir != NULL ? 0 : -EPROTO;
	}
	if (rc == 0)
		rc = way_back_start(cli, &x->way, operands[0], err);
	if (rc == 0 && !x->way.forwarding.stopping)
		open_all(x, operands[1]);
	return rc;
}

static void expose_clear(struct exposing *x)
{
	for (size_t i = 0; i < x->count; i++)
		expose_free(x->exposed[i]);
	responder_free(x->responder);
	dns_server_free(x->server);
	way_back_clear(&x->way);
	for (size_t i = 0; i < x->spec_count; i++)
		expose_spec_clear(&x->specs[i]);
	free(x->exposed);
	free(x->specs);
	free(x->siblings_dir);
}

static int expose_run(struct cli *cli, int argc, char **argv)
{
	struct exposing x = { 0 };
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(char *));
	struct error err;
	int count, code = 0;

	way_back_init(&x.way, &ops);
	count = command_parse(cli, &cmd_expose, argc, argv, expose_option, &x, operands);
	if (forwarding_init(&x.way.forwarding, &err) < 0 ||
	    expose_start(cli, &x, operands, count, &err) < 0 || way_back_serve(&x.way, &err) < 0)
		code = command_fail("expose", &err);
	expose_clear(&x);
	return code;
}

const struct command cmd_expose = {
	.name = "expose",
	.synopsis = "POD [NAME[=IP]:]PORT[:[HOST:]PORT]...",
	.summary = "let a pod reach services of the host and of other pods",
	.details =
		"Each PORT is one that the pod reaches at the host's alias address and leads to a\n"
		"service, by default to the same port of 127.0.0.1 (or ::1). unix:PATH in place "
		"of\n"
		"the service is a Unix socket of the host's, pod:POD:PORT a port of another "
		"pod's;\n"
		"NAME is one more name for the pod to reach it by, IP an address to listen on "
		"(also\n"
		"without a name); unix:PATH in place of [NAME:]PORT is a Unix socket in the pod.\n"
		"/udp behind it is for datagrams.",
	.options = options,
	.operands = { VALUE_POD, VALUE_TEXT },
	.run = expose_run,
};
