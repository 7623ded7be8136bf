/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd listen`: forwards local ports and Unix sockets into a pod until it is told to stop. Speaks
 * kubectl port-forward's grammar and prints its lines.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "dial-options.h"
#include "lib/forward.h"
#include "lib/relay.h"
#include "signals.h"

/* Descriptors that are not connections': listeners, the registry, a look into a netns. */
#define SPARE_FDS 16

enum { OPTION_ADDRESS_LIST = 1, OPTION_MAX_CONNECTIONS, OPTION_THE_POD };

static const struct option_def options[] = {
	OPTION_POD(OPTION_THE_POD),
	{ 0, "address", VALUE_TEXT, "LIST", NULL,
	  "where to listen: localhost, *, addresses, separated by commas (default: localhost)",
	  OPTION_ADDRESS_LIST },
	{ 0, "max-connections", VALUE_NUMBER, "N", NULL,
	  "connections at a time; more wait (default: what the descriptor limit allows)",
	  OPTION_MAX_CONNECTIONS },
	DIAL_OPTIONS,
	{ 0 },
};

struct listen {
	struct loop loop;
	struct dial_options dial;
	const char *pod; /* --pod */
	char *pods_dir;  /* NULL if pod_arg is an endpoint */
	char *pod_arg;   /* what connections are made to */
	struct forward_bind *binds;
	size_t bind_count;
	uint64_t max_connections;
	struct accept_limit limit;
	struct forward_spec *specs;
	struct forward **forwards;
	size_t count;
	struct stop_signals signals;
	uint64_t last_id;
	bool stopping;
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
	case OPTION_ADDRESS_LIST:
		return add_addresses(l, value, err);
	case OPTION_MAX_CONNECTIONS:
		return opts_number("max-connections", value, 1, 1000000, &l->max_connections, err);
	default:
		return dial_option(&l->dial, id, value, err);
	}
}

/*
 * A line on stdout (owned, freed here), unless nobody reads there: that must not hold up a
 * connection.
 */
static void say(char *line)
{
	struct pollfd pfd = { .fd = STDOUT_FILENO, .events = POLLOUT };

	if (poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLOUT) &&
	    write(STDOUT_FILENO, line, strlen(line)) < 0)
		log_debug(NULL, "stdout: %s", errno_text(errno));
	free(line);
}

static void on_accepted(struct forward *forward, void *arg)
{
	(void)arg;
	say(xasprintf("Handling connection for %s\n", forward_local(forward)));
}

static void on_event(struct forward *forward, const struct connection_event *event, void *arg)
{
	struct listen *l = arg;

	(void)forward;
	(void)event;
	if (l->stopping && l->limit.count == 0)
		loop_stop(&l->loop);
}

/* The second one does not wait for the resets to be delivered: see forward_abort(). */
static void on_signal(int number, short what, void *arg)
{
	struct listen *l = arg;

	(void)number;
	(void)what;
	for (size_t i = 0; i < l->count; i++) {
		if (!l->stopping)
			forward_stop(l->forwards[i]);
		forward_abort(l->forwards[i]);
	}
	l->stopping = true;
	if (l->limit.count == 0)
		loop_stop(&l->loop);
}

static int open_forwards(struct listen *l, struct error *err)
{
	struct forward_bind localhost = { .type = BIND_LOCALHOST };
	struct forward_config config = {
		.pods_dir = l->pods_dir,
		.pod_arg = l->pod_arg,
		.handle = l->dial.handle,
		.container_id = l->dial.container,
		.policy = &l->dial.policy,
		.timeout_ms = l->dial.timeout_ms,
		.limit = &l->limit,
		.last_id = &l->last_id,
		.accepted = on_accepted,
		.event = on_event,
		.arg = l,
	};

	accept_limit_init(&l->limit, 0); /* known when the listeners are there */
	for (size_t i = 0; i < l->count; i++) {
		config.spec = &l->specs[i];
		l->forwards[i] =
			forward_new(&l->loop, &config, l->bind_count > 0 ? l->binds : &localhost,
				    l->bind_count > 0 ? l->bind_count : 1, err);
		if (l->forwards[i] == NULL)
			return -EPROTO;
	}
	l->limit.max = forward_connections_max(l->max_connections, SPARE_FDS);
	for (size_t i = 0; i < l->count; i++) {
		const char *local;

		for (size_t j = 0; (local = forward_listener(l->forwards[i], j)) != NULL; j++)
			say(xasprintf("Forwarding from %s -> %s\n", local,
				      forward_remote(l->forwards[i])));
	}
	return 0;
}

static int parse_forwards(struct listen *l, const char **operands, int count, struct error *err)
{
	if (count == 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "which FORWARD? See vzfwd listen --help");
	l->specs = xcalloc((size_t)count, sizeof(*l->specs));
	l->forwards = xcalloc((size_t)count, sizeof(struct forward *));
	for (int i = 0; i < count; i++) {
		if (forward_spec_parse(&l->specs[i], operands[i], err) < 0)
			return -EINVAL;
		l->count++;
	}
	return 0;
}

/* The pod has to be known at the start, but need not be reachable yet. */
static int find_pod(struct cli *cli, struct listen *l, struct error *err)
{
	struct pod pod;
	int rc = command_pod(cli, l->pod, l->dial.handle, &pod, err);

	if (rc < 0)
		return rc;
	if (pod.endpoint.type == ENDPOINT_FD)
		rc = error_set(err, REASON_INVALID, EINVAL, "fd: endpoints are for dial alone");
	l->pod_arg = pod.name != NULL ? xstrdup(pod.name) : endpoint_format(&pod.endpoint);
	l->pods_dir = pod.name != NULL ? pods_dir(cli->pods_dir, err) : NULL;
	pod_clear(&pod);
	return rc;
}

static int listen_start(struct cli *cli, struct listen *l, const char **operands, int count,
			struct error *err)
{
	int rc = loop_init(&l->loop);

	if (rc < 0)
		return error_set(err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
	relay_bulk_init(&l->loop);
	rc = parse_forwards(l, operands, count, err);
	if (rc == 0)
		rc = find_pod(cli, l, err);
	if (rc == 0)
		rc = signals_catch(&l->signals, &l->loop, on_signal, l, err);
	if (rc == 0)
		rc = open_forwards(l, err);
	return rc;
}

static void listen_clear(struct listen *l)
{
	signals_release(&l->signals);
	for (size_t i = 0; i < l->count; i++) {
		forward_free(l->forwards[i]);
		forward_spec_clear(&l->specs[i]);
	}
	free(l->forwards);
	free(l->specs);
	free(l->binds);
	free(l->pods_dir);
	free(l->pod_arg);
	policy_clear(&l->dial.policy);
	relay_bulk_clear(&l->loop);
	loop_clear(&l->loop);
}

static int listen_run(struct cli *cli, int argc, char **argv)
{
	struct listen l = { .dial.timeout_ms = TIMEOUT_MS_DEFAULT };
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(char *));
	struct error err;
	int count, code = 0;

	count = command_parse(cli, &cmd_listen, argc, argv, listen_option, &l, operands);
	if (listen_start(cli, &l, operands, count, &err) < 0) {
		code = command_fail("listen", &err);
	} else {
		if (loop_run(&l.loop) < 0) {
			error_set(&err, REASON_INTERNAL, 0, "the event loop failed");
			code = command_fail("listen", &err);
		}
		signals_release(&l.signals);
		relay_bulk_clear(&l.loop);
		loop_run(&l.loop); /* ends exec: endpoints' commands */
	}
	listen_clear(&l);
	return code;
}

const struct command cmd_listen = {
	.name = "listen",
	.synopsis = "[-p POD] FORWARD...",
	.summary = "forward local ports and Unix sockets into a pod",
	.details =
		"FORWARD is LOCAL:REMOTE, :REMOTE (a free local port), PORT (the same on both\n"
		"sides), BIND:LOCAL:REMOTE, LOCAL:HOST:REMOTE or BIND:LOCAL:HOST:REMOTE; HOST is\n"
		"an address as the pod sees it. unix:PATH stands for LOCAL to listen on a Unix\n"
		"socket.",
	.options = options,
	.operands = { VALUE_FORWARD },
	.run = listen_run,
};
