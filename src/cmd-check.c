/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd check`: walks the path to a pod step by step, from the pod file to the
 * pod's netns, and says at which step it breaks and what to do about that.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "call.h"
#include "hint.h"
#include "lib/link.h"

/* Calls of the last step. With the two before, they stay below the 16 that a link may carry. */
#define ROUND_TRIPS 9

struct check {
	struct cli *cli;
	struct call_options options;
	struct pod pod;
	char *endpoint; /* the pod's, as text */
	struct call *call;
	json_t *info;   /* what guest.info said */
	json_t *report; /* --json: the steps so far; else NULL */
};

/* What a step found out. */
struct finding {
	char *message;
	double ms; /* < 0: nothing was measured */
};

static double clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int check_pod(struct check *c, struct finding *f, struct error *err)
{
	_cleanup_free_ char *dir = NULL;
	int rc = command_pod(c->cli, c->options.pod, c->options.handle, &c->pod, err);

	if (rc < 0)
		return rc;
	c->endpoint = endpoint_format(&c->pod.endpoint);
	if (!c->pod.name) {
		f->message = xasprintf("endpoint given: %s, handle %s", c->endpoint, c->pod.handle);
		return 0;
	}
	dir = pods_dir(c->cli->pods_dir, err);
	if (!dir)
		return -EINVAL;
	f->message = xasprintf("%s/%s.json: %s, handle %s", dir, c->pod.name, c->endpoint,
			       c->pod.handle);
	return 0;
}

static int check_token(struct check *c, struct finding *f, struct error *err)
{
	_cleanup_free_ char *token = NULL;

	if (!c->pod.token_file) {
		f->message = xstrdup("none");
		return 0;
	}
	f->message = xstrdup(c->pod.token_file);
	return token_read(c->pod.token_file, &token, err);
}

static int check_endpoint(struct check *c, struct finding *f, struct error *err)
{
	double begin = clock_ms();

	c->call = call_open(&c->pod, err);
	if (!c->call)
		return -EPROTO;
	if (link_is_local(&c->pod.endpoint)) {
		f->message = xasprintf("%s: on this host, nothing to connect to", c->endpoint);
		return 0;
	}
	f->ms = clock_ms() - begin;
	f->message = xasprintf("%s: connected in %.2f ms", c->endpoint, f->ms);
	return 0;
}

static int check_handshake(struct check *c, struct finding *f, struct error *err)
{
	double begin = clock_ms();
	int rc = call_method(c->call, "guest.info", NULL, &c->info, err);

	if (rc < 0)
		return rc;
	f->ms = clock_ms() - begin;
	f->message = xasprintf("guest.info answered in %.2f ms", f->ms);
	return 0;
}

static int check_version(struct check *c, struct finding *f, struct error *err)
{
	const char *name = json_string_value(json_object_get(c->info, "name"));
	const char *version = json_string_value(json_object_get(c->info, "version"));
	json_t *protocol = json_object_get(c->info, "protocol");

	if (!name || !version || !json_is_integer(protocol))
		return error_set(err, REASON_INTERNAL, 0,
				 "the answer of guest.info has no name, version or protocol");
	if (json_integer_value(protocol) != RPC_PROTOCOL)
		return error_set(err, REASON_UNSUPPORTED, 0,
				 "%.64s %.64s speaks protocol %lld, vzfwd " PACKAGE_VERSION
				 " speaks %d",
				 name, version, (long long)json_integer_value(protocol),
				 RPC_PROTOCOL);
	f->message = xasprintf("%.64s %.64s, protocol %d", name, version, RPC_PROTOCOL);
	return 0;
}

static int check_netns(struct check *c, struct finding *f, struct error *err)
{
	const char *container = c->options.container;
	json_t *params = call_pod_params(c->pod.handle, container), *ports;
	_cleanup_json_ json_t *result = NULL;
	int rc = call_method(c->call, "pod.ports", params, &result, err);

	if (rc < 0)
		return rc;
	ports = call_ports(result, err);
	if (!ports)
		return -EPROTO;
	f->message = xasprintf("entered%s%s; listening ports: %zu", container ? " container " : "",
			       container ? container : "", json_array_size(ports));
	return 0;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int check_round_trip(struct check *c, struct finding *f, struct error *err)
{
	double ms[ROUND_TRIPS];
	size_t i;

	for (i = 0; i < ROUND_TRIPS; i++) {
		_cleanup_json_ json_t *result = NULL;
		double begin = clock_ms();
		int rc = call_method(c->call, "guest.info", NULL, &result, err);

		if (rc < 0)
			return rc;
		ms[i] = clock_ms() - begin;
	}
	qsort(ms, ROUND_TRIPS, sizeof(ms[0]), compare_doubles);
	f->ms = ms[ROUND_TRIPS / 2];
	f->message = xasprintf("%d calls: min %.2f ms, median %.2f ms", ROUND_TRIPS, ms[0], f->ms);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(struct check *c, struct finding *f, struct error *err);
} steps[] = {
	[CHECK_POD] = { "pod file", check_pod },
	[CHECK_TOKEN] = { "token", check_token },
	[CHECK_ENDPOINT] = { "endpoint", check_endpoint },
	[CHECK_HANDSHAKE] = { "handshake", check_handshake },
	[CHECK_VERSION] = { "version", check_version },
	[CHECK_NETNS] = { "netns", check_netns },
	[CHECK_ROUND_TRIP] = { "round trip", check_round_trip },
};
static_assert(ARRAY_SIZE(steps) == CHECK_COUNT, "a row for each step");

/* Tells of one step, on stdout or in c->report. err is NULL if all was well. */
static int report_step(struct check *c, enum check_step step, const struct finding *f,
		       const struct error *failure, struct error *err)
{
	const char *text = failure ? failure->message : f->message;
	const char *hint = failure ? hint_find(step, c->pod.endpoint.type, failure) : NULL;
	_cleanup_free_ char *escaped = escape_bytes(text, strlen(text));
	json_t *item;

	if (!c->report) {
		printf("%-4s %-10s  %s\n", failure ? "FAIL" : "ok", steps[step].name, escaped);
		if (hint)
			printf("     hint: %s\n", hint);
		return stdout_flush(err);
	}
	item = json_object();
	json_object_set_new(item, "step", json_string(steps[step].name));
	json_object_set_new(item, "ok", json_boolean(!failure));
	json_object_set_new(item, "message", json_string(escaped));
	if (f->ms >= 0)
		json_object_set_new(item, "ms", json_real(f->ms));
	if (failure) {
		json_object_set_new(item, "reason", json_string(reason_name(failure->reason)));
		json_object_set_new(item, "hint", json_string(hint));
	}
	json_array_append_new(c->report, item);
	return 0;
}

/* The steps, up to the first that fails: 0, or that one's exit code, or that of a broken stdout. */
static int walk(struct check *c)
{
	struct error failure, err;
	int step, exit_code = 0, rc = 0;

	for (step = 0; step < CHECK_COUNT && exit_code == 0 && rc == 0; step++) {
		struct finding f = { .ms = -1 };

		if (steps[step].run(c, &f, &failure) < 0)
			exit_code = reason_exit_code(failure.reason);
		rc = report_step(c, step, &f, exit_code ? &failure : NULL, &err);
		free(f.message);
	}
	if (rc == 0 && c->report) {
		json_dumpf(c->report, stdout,
			   JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
		putchar('\n');
		rc = stdout_flush(&err);
	}
	return rc < 0 ? command_fail("check", &err) : exit_code;
}

static int run_check(struct cli *cli, int argc, char **argv)
{
	struct check c = { .cli = cli };
	struct error err;
	int rc;

	if (call_options_parse(cli, &cmd_check, argc, argv, &c.options, &err) < 0)
		return command_fail("check", &err);
	if (c.options.json)
		c.report = json_array();
	rc = walk(&c);
	call_close(c.call);
	pod_clear(&c.pod);
	free(c.endpoint);
	json_decref(c.info);
	json_decref(c.report);
	return rc;
}

static const struct option_def options[] = { CALL_OPTIONS, { 0 } };

const struct command cmd_check = {
	.name = "check",
	.synopsis = "[POD]",
	.summary = "find out where the path to a pod breaks",
	.details = "Walks from the pod file over the endpoint and the handshake into the pod's\n"
		   "network namespace, prints a line for each step, stops at the first that fails\n"
		   "and says what to do about it. Exits with the code of that step.",
	.options = options,
	.operands = { VALUE_POD },
	.run = run_check,
};
