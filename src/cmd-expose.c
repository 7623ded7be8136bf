/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd expose`: lets a pod reach services of the host and ports of other pods, and nothing else of either, until it is
 * told to stop.
 */
#include "config.h"

#include <errno.h>

#include "dial-options.h"
#include "expose/expose.h"
#include "forwarding.h"
#include "lib/sock.h"
#include "report.h"

/* As gvproxy and podman have it. */
#define ALIAS_DEFAULT "192.168.127.254"
#define RATE_MAX 1000000
#define PARKED_MAX 1024
/* Descriptors that are none of connections'. */
#define SPARE_FDS 16

enum {
	OPTION_ALIAS_IP = 1,
	OPTION_ON_LOOPBACK,
	OPTION_PARK,
	OPTION_PARK_MAX,
	OPTION_CONNECT_RATE,
	OPTION_MAX_CONNECTIONS,
	OPTION_UDP_IDLE,
	OPTION_WAIT,
	OPTION_THE_EVENTS
};

static const struct option_def options[] = {
	{ 0, "alias-ip", VALUE_TEXT, "IP", NULL,
	  "the address in the pod that stands for the host (default: " ALIAS_DEFAULT ")",
	  OPTION_ALIAS_IP },
	{ 0, "on-loopback", VALUE_NONE, NULL, NULL, "on the pod's 127.0.0.1 and ::1 too",
	  OPTION_ON_LOOPBACK },
	{ 0, "wait", VALUE_NONE, NULL, NULL, "wait until the pod is there", OPTION_WAIT },
	{ 0, "park", VALUE_NUMBER, "N", NULL,
	  "links that wait for clients of the pod, for each port (default 4)", OPTION_PARK },
	{ 0, "park-max", VALUE_NUMBER, "N", NULL, "and as many under load (default 64)",
	  OPTION_PARK_MAX },
	{ 0, "connect-rate", VALUE_NUMBER, "N", NULL,
	  "clients a second at most; more wait (default 10000)", OPTION_CONNECT_RATE },
	{ 0, "max-connections", VALUE_NUMBER, "N", NULL,
	  "connections at a time; more wait (default: what the descriptor limit allows)",
	  OPTION_MAX_CONNECTIONS },
	{ 0, "udp-idle", VALUE_TEXT, "SECONDS", NULL,
	  "udp: a client is forgotten after this much silence (default 90)", OPTION_UDP_IDLE },
	{ 0, "timeout", VALUE_TEXT, "SECONDS", NULL,
	  "how long connecting to a service may take (0.001 to 600, default 10)", DIAL_TIMEOUT },
	OPTION_HANDLE(DIAL_HANDLE),
	OPTION_CONTAINER(DIAL_CONTAINER),
	OPTION_ALLOW(DIAL_ALLOW),
	OPTION_ALLOW_UNIX(DIAL_ALLOW_UNIX),
	OPTION_EVENTS(OPTION_THE_EVENTS),
	{ 0 },
};

struct exposing {
	struct forwarding forwarding; /* of no forwards: the loop and the signals */
	struct dial_options dial;
	struct address alias;
	bool on_loopback, wait;
	uint64_t park, park_max, rate, max_connections;
	int udp_idle_ms;
	const char *events;
	char *pods_dir, *pod_arg, *siblings_dir;
	struct expose_spec *specs;
	struct exposed **exposed;
	size_t spec_count, count;
	size_t room;
	size_t turn; /* whose clients have the next room */
	bool failed;
	struct error err; /* that ended it */
};

static int alias_option(const char *value, struct address *alias, struct error *err)
{
	if (*value != '\0' && address_parse_host(alias, value, NULL) == 0 &&
	    alias->family != AF_UNSPEC)
		return 0;
	return error_set(err, REASON_INVALID, EINVAL,
			 "--alias-ip must be an IP address, got \"%s\"", value);
}

static int expose_option(int id, const char *value, void *arg, struct error *err)
{
	struct exposing *x = arg;

	switch (id) {
	case OPTION_ALIAS_IP:
		return alias_option(value, &x->alias, err);
	case OPTION_ON_LOOPBACK:
		x->on_loopback = true;
		return 0;
	case OPTION_WAIT:
		x->wait = true;
		return 0;
	case OPTION_PARK:
		return opts_number("park", value, 1, PARKED_MAX, &x->park, err);
	case OPTION_PARK_MAX:
		return opts_number("park-max", value, 1, PARKED_MAX, &x->park_max, err);
	case OPTION_CONNECT_RATE:
		return opts_number("connect-rate", value, 1, RATE_MAX, &x->rate, err);
	case OPTION_MAX_CONNECTIONS:
		return opts_number("max-connections", value, 1, 1000000, &x->max_connections, err);
	case OPTION_UDP_IDLE:
		return dial_seconds("udp-idle", value, &x->udp_idle_ms, err);
	case OPTION_THE_EVENTS:
		x->events = value;
		return 0;
	default:
		return dial_option(&x->dial, id, value, err);
	}
}

static void stop_if_done(struct exposing *x)
{
	if (!x->forwarding.stopping)
		return;
	for (size_t i = 0; i < x->count; i++) {
		if (!expose_is_idle(x->exposed[i]))
			return;
	}
	loop_stop(&x->forwarding.loop);
}

static void stop(struct exposing *x)
{
	x->forwarding.stopping = true;
	for (size_t i = 0; i < x->count; i++) {
		expose_stop(x->exposed[i]);
		expose_abort(x->exposed[i]);
	}
	stop_if_done(x);
}

static void on_signal(int number, short what, void *arg)
{
	(void)number;
	(void)what;
	stop(arg);
}

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
	x->turn++;
	for (size_t i = 0; i < x->count; i++)
		expose_go_on(x->exposed[(x->turn + i) % x->count]);
	stop_if_done(x);
}

/* What can't be had at first ends it; later, it is tried again. */
static void on_failed(struct exposed *exposed, const struct error *err, void *arg)
{
	struct exposing *x = arg;

	(void)exposed;
	if (x->forwarding.stopping)
		return;
	x->failed = true;
	x->err = *err;
	stop(x);
}

/* For vzfwd status. */
static json_t *list_exposed(void *arg)
{
	const struct exposing *x = arg;
	json_t *array = xcheck(json_array());

	for (size_t i = 0; i < x->count; i++)
		json_array_append_new(array, expose_to_json(x->exposed[i]));
	return array;
}

static int parse_specs(struct exposing *x, const char **operands, int count, struct error *err)
{
	if (count < 2)
		return error_set(err, REASON_INVALID, EINVAL, "%s? See vzfwd expose --help",
				 count == 0 ? "which POD" : "which PORT");
	if (x->park > x->park_max)
		return error_set(err, REASON_INVALID, EINVAL, "--park is more than --park-max");
	x->specs = xcalloc((size_t)count, sizeof(*x->specs));
	for (int i = 1; i < count; i++) {
		if (expose_spec_parse(&x->specs[i - 1], operands[i], err) < 0)
			return -EINVAL;
		x->spec_count++;
		for (int k = 1; k < i; k++) {
			if (expose_spec_same_place(&x->specs[k - 1], &x->specs[i - 1], &x->alias))
				return error_set(
					err, REASON_INVALID, EINVAL,
					"%s and %s are the same place in the pod: NAME=IP:PORT has "
					"another address",
					operands[k], operands[i]);
		}
	}
	return 0;
}

/* Descriptors that are left for links that are parked: enough for all that may be, but no more than a quarter. */
static size_t parked_fds(const struct exposing *x)
{
	size_t places = x->spec_count * (x->on_loopback ? 2 : 1), wanted = places * x->park_max,
	       most = fd_limit_raise() / 4;

	return wanted < most ? wanted : most;
}

static void open_all(struct exposing *x)
{
	struct expose_config config = {
		.loop = &x->forwarding.loop,
		.pods_dir = x->pods_dir,
		.pod_arg = x->pod_arg,
		.handle = x->dial.handle,
		.container_id = x->dial.container,
		.siblings_dir = x->siblings_dir,
		.policy = &x->dial.policy,
		.alias = x->alias,
		.on_loopback = x->on_loopback,
		.park = (unsigned)x->park,
		.park_max = (unsigned)x->park_max,
		.rate = (unsigned)x->rate,
		.timeout_ms = x->dial.timeout_ms,
		.udp_idle_ms = x->udp_idle_ms,
		.room = &x->room,
		.last_id = &x->forwarding.last_id,
		.events = x->forwarding.events,
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
	x->room = forward_connections_max(x->max_connections, parked_fds(x) + SPARE_FDS);
}

static int expose_start(struct cli *cli, struct exposing *x, const char **operands, int count,
			struct error *err)
{
	struct forwarding *f = &x->forwarding;
	int rc = forwarding_init(f, err);

	if (rc == 0)
		rc = parse_specs(x, operands, count, err);
	if (rc == 0) {
		x->siblings_dir = pods_dir(cli->pods_dir, err);
		rc = x->siblings_dir != NULL ? 0 : -EPROTO;
	}
	if (rc == 0)
		rc = signals_catch(&f->signals, &f->loop, on_signal, x, err);
	if (rc == 0)
		rc = forwarding_events(f, x->events, err);
	if (rc == 0)
		f->report = report_open(&f->loop, "expose", list_exposed, x);
	if (rc == 0 && x->wait)
		rc = forwarding_wait(f, cli, operands[0], x->dial.handle, x->dial.container, err);
	if (rc == 0 && !f->stopping)
		rc = forwarding_pod(cli, operands[0], x->dial.handle, &x->pods_dir, &x->pod_arg,
				    err);
	if (rc == 0 && !f->stopping)
		open_all(x);
	return rc;
}

static int expose_serve(struct exposing *x, struct error *err)
{
	int rc = forwarding_run(&x->forwarding, err);

	if (rc == 0 && x->failed) {
		*err = x->err;
		rc = -EPROTO;
	}
	return rc;
}

static void expose_clear(struct exposing *x)
{
	for (size_t i = 0; i < x->count; i++)
		expose_free(x->exposed[i]);
	free(x->exposed);
	forwarding_clear(&x->forwarding);
	for (size_t i = 0; i < x->spec_count; i++)
		expose_spec_clear(&x->specs[i]);
	free(x->specs);
	free(x->pods_dir);
	free(x->pod_arg);
	free(x->siblings_dir);
	policy_clear(&x->dial.policy);
}

static int expose_run(struct cli *cli, int argc, char **argv)
{
	struct exposing x = { .dial.timeout_ms = TIMEOUT_MS_DEFAULT,
			      .park = PARK_DEFAULT,
			      .park_max = PARK_MAX_DEFAULT,
			      .rate = PARK_RATE_DEFAULT };
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(char *));
	struct error err;
	int count, code = 0;

	alias_option(ALIAS_DEFAULT, &x.alias, NULL);
	count = command_parse(cli, &cmd_expose, argc, argv, expose_option, &x, operands);
	if (expose_start(cli, &x, operands, count, &err) < 0 || expose_serve(&x, &err) < 0)
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
		"without a name);\n"
		"unix:PATH in place of [NAME:]PORT is a Unix socket in the pod. /udp behind it\n"
		"is for datagrams.",
	.options = options,
	.operands = { VALUE_POD, VALUE_TEXT },
	.run = expose_run,
};
