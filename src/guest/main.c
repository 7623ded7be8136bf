/* SPDX-License-Identifier: MIT */
/*
 * vzfwd-guest: listeners, privileges, signals, and the exit code. What happens on a
 * link is in handshake.c.
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/inherit.h"
#include "lib/pods.h"
#include "lib/service.h"
#include "lib/sock.h"
#include "handshake.h"
#include "options.h"

#define HANDSHAKES_MAX 256
#define CONNECTIONS_MAX 20000
#define RESERVED_MAX 64 /* descriptors for all that is no relay, beside relay_bulk_descriptors() */
#define REFUSED_LOG_MS 10000 /* peers that were refused are told of at most this often */

struct listener {
	char *label;
	int fd;                /* until the acceptor has it */
	struct sock_file file; /* of a Unix socket */
	struct acceptor *acceptor;
};

struct guest {
	struct guest_options options;
	char *token;
	struct listener *listeners; /* options.listen_count */
	int rfd, wfd;               /* --stdio */
	struct loop loop;
	struct dialer *dialer;
	struct accept_limit handshakes;
	struct server server;
	struct event *signals[2];
	bool stopping;
	int64_t refused_logged; /* now_ms() of the last line about a refused peer; 0: none yet */
	unsigned refused;       /* how many since, not told of */
};

static void peer_refused(struct guest *g, const char *who)
{
	int64_t now = now_ms();

	if (g->refused_logged != 0 && now - g->refused_logged < REFUSED_LOG_MS) {
		g->refused++;
		return;
	}
	if (g->refused > 0)
		log_warning(NULL, "refused %u more peers", g->refused);
	log_warning(NULL, "refused a peer: %s", who);
	g->refused_logged = now;
	g->refused = 0;
}

static void accepted(int fd, const struct sockaddr_storage *peer, void *arg)
{
	struct guest *g = arg;
	char who[PEER_TEXT_MAX];

	if (peer_allowed(&g->options.peers, fd, peer, who)) {
		handshake_start(&g->server, fd, fd);
		return;
	}
	close(fd);
	accept_limit_release(&g->handshakes);
	peer_refused(g, who);
}

/* The last link is gone: with --stdio there won't be another, and when stopping neither. */
static void server_idle(void *arg)
{
	struct guest *g = arg;

	if (g->stopping || g->options.stdio)
		loop_stop(&g->loop);
}

static void listeners_close(struct guest *g)
{
	for (size_t i = 0; g->listeners != NULL && i < g->options.listen_count; i++) {
		struct listener *listener = &g->listeners[i];
		const struct endpoint *ep = &g->options.listen[i];

		if (listener->acceptor == NULL && listener->fd < 0)
			continue;
		/* As another user we may not be permitted to; the next start replaces it then. */
		if (ep->type == ENDPOINT_UNIX)
			sock_file_unlink(&listener->file, ep->text);
		acceptor_free(listener->acceptor);
		listener->acceptor = NULL;
		if (listener->fd >= 0)
			close(steal_fd(&listener->fd));
	}
}

static void signal_cb(evutil_socket_t number, short what, void *arg)
{
	struct guest *g = arg;

	(void)what;
	if (g->stopping) {
		inherit_restore();
		_exit(0);
	}
	log_info(NULL, "stopped by %s", number == SIGTERM ? "SIGTERM" : "SIGINT");
	g->stopping = true;
	if (!g->options.stdio)
		service_notify("STOPPING=1");
	listeners_close(g);
	server_stop(&g->server);
}

static int listeners_open(struct guest *g, struct error *err)
{
	g->listeners = xcalloc(g->options.listen_count + 1, sizeof(*g->listeners));
	for (size_t i = 0; i < g->options.listen_count; i++)
		g->listeners[i] =
			(struct listener){ .label = endpoint_format(&g->options.listen[i]),
					   .fd = -1 };
	for (size_t i = 0; i < g->options.listen_count; i++) {
		g->listeners[i].fd = listen_open(&g->options.listen[i], err);
		if (g->listeners[i].fd < 0)
			return error_prefix(err, "cannot listen");
		if (g->options.listen[i].type == ENDPOINT_UNIX)
			g->listeners[i].file = sock_file_of(g->options.listen[i].text);
	}
	return 0;
}

/* As many relays as there are descriptors for: two each, and some are left for what is no relay. */
static size_t connections_default(size_t descriptors)
{
	size_t most = RESERVED_MAX + relay_bulk_descriptors();
	size_t reserved = descriptors / 4 < most ? descriptors / 4 : most;
	size_t n = (descriptors - reserved) / 2;

	return n < CONNECTIONS_MAX ? n : CONNECTIONS_MAX;
}

