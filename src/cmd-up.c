/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd up`: keeps the forwards that a file asks for, through the server (`vzfwd serve`) where one runs, and reads
 * the file again on SIGHUP.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "dial-options.h"
#include "lib/trusted.h"
#include "serve/serve.h"
#include "up/up.h"

enum {
	OPTION_SOCKET = 1,
	OPTION_DIRECT,
	OPTION_THE_EVENTS,
	OPTION_RETRY,
	OPTION_POLICY,
	OPTION_POLICY_UNIX
};

static const struct option_def options[] = {
	{ 0, "socket", VALUE_FILE, "PATH", NULL,
	  "the server to go through (default: the one at serve's default socket, if there is one)",
	  OPTION_SOCKET },
	{ 0, "direct", VALUE_NONE, NULL, NULL, "go through no server", OPTION_DIRECT },
	OPTION_EVENTS(OPTION_THE_EVENTS),
	OPTION_RETRY_FOR(OPTION_RETRY),
	OPTION_ALLOW(OPTION_POLICY),
	OPTION_ALLOW_UNIX(OPTION_POLICY_UNIX),
	{ 0 },
};

struct command_up {
	struct forwarding forwarding; /* without a forward if there is a server */
	struct up up;
	const char *path; /* FILE */
	const char *socket;
	bool direct;
	const char *events;
	int retry_ms; /* -1: not given */
	struct policy policy;
	char *pods_dir;
	struct up_direct backend;
	struct up_server *server;
	int code;
};

static int up_option(int id, const char *value, void *arg, struct error *err)
{
	struct command_up *c = arg;

	switch (id) {
	case OPTION_SOCKET:
		c->socket = value;
		return 0;
	case OPTION_DIRECT:
		c->direct = true;
		return 0;
	case OPTION_THE_EVENTS:
		c->events = value;
		return 0;
	case OPTION_RETRY:
		return retry_for_option(value, &c->retry_ms, err);
	case OPTION_POLICY_UNIX:
		return policy_allow_unix(&c->policy, value, err);
	default:
		return policy_allow(&c->policy, value, err);
	}
}

static int apply(struct command_up *c, struct up_file *file, struct error *err)
{
	int rc = up_apply(&c->up, file, err);

	if (rc == 0 && c->server == NULL)
		forwarding_limit(&c->forwarding, 0);
	return rc;
}

static int apply_again(struct command_up *c, struct error *err)
{
	struct up_file file;
	int rc = up_file_read(&file, c->path, true, err);

	if (rc == 0)
		rc = apply(c, &file, err);
	up_file_clear(&file);
	return rc;
}

static void on_signal(int number, short what, void *arg)
{
	struct command_up *c = arg;
	struct error err;

	(void)what;
	if (number != SIGHUP || !c->up.file.regular || c->forwarding.stopping) {
		forwarding_stop(&c->forwarding);
		return;
	}
	events_reopen(c->forwarding.events);
	if (apply_again(c, &err) < 0)
		log_error(NULL, "up: %s; everything is as it was", err.message);
	else
		log_info(NULL, "up: %s: applied", c->path);
}

static void on_gone(void *arg)
{
	struct command_up *c = arg;
	struct error err;

	error_set(&err, REASON_UNREACHABLE, 0, "the server has gone, and the forwards with it");
	c->code = command_fail("up", &err);
	forwarding_stop(&c->forwarding);
}

/* Whether an option was given that is a server's own affair where one makes the forwards. */
static bool has_own_way(const struct command_up *c)
{
	return c->direct || c->events != NULL || c->retry_ms >= 0 || c->policy.count > 0 ||
	       c->policy.unix_paths.count > 0;
}

/* It has its own folder of pods, too. */
static bool wants_server(const struct cli *cli, const struct command_up *c)
{
	return !has_own_way(c) && cli->pods_dir == NULL && getenv("VZFWD_PODS_DIR") == NULL;
}

/* The default socket's, if there is one: 0, or a negative number with *err. */
static int find_server(struct command_up *c, struct error *err)
{
	_cleanup_free_ char *path = run_path(SERVE_SOCKET, NULL);
	struct error why;

	if (path == NULL)
		return 0;
	c->server = up_server_open(&c->forwarding.loop, path, on_gone, c, &why);
	if (c->server == NULL && why.sys_errno != ENOENT && why.sys_errno != ECONNREFUSED) {
		*err = why;
		return -EPROTO;
	}
	return 0;
}

static int choose_backend(struct cli *cli, struct command_up *c, struct error *err)
{
	int rc = 0;

	if (c->socket != NULL) {
		c->server = up_server_open(&c->forwarding.loop, c->socket, on_gone, c, err);
		rc = c->server != NULL ? 0 : -EPROTO;
	} else if (wants_server(cli, c)) {
		rc = find_server(c, err);
	}
	if (rc < 0)
		return rc;
	if (c->server != NULL) {
		c->up.backend = &up_server;
		c->up.arg = c->server;
		return 0;
	}
	c->pods_dir = pods_dir(cli->pods_dir, err);
	c->backend = (struct up_direct){
		.forwarding = &c->forwarding,
		.pods_dir = c->pods_dir,
		.policy = &c->policy,
		.retry_ms = c->retry_ms >= 0 ? c->retry_ms : RETRY_MS_DEFAULT,
	};
	c->up.backend = &up_direct;
	c->up.arg = &c->backend;
	if (c->pods_dir == NULL || forwarding_events(&c->forwarding, c->events, err) < 0)
		return -EPROTO;
	forwarding_report(&c->forwarding, "up");
	return 0;
}

static int start(struct cli *cli, struct command_up *c, const char **operands, int count,
		 struct up_file *file, struct error *err)
{
	struct forwarding *f = &c->forwarding;

	if (count != 1)
		return error_set(err, REASON_INVALID, EINVAL, "one FILE is needed, - for stdin");
	if (c->socket != NULL && has_own_way(c))
		return error_set(err, REASON_INVALID, EINVAL,
				 "--direct, --events, --retry-for, --allow and --allow-unix go "
				 "without a server");
	c->path = operands[0];
	/* Signals still end it while it waits for whoever writes into a pipe. */
	if (forwarding_init(f, err) < 0 || up_file_read(file, c->path, false, err) < 0 ||
	    signals_catch(&f->signals, &f->loop, on_signal, c, err) < 0 ||
	    choose_backend(cli, c, err) < 0)
		return -EPROTO;
	return apply(c, file, err);
}

static int up_run(struct cli *cli, int argc, char **argv)
{
	struct command_up c = { .retry_ms = -1 };
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(char *));
	int count = command_parse(cli, &cmd_up, argc, argv, up_option, &c, operands);
	struct up_file file = { 0 };
	struct error err;

	if (start(cli, &c, operands, count, &file, &err) < 0 ||
	    forwarding_run(&c.forwarding, &err) < 0)
		c.code = command_fail("up", &err);
	up_server_close(c.server);
	forwarding_clear(&c.forwarding);
	up_file_clear(&c.up.file);
	up_file_clear(&file);
	policy_clear(&c.policy);
	free(c.pods_dir);
	return c.code;
}

const struct command cmd_up = {
	.name = "up",
	.synopsis = "FILE",
	.summary = "keep the forwards that a file asks for",
	.details = "FILE (- for stdin) is JSON:\n"
		   "  {\"forwards\": [{\"pod\": \"web\", \"forward\": \"8080:80\"}, ...]}\n"
		   "with a FORWARD as listen takes it, and \"containerID\" and \"timeoutMs\" if "
		   "need be. All\n"
		   "are made or none; SIGHUP applies the file anew.",
	.options = options,
	.operands = { VALUE_FILE },
	.run = up_run,
};
