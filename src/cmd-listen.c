/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd listen`: forwards local ports and Unix sockets into a pod until it is told to stop. Speaks
 * kubectl port-forward's grammar and prints its lines.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "auto.h"
#include "dial-options.h"
#include "forwarding.h"

enum {
	OPTION_ADDRESS_LIST = 1,
	OPTION_MAX_CONNECTIONS,
	OPTION_THE_POD,
	OPTION_THE_EVENTS,
	OPTION_UDP_IDLE,
	OPTION_WAIT,
	OPTION_AUTO,
	OPTION_AUTO_INCLUDE,
	OPTION_AUTO_EXCLUDE
};

static const struct option_def options[] = {
	OPTION_POD(OPTION_THE_POD),
	{ 0, "address", VALUE_TEXT, "LIST", NULL,
	  "where to listen: localhost, *, addresses, separated by commas (default: localhost)",
	  OPTION_ADDRESS_LIST },
	{ 0, "max-connections", VALUE_NUMBER, "N", NULL,
	  "connections at a time; more wait (default: what the descriptor limit allows)",
	  OPTION_MAX_CONNECTIONS },
	OPTION_EVENTS(OPTION_THE_EVENTS),
	{ 0, "udp-idle", VALUE_TEXT, "SECONDS", NULL,
	  "udp: a client is forgotten after this much silence (default 90)", OPTION_UDP_IDLE },
	{ 0, "wait", VALUE_NONE, NULL, NULL, "wait until the pod is there, then listen",
	  OPTION_WAIT },
	OPTION_RETRY_FOR(DIAL_RETRY_FOR),
	{ 0, "auto", VALUE_NONE, NULL, NULL,
	  "forward each port that listens in the pod, for as long as it does", OPTION_AUTO },
	{ 0, "auto-include", VALUE_TEXT, "RANGES", NULL,
	  "--auto: these ports alone, as 8000-8999,3000", OPTION_AUTO_INCLUDE },
	{ 0, "auto-exclude", VALUE_TEXT, "RANGES", NULL, "--auto: not these ports",
	  OPTION_AUTO_EXCLUDE },
	CAPTURE_OPTIONS,
	DIAL_OPTIONS,
	{ 0 },
};

struct listen {
	struct forwarding forwarding;
	struct dial_options dial;
	const char *pod;    /* --pod */
	const char *events; /* --events */
	char *pods_dir;     /* NULL if pod_arg is an endpoint */
	char *pod_arg;      /* what connections are made to */
	struct forward_bind *binds;
	size_t bind_count;
	uint64_t max_connections;
	int udp_idle_ms;
	bool wait;
	bool follows; /* --auto */
	struct port_ranges include, exclude;
	struct auto_forwards *autos; /* NULL: none */
	struct capture_options captures;
	struct capture *capture;    /* NULL: none */
	struct forward_spec *specs; /* of the operands, until they are forwards */
	size_t count;
};

/* --address a,b,c: adds to what is there. */
static int add_addresses(struct listen *l, const char *list, struct error *err)
{
	_cleanup_free_ char *copy = xstrdup(list);
	char *rest = copy, *item;

	while ((item = strsep(&rest, ",")) != NULL) {
		struct forward_bind *bind;

		l->binds = xrealloc(l->binds, (l->bind_count + 1) * sizeof(*l->binds));
		bind = &l->binds[l->bind_count];
		memset(bind, 0, sizeof(*bind));
		if (bind_parse(&bind->type, &bind->address, item, err) < 0)
			return error_prefix(err, "--address");
		l->bind_count++;
	}
	return 0;
}

static int listen_option(int id, const char *value, void *arg, struct error *err)
{
	struct listen *l = arg;

	switch (id) {
	case OPTION_THE_POD:
		l->pod = value;
		return 0;
	case OPTION_WAIT:
		l->wait = true;
		return 0;
	case OPTION_THE_EVENTS:
		l->events = value;
		return 0;
	case OPTION_ADDRESS_LIST:
		return add_addresses(l, value, err);
	case OPTION_MAX_CONNECTIONS:
		return opts_number("max-connections", value, 1, 1000000, &l->max_connections, err);
	case OPTION_UDP_IDLE:
		return dial_seconds("udp-idle", value, &l->udp_idle_ms, err);
	case CAPTURE_FILE:
	case CAPTURE_LIMIT:
		return capture_option(&l->captures, id, value, err);
	case OPTION_AUTO:
		l->follows = true;
		return 0;
	case OPTION_AUTO_INCLUDE:
		return port_ranges_add(&l->include, "auto-include", value, err);
	case OPTION_AUTO_EXCLUDE:
		return port_ranges_add(&l->exclude, "auto-exclude", value, err);
	default:
		return dial_option(&l->dial, id, value, err);
	}
}

static void on_accepted(struct forwarded *forwarded)
{
	command_say(xasprintf("Handling connection for %s\n", forward_local(forwarded->forward)));
}

static int open_forwards(struct listen *l, struct error *err)
{
	const struct forward_config config = {
		.pods_dir = l->pods_dir,
		.pod_arg = l->pod_arg,
		.handle = l->dial.handle,
		.container_id = l->dial.container,
		.policy = &l->dial.policy,
		.timeout_ms = l->dial.timeout_ms,
		.udp_idle_ms = l->udp_idle_ms,
		.retry_ms = l->dial.retry_ms,
		.capture = l->capture,
	};
	struct forwarded *one;

	for (size_t i = 0; i < l->count; i++) {
		if (forwarding_add(&l->forwarding, &config, &l->specs[i], l->binds, l->bind_count,
				   err) == NULL)
			return -EPROTO;
	}
	if (l->follows)
		l->forwarding.reserved = auto_descriptors();
	forwarding_limit(&l->forwarding, l->max_connections);
	TAILQ_FOREACH (one, &l->forwarding.forwards, next)
		forwarding_say(one);
	if (l->follows)
		l->autos = auto_start(&(struct auto_config){ .forwarding = &l->forwarding,
							     .forward = config,
							     .binds = l->binds,
							     .bind_count = l->bind_count,
							     .include = &l->include,
							     .exclude = &l->exclude });
	return 0;
}

static int parse_forwards(struct listen *l, const char **operands, int count, struct error *err)
{
	if (!l->follows && (l->include.count > 0 || l->exclude.count > 0))
		return error_set(err, REASON_INVALID, EINVAL,
				 "--auto-include and --auto-exclude are for --auto");
	if (count == 0 && !l->follows)
		return error_set(err, REASON_INVALID, EINVAL,
				 "which FORWARD? See vzfwd listen --help");
	l->specs = xcalloc((size_t)count + 1, sizeof(*l->specs));
	for (int i = 0; i < count; i++) {
		if (forward_spec_parse(&l->specs[i], operands[i], err) < 0)
			return -EINVAL;
		l->count++;
	}
	return 0;
}

static int listen_start(struct cli *cli, struct listen *l, const char **operands, int count,
			struct error *err)
{
	struct forwarding *f = &l->forwarding;
	int rc = forwarding_init(f, err);

	f->accepted = on_accepted;
	if (rc == 0)
		rc = parse_forwards(l, operands, count, err);
	if (rc == 0)
		rc = signals_catch(&f->signals, &f->loop, forwarding_on_signal, f, err);
	if (rc == 0)
		rc = forwarding_events(f, l->events, err);
	if (rc == 0)
		rc = capture_start(&l->captures, &f->loop, &l->capture, err);
	if (rc == 0)
		forwarding_report(f, "listen");
	if (rc == 0 && l->wait)
		rc = forwarding_wait(f, cli, l->pod, l->dial.handle, l->dial.container, err);
	if (rc == 0 && !f->stopping)
		rc = forwarding_pod(cli, l->pod, l->dial.handle, &l->pods_dir, &l->pod_arg, err);
	if (rc == 0 && !f->stopping)
		rc = open_forwards(l, err);
	return rc;
}

static void listen_clear(struct listen *l)
{
	auto_stop(l->autos);
	capture_close(l->capture);
	forwarding_clear(&l->forwarding);
	for (size_t i = 0; i < l->count; i++)
		forward_spec_clear(&l->specs[i]);
	free(l->specs);
	free(l->binds);
	port_ranges_clear(&l->include);
	port_ranges_clear(&l->exclude);
	free(l->pods_dir);
	free(l->pod_arg);
	policy_clear(&l->dial.policy);
}

static int listen_run(struct cli *cli, int argc, char **argv)
{
	struct listen l = { .dial = { .timeout_ms = TIMEOUT_MS_DEFAULT,
				      .retry_ms = RETRY_MS_DEFAULT } };
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(char *));
	struct error err;
	int count, code = 0;

	count = command_parse(cli, &cmd_listen, argc, argv, listen_option, &l, operands);
	if (listen_start(cli, &l, operands, count, &err) < 0 ||
	    forwarding_run(&l.forwarding, &err) < 0)
		code = command_fail("listen", &err);
	listen_clear(&l);
	return code;
}

const struct command cmd_listen = {
	.name = "listen",
	.synopsis = "[-p POD] [--auto] [FORWARD...]",
	.summary = "forward local ports and Unix sockets into a pod",
	.details =
		"FORWARD is LOCAL:REMOTE, :REMOTE (a free local port), PORT (the same on both\n"
		"sides), BIND:LOCAL:REMOTE, LOCAL:HOST:REMOTE or BIND:LOCAL:HOST:REMOTE; HOST is\n"
		"an address as the pod sees it. unix:PATH stands for LOCAL to listen on a Unix\n"
		"socket, and for REMOTE to reach one in the pod, where PATH is absolute. /udp\n"
		"behind all but these forwards datagrams.\n\n"
		"--auto forwards whatever listens in the pod, each port from the same local one "
		"or\n"
		"the next that is free.",
	.options = options,
	.operands = { VALUE_FORWARD },
	.run = listen_run,
};
