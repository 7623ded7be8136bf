/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd run`: forwards ports for as long as a command runs, which finds them in its arguments and in its
 * environment. stdin, stdout and stderr are the command's.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "dial-options.h"
#include "foreground.h"
#include "forwarding.h"
#include "placeholders.h"

/* As env(1) and the shells have it (POSIX). */
#define EXIT_NOT_STARTED 126
#define EXIT_NOT_FOUND 127

enum { OPTION_THE_POD = 1, OPTION_THE_EVENTS };

static const struct option_def options[] = {
	OPTION_POD(OPTION_THE_POD),
	OPTION_EVENTS(OPTION_THE_EVENTS),
	OPTION_RETRY_FOR(DIAL_RETRY_FOR),
	DIAL_OPTIONS,
	{ 0 },
};

struct run {
	struct forwarding forwarding;
	struct foreground foreground;
	struct loop_task ended;
	struct dial_options dial;
	const char *pod;    /* --pod */
	const char *events; /* --events */
	char *pods_dir;     /* NULL if pod_arg is an endpoint */
	char *pod_arg;      /* what connections are made to */
	char **argv;        /* the command, its placeholders filled in */
};

/* stdin, stdout and stderr are the command's. */
static int check_events(const char *where, struct error *err)
{
	uint64_t fd;

	if (strncmp(where, "fd:", 3) != 0 || parse_uint(where + 3, STDERR_FILENO, &fd) < 0)
		return 0;
	return error_set(err, REASON_INVALID, EINVAL, "--events: %s is the command's", where);
}

static int run_option(int id, const char *value, void *arg, struct error *err)
{
	struct run *run = arg;

	switch (id) {
	case OPTION_THE_POD:
		run->pod = value;
		return 0;
	case OPTION_THE_EVENTS:
		run->events = value;
		return check_events(value, err);
	default:
		return dial_option(&run->dial, id, value, err);
	}
}

/* PORT and HOST:PORT, where listen wants to be told a port of ours. */
static bool is_target_alone(const char *text)
{
	size_t digits = strspn(text, "0123456789"), host;

	if (strncmp(text, "unix:", strlen("unix:")) == 0 || text[digits] == ':')
		return false;
	host = text[0] == '[' ? strcspn(text, "]") : 0;
	host += strcspn(text + host, ":");
	return text[host] == '\0' || strchr(text + host + 1, ':') == NULL;
}

static int add_forward(struct run *run, const struct forward_config *config, const char *text,
		       struct error *err)
{
	_cleanup_free_ char *free_port = xasprintf(":%s", text);
	struct forward_spec spec;
	struct forwarded *one;
	const char *local;

	if (forward_spec_parse(&spec, is_target_alone(text) ? free_port : text, err) < 0)
		return -EINVAL;
	one = forwarding_add(&run->forwarding, config, &spec, NULL, 0, err);
	forward_spec_clear(&spec);
	if (one == NULL)
		return -EPROTO;
	for (size_t i = 0; (local = forward_listener(one->forward, i)) != NULL; i++)
		log_debug(NULL, "Forwarding from %s -> %s", local, forward_remote(one->forward));
	return 0;
}

/* The first forward of a port gives it its variable. */
static void set_environment(const struct forwarding *f)
{
	struct forwarded *one;

	TAILQ_FOREACH_REVERSE(one, &f->forwards, forwarded_list, next)
	{
		_cleanup_free_ char *name = NULL;

		if (one->spec.bind_type == BIND_UNIX || one->spec.remote.port == 0)
			continue;
		name = xasprintf("VZFWD_PORT_%u", one->spec.remote.port);
		if (setenv(name, forward_local(one->forward), 1) < 0)
			abort();
	}
}

static void fill_in(struct run *run, char **argv, int argc, size_t forwards)
{
	_cleanup_free_ const char **locals = xcalloc(forwards, sizeof(char *));
	struct forwarded *one;
	size_t count = 0;

	TAILQ_FOREACH (one, &run->forwarding.forwards, next)
		locals[count++] = forward_local(one->forward);
	run->argv = xcalloc((size_t)argc + 1, sizeof(char *));
	for (int i = 0; i < argc; i++)
		run->argv[i] = placeholders_expand(argv[i], locals, count);
}

static void on_ended(void *arg)
{
	struct run *run = arg;

	forwarding_finish(&run->forwarding);
}

/* Behind the events that came with its end: connections that it has made are accepted first. */
static void on_gone(void *arg)
{
	struct run *run = arg;

	loop_later(&run->forwarding.loop, &run->ended, 0, on_ended, run);
}

static void on_signalled(void *arg)
{
	struct run *run = arg;

	forwarding_stop(&run->forwarding);
	forwarding_stop(&run->forwarding); /* once more: at once */
}

static int open_forwards(struct cli *cli, struct run *run, const char **operands, int count,
			 struct error *err)
{
	struct forward_config config = {
		.handle = run->dial.handle,
		.container_id = run->dial.container,
		.policy = &run->dial.policy,
		.timeout_ms = run->dial.timeout_ms,
		.retry_ms = run->dial.retry_ms,
	};

	if (forwarding_pod(cli, run->pod, run->dial.handle, &run->pods_dir, &run->pod_arg, err) < 0)
		return -EPROTO;
	config.pods_dir = run->pods_dir;
	config.pod_arg = run->pod_arg;
	for (int i = 0; i < count; i++) {
		if (add_forward(run, &config, operands[i], err) < 0)
			return -EPROTO;
	}
	forwarding_limit(&run->forwarding, 0);
	return 0;
}

/* argv: the command. Returns the exit code, or dies as the command did. */
static int run_command(struct cli *cli, struct run *run, const char **operands, int count,
		       char **argv, int argc)
{
	struct forwarding *f = &run->forwarding;
	struct error err;
	int rc;

	if (forwarding_init(f, &err) < 0 ||
	    foreground_init(&run->foreground, &f->loop, on_gone, on_signalled, run, &err) < 0 ||
	    forwarding_events(f, run->events, &err) < 0 ||
	    open_forwards(cli, run, operands, count, &err) < 0)
		return command_fail("run", &err);
	forwarding_report(f, "run");
	fill_in(run, argv, argc, (size_t)count);
	set_environment(f);
	rc = foreground_start(&run->foreground, run->argv);
	if (rc < 0) {
		error_set(&err, REASON_INVALID, -rc, "%s: %s", run->argv[0], errno_text(-rc));
		command_fail("run", &err);
		return rc == -ENOENT || rc == -ENOTDIR ? EXIT_NOT_FOUND : EXIT_NOT_STARTED;
	}
	if (forwarding_run(f, &err) < 0)
		return command_fail("run", &err);
	return -1;
}

static void run_clear(struct run *run)
{
	foreground_clear(&run->foreground);
	forwarding_clear(&run->forwarding);
	for (char **arg = run->argv; arg != NULL && *arg != NULL; arg++)
		free(*arg);
	free(run->argv);
	free(run->pods_dir);
	free(run->pod_arg);
	policy_clear(&run->dial.policy);
}

static int run_run(struct cli *cli, int argc, char **argv)
{
	struct run run = { .dial = { .timeout_ms = TIMEOUT_MS_DEFAULT,
				     .retry_ms = RETRY_MS_DEFAULT } };
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(char *));
	int dashes = 1, count, code;
	struct error err;

	while (dashes < argc && strcmp(argv[dashes], "--") != 0)
		dashes++;
	count = command_parse(cli, &cmd_run, dashes, argv, run_option, &run, operands);
	if (count == 0 || dashes + 1 >= argc) {
		error_set(&err, REASON_INVALID, EINVAL, "%s? See vzfwd run --help",
			  count == 0 ? "which FORWARD" : "which COMMAND, behind --");
		code = command_fail("run", &err);
	} else {
		code = run_command(cli, &run, operands, count, argv + dashes + 1,
				   argc - dashes - 1);
	}
	run_clear(&run);
	return code >= 0 ? code : foreground_follow(&run.foreground);
}

const struct command cmd_run = {
	.name = "run",
	.synopsis = "[-p POD] FORWARD... -- COMMAND [ARGUMENT]...",
	.summary = "run a command with ports of a pod forwarded",
	.details = "FORWARD is PORT or HOST:PORT, for which a free local port is taken, or what\n"
		   "`vzfwd listen` takes. In the ARGUMENTs, {} is the local port of the first\n"
		   "FORWARD, {0}, {1}, ... are those of all; VZFWD_PORT_80 in the environment is "
		   "that\n"
		   "of port 80. The exit code is that of COMMAND.",
	.options = options,
	.operands = { VALUE_FORWARD },
	.behind_dashes = { VALUE_PROGRAM, VALUE_FILE },
	.run = run_run,
};