/* The loop with its events, but for the acceptors. */
static int guest_init(struct guest *g, struct error *err)
{
	static const int numbers[] = { SIGTERM, SIGINT };
	struct dialer_config config = { .source = g->options.source,
					.policy = &g->options.policy,
					.token = g->token,
					.allow_expose = g->options.allow_expose,
					.allow_egress = g->options.allow_egress,
					.one_link = g->options.stdio };
	size_t descriptors = fd_limit_raise();
	int rc = loop_init(&g->loop);

	if (rc < 0)
		return error_set(err, REASON_EXHAUSTED, -rc, "event loop: %s", errno_text(-rc));
	if (!g->options.stdio)
		relay_bulk_init(&g->loop);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		g->signals[i] = evsignal_new(g->loop.base, numbers[i], signal_cb, g);
		if (g->signals[i] == NULL || event_add(g->signals[i], NULL) < 0)
			return error_set(err, REASON_EXHAUSTED, 0, "cannot handle signals");
	}
	g->dialer = dialer_new(&g->loop, &config);
	accept_limit_init(&g->handshakes, HANDSHAKES_MAX);
	server_init(&g->server,
		    &(struct server_config){
			    .loop = &g->loop,
			    .dialer = g->dialer,
			    .handshakes = g->options.stdio ? NULL : &g->handshakes,
			    .max_connections = g->options.max_connections != 0
						       ? (size_t)g->options.max_connections
						       : connections_default(descriptors),
			    .idle = server_idle,
			    .arg = g,
		    });
	return 0;
}

static void acceptors_start(struct guest *g)
{
	for (size_t i = 0; i < g->options.listen_count; i++) {
		struct listener *listener = &g->listeners[i];

		listener->acceptor = acceptor_new(&g->loop, steal_fd(&listener->fd), &g->handshakes,
						  listener->label, accepted, g);
		log_info(NULL, "listening on %s", listener->label);
	}
	service_notify("READY=1");
}

/* Whether it can be waited for: a regular file and /dev/null can't. */
static bool is_stream(int fd, struct stat *st)
{
	return fstat(fd, st) == 0 && (S_ISFIFO(st->st_mode) || S_ISSOCK(st->st_mode) || isatty(fd));
}

static int stdio_open(struct guest *g, struct error *err)
{
	struct stat in, out;

	if (!is_stream(STDIN_FILENO, &in) || !is_stream(STDOUT_FILENO, &out))
		return error_set(err, REASON_INVALID, 0,
				 "--stdio: stdin and stdout must be pipes, sockets or a terminal");
	g->rfd = inherit_open(STDIN_FILENO, false);
	g->wfd = g->rfd < 0 ? g->rfd : inherit_open(STDOUT_FILENO, true);
	if (g->wfd < 0)
		return error_set(err, REASON_EXHAUSTED, -g->wfd, "--stdio: %s",
				 errno_text(-g->wfd));
	/* Both may be one socket, as under inetd: a link has it once then. */
	if (S_ISSOCK(in.st_mode) && in.st_dev == out.st_dev && in.st_ino == out.st_ino) {
		close(g->wfd);
		g->wfd = g->rfd;
	}
	return 0;
}

static unsigned caps_kept(const struct guest_options *o)
{
	return CAPS_NETNS | (o->policy.unix_paths.count > 0 ? CAPS_UNIX : 0) |
	       (o->allow_expose ? CAPS_EXPOSE : 0) | (o->allow_egress ? CAPS_EGRESS : 0);
}

static int guest_run(struct guest *g, struct error *err)
{
	if (g->options.token_file != NULL && token_read(g->options.token_file, &g->token, err) < 0)
		return -EPROTO;
	if ((g->options.stdio ? stdio_open(g, err) : listeners_open(g, err)) < 0 ||
	    guest_init(g, err) < 0 || caps_drop(caps_kept(&g->options), &g->options.user, err) < 0)
		return -EPROTO;
	if (g->options.stdio)
		handshake_start(&g->server, g->rfd, g->wfd);
	else
		acceptors_start(g);
	return loop_run(&g->loop) < 0 ? error_set(err, REASON_INTERNAL, 0, "event loop failed") : 0;
}

static void guest_clear(struct guest *g)
{
	listeners_close(g);
	for (size_t i = 0; g->listeners != NULL && i < g->options.listen_count; i++)
		free(g->listeners[i].label);
	free(g->listeners);
	for (size_t i = 0; i < ARRAY_SIZE(g->signals); i++) {
		if (g->signals[i] != NULL)
			event_free(g->signals[i]);
	}
	if (g->dialer != NULL)
		dialer_free(g->dialer);
	relay_bulk_clear(&g->loop);
	if (g->loop.base != NULL)
		loop_clear(&g->loop);
	server_clear(&g->server);
	free(g->token);
	options_clear(&g->options);
	inherit_restore();
}

int main(int argc, char **argv)
{
	const struct guest_command *command = argc > 1 ? guest_command_find(argv[1]) : NULL;
	struct guest g = { 0 };
	struct error err;
	int code = 0, rc;

	inherit_open_missing();
	if (command != NULL)
		return command->run(argc - 1, argv + 1);
	inherit_ignore_signals();
	rc = options_parse(&g.options, argc, argv, &err);
	log_init("vzfwd-guest", g.options.common.log_level, g.options.common.log_format);
	if (rc < 0) {
		code = guest_command_fail(&err);
	} else if (g.options.common.help) {
		options_help();
		code = guest_command_printed();
	} else if (g.options.common.version) {
		puts("vzfwd-guest " PACKAGE_VERSION);
		code = guest_command_printed();
	} else {
		if (guest_run(&g, &err) < 0)
			code = guest_command_fail(&err);
		else if (g.options.stdio && !g.stopping)
			code = g.server.exit_code;
	}
	guest_clear(&g);
	return code;
}
