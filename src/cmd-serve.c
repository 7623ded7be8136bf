/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd serve`: a JSON-RPC server on Unix sockets of this host, for programs that open many connections into
 * pods. What it answers is in serve/.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "dial-options.h"
#include "httpd.h"
#include "lib/relay.h"
#include "lib/service.h"
#include "lib/sock.h"
#include "lib/trusted.h"
#include "serve/metrics.h"
#include "serve/serve.h"
#include "signals.h"

#define CALLERS_MAX 1024
/* Descriptors that are no connection's: listeners, the registry, a look into a netns. */
#define SPARE_FDS 32

enum {
	OPTION_SOCKET = 1,
	OPTION_ALLOW_UID,
	OPTION_MAX_CONNECTIONS,
	OPTION_POLICY,
	OPTION_POLICY_UNIX,
	OPTION_RETRY,
	OPTION_THE_EVENTS,
	OPTION_METRICS
};

static const struct option_def options[] = {
	{ 0, "socket", VALUE_FILE, "PATH", NULL,
	  "where to listen (default: /run/vzfwd/vzfwd.sock for root)", OPTION_SOCKET },
	{ 0, "allow-uid", VALUE_NUMBER, "UID", NULL,
	  "this user may call too, beside root and us; may be repeated", OPTION_ALLOW_UID },
	{ 0, "max-connections", VALUE_NUMBER, "N", NULL,
	  "connections at a time (default: what the descriptor limit allows)",
	  OPTION_MAX_CONNECTIONS },
	OPTION_EVENTS(OPTION_THE_EVENTS),
	{ 0, "metrics", VALUE_TEXT, "[ADDRESS:]PORT", NULL,
	  "tell Prometheus there (/metrics) what comes of connections", OPTION_METRICS },
	OPTION_ALLOW(OPTION_POLICY),
	OPTION_ALLOW_UNIX(OPTION_POLICY_UNIX),
	OPTION_RETRY_FOR(OPTION_RETRY),
	{ 0 },
};

struct server {
	struct loop loop;
	const char *socket;      /* --socket */
	const char *events_file; /* --events */
	struct events *events;
	const char *metrics_at; /* --metrics */
	struct httpd_page metrics_page;
	struct httpd *metrics;
	char *default_socket;
	char *pods_dir;
	uid_t *uids;
	size_t uid_count;
	struct policy policy;
	int retry_ms;
	uint64_t max_connections;
	struct serve serve;
	int *fds; /* until their acceptors have them */
	size_t fd_count;
	struct acceptor **acceptors; /* as many */
	struct sock_file file; /* of our own socket; all zero for those that were handed down */
	struct stop_signals signals;
};

static int serve_option(int id, const char *value, void *arg, struct error *err)
{
	struct server *s = arg;
	uint64_t uid;

	switch (id) {
	case OPTION_SOCKET:
		s->socket = value;
		return 0;
	case OPTION_ALLOW_UID:
		if (opts_number("allow-uid", value, 0, UINT32_MAX - 1, &uid, err) < 0)
			return -EINVAL;
		s->uids = xrealloc(s->uids, (s->uid_count + 1) * sizeof(*s->uids));
		s->uids[s->uid_count++] = (uid_t)uid;
		return 0;
	case OPTION_THE_EVENTS:
		s->events_file = value;
		return 0;
	case OPTION_METRICS:
		s->metrics_at = value;
		return 0;
	case OPTION_MAX_CONNECTIONS:
		return opts_number("max-connections", value, 1, 1000000, &s->max_connections, err);
	case OPTION_RETRY:
		return retry_for_option(value, &s->retry_ms, err);
	case OPTION_POLICY_UNIX:
		return policy_allow_unix(&s->policy, value, err);
	default:
		return policy_allow(&s->policy, value, err);
	}
}

/* Our own socket: the one that --socket names, or the default one, whose folder is made if it is missing. */
static int open_own(struct server *s, struct error *err)
{
	const char *path = s->socket;
	_cleanup_free_ char *dir = NULL;
	_cleanup_close_ int dir_fd = -1;
	int fd;

	if (path == NULL) {
		path = s->socket = s->default_socket = run_path(SERVE_SOCKET, err);
		if (path == NULL)
			return error_set(err, REASON_INVALID, EINVAL, "%s (use --socket PATH)",
					 err->message);
		dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
		dir_fd = trusted_open_dir(dir, true, err);
		if (dir_fd < 0)
			return dir_fd;
	}
	fd = sock_listen_unix(path, err);
	if (fd < 0)
		return error_prefix(err, "cannot listen");
	s->file = sock_file_of(path);
	s->fds = xrealloc(s->fds, (s->fd_count + 1) * sizeof(*s->fds));
	s->fds[s->fd_count++] = fd;
	return 0;
}

/* Those that a service manager has handed down, and ours unless these are there in place of it. */
static int open_listeners(struct server *s, struct error *err)
{
	int rc = service_listen_fds(&s->fds, &s->fd_count, err);

	if (rc == 0 && (s->fd_count == 0 || s->socket != NULL))
		rc = open_own(s, err);
	return rc;
}

static int open_metrics(struct server *s, struct error *err)
{
	if (s->metrics_at == NULL)
		return 0;
	s->metrics_page = (struct httpd_page){ "/metrics", METRICS_TYPE, metrics_write, &s->serve };
	s->metrics = httpd_open(&s->loop, s->metrics_at, &s->metrics_page, err);
	if (s->metrics == NULL)
		return error_prefix(err, "--metrics");
	for (size_t i = 0; httpd_listener(s->metrics, i) != NULL; i++)
		log_info(NULL, "metrics at http://%s/metrics", httpd_listener(s->metrics, i));
	return 0;
}

static void close_listeners(struct server *s)
{
	/* First, and once: when nobody listens any more, the next server puts its own in this one's place. */
	if (s->socket != NULL)
		sock_file_unlink(&s->file, s->socket);
	s->file = (struct sock_file){ 0 };
	for (size_t i = 0; s->acceptors != NULL && i < s->fd_count; i++) {
		acceptor_free(s->acceptors[i]);
		s->acceptors[i] = NULL;
	}
	for (size_t i = 0; i < s->fd_count; i++) {
		if (s->fds[i] >= 0)
			close(steal_fd(&s->fds[i]));
	}
}

static void on_idle(void *arg)
{
	struct server *s = arg;

	loop_stop(&s->loop);
}

static void on_signal(int number, short what, void *arg)
{
	struct server *s = arg;

	(void)what;
	if (number == SIGHUP) {
		events_reopen(s->events);
		return;
	}
	if (!s->serve.stopping) {
		service_notify("STOPPING=1");
		close_listeners(s);
	}
	serve_stop(&s->serve);
}

static int start(struct cli *cli, struct server *s, int count, struct error *err)
{
	struct serve_config config = { .loop = &s->loop,
				       .policy = &s->policy,
				       .retry_ms = s->retry_ms,
				       .idle = on_idle,
				       .arg = s };
	size_t descriptors;
	int rc;

	if (count > 0)
		return error_set(err, REASON_INVALID, EINVAL, "serve takes no operands");
	config.pods_dir = s->pods_dir = pods_dir(cli->pods_dir, err);
	if (s->pods_dir == NULL)
		return -EINVAL;
	rc = loop_init(&s->loop);
	if (rc < 0)
		return error_set(err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
	relay_bulk_init(&s->loop);
	/* A caller in a request has a descriptor of its own, and one for the link. */
	descriptors = fd_limit_raise();
	config.callers_max = descriptors / 8 < CALLERS_MAX ? descriptors / 8 : CALLERS_MAX;
	config.listeners_max = config.callers_max;
	config.connections_max = forward_connections_max(
		s->max_connections, 2 * config.callers_max + config.listeners_max + SPARE_FDS +
					    (s->metrics_at != NULL ? HTTPD_FDS_MAX : 0));
	config.uids = s->uids;
	config.uid_count = s->uid_count;
	if (s->events_file != NULL) {
		config.events = s->events = events_open(&s->loop, s->events_file, err);
		if (s->events == NULL)
			return -EPROTO;
	}
	serve_init(&s->serve, &config);
	if (signals_catch(&s->signals, &s->loop, on_signal, s, err) < 0 ||
	    open_metrics(s, err) < 0 || open_listeners(s, err) < 0)
		return -EPROTO;
	s->acceptors = xcalloc(s->fd_count, sizeof(struct acceptor *));
	for (size_t i = 0; i < s->fd_count; i++)
		s->acceptors[i] =
			acceptor_new(&s->loop, steal_fd(&s->fds[i]), &s->serve.callers_limit,
				     "callers", serve_accepted, &s->serve);
	if (s->socket != NULL)
		log_info(NULL, "listening on %s", s->socket);
	service_notify("READY=1");
	return 0;
}

static void clear(struct server *s)
{
	close_listeners(s);
	free(s->acceptors);
	free(s->fds);
	free(s->uids);
	free(s->default_socket);
	free(s->pods_dir);
	policy_clear(&s->policy);
	httpd_close(s->metrics);
	events_close(s->events);
	relay_bulk_clear(&s->loop);
	loop_clear(&s->loop);
}

static int serve_run(struct cli *cli, int argc, char **argv)
{
	struct server s = { .retry_ms = RETRY_MS_DEFAULT };
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(char *));
	struct error err;
	int count, code = 0;

	count = command_parse(cli, &cmd_serve, argc, argv, serve_option, &s, operands);
	if (start(cli, &s, count, &err) < 0) {
		code = command_fail("serve", &err);
	} else {
		if (loop_run(&s.loop) < 0) {
			error_set(&err, REASON_INTERNAL, 0, "the event loop failed");
			code = command_fail("serve", &err);
		}
		signals_release(&s.signals);
		events_end(s.events);
		httpd_close(s.metrics);
		s.metrics = NULL;
		serve_clear(&s.serve);
		relay_bulk_clear(&s.loop);
		loop_run(&s.loop); /* ends exec: endpoints' commands */
	}
	signals_release(&s.signals);
	clear(&s);
	return code;
}

const struct command cmd_serve = {
	.name = "serve",
	.synopsis = "",
	.summary = "answer programs that dial and forward, on a Unix socket",
	.details = "Speaks JSON-RPC in lines: pod.portDial, pod.ports, pod.add, pod.remove, "
		   "pod.list,\n"
		   "forward.add, forward.remove and forward.list; see vzfwd-serve(7).",
	.options = options,
	.run = serve_run,
};
