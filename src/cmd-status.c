/* SPDX-License-Identifier: MIT */
/* `vzfwd status`: every forward of the user's processes, and what has come of it. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "call.h"
#include "census.h"
#include "lib/loop.h"
#include "lib/trusted.h"
#include "report.h"
#include "screen.h"
#include "serve/serve.h"
#include "signals.h"
#include "table.h"

#define WATCH_MS 1000

enum { OPTION_JSON = 1, OPTION_WATCH, OPTION_SOCKET };

static const struct option_def options[] = {
	{ 0, "json", VALUE_NONE, NULL, NULL, "print JSON", OPTION_JSON },
	{ 0, "watch", VALUE_NONE, NULL, NULL, "go on, once a second", OPTION_WATCH },
	{ 0, "socket", VALUE_FILE, "PATH", NULL,
	  "where vzfwd serve listens (default: /run/vzfwd/vzfwd.sock for root)", OPTION_SOCKET },
	{ 0 },
};

struct status {
	struct loop loop;
	bool json, watch;
	const char *socket; /* --socket */
	char *dir, *default_socket;
	struct stop_signals signals;
	struct census *census;
	struct screen *screen;
	struct loop_task again;
	char *shown; /* what is on the screen */
	bool failed; /* nobody reads what it prints: */
	struct error err;
};

static int status_option(int id, const char *value, void *arg, struct error *err)
{
	struct status *s = arg;

	(void)err;
	switch (id) {
	case OPTION_JSON:
		s->json = true;
		break;
	case OPTION_WATCH:
		s->watch = true;
		break;
	case OPTION_SOCKET:
		s->socket = value;
		break;
	}
	return 0;
}

/* The texts of a forward are borrowed; "" and 0 where another process says nothing sensible. */
static const char *text_of(json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL ? text : "";
}

static json_int_t number_of(json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

/* "999 B", "1.23 MB": three digits at least. */
static char *size_text(json_int_t bytes)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
	double size = (double)bytes;
	size_t unit = 0;

	for (; size >= 999.5 && unit + 1 < ARRAY_SIZE(units); unit++)
		size /= 1000;
	return xasprintf("%.*f %s",
			 unit == 0 || size >= 99.95 ? 0
			 : size >= 9.995            ? 1
						    : 2,
			 size, units[unit]);
}

static void add_row(struct table *table, json_t *forward)
{
	static const char *const counts[] = { "connections", "total", "failed" };
	json_t *process = json_object_get(forward, "process");
	size_t more = json_array_size(json_object_get(forward, "listeners"));
	const char *container = text_of(forward, "containerID");

	table_add(table,
		  xasprintf("%s%s%s", text_of(forward, "pod"), *container ? "/" : "", container));
	if (json_is_true(json_object_get(forward, "removed")))
		table_add(table, xasprintf("(%s)", text_of(forward, "listen")));
	else
		table_add(table,
			  more > 1 ? xasprintf("%s +%zu", text_of(forward, "listen"), more - 1)
				   : xstrdup(text_of(forward, "listen")));
	table_add(table, xstrdup(text_of(forward, "target")));
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		table_add(table, xasprintf("%lld", (long long)number_of(forward, counts[i])));
	table_add(table, size_text(number_of(forward, "bytesIn")));
	table_add(table, size_text(number_of(forward, "bytesOut")));
	table_add(table, xasprintf("%s (%lld)", text_of(process, "command"),
				   (long long)number_of(process, "pid")));
}

static char *to_table(json_t *forwards)
{
	static const struct column columns[] = {
		{ "POD", false }, { "LISTEN", false }, { "TARGET", false },
		{ "OPEN", true }, { "TOTAL", true },   { "FAILED", true },
		{ "IN", true },   { "OUT", true },     { "PROCESS", false },
	};
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	char *text = NULL;
	size_t size, i;
	json_t *forward;
	FILE *out = xcheck(open_memstream(&text, &size));

	json_array_foreach (forwards, i, forward)
		add_row(table, forward);
	table_print(table, out);
	fclose(out);
	table_free(table);
	return xcheck(text);
}

/* What other processes say is escaped for terminals in JSON too. */
static json_t *escaped(json_t *value)
{
	const char *key;
	json_t *item, *copy;
	size_t i;

	if (json_is_string(value))
		return rpc_escaped_string(json_string_value(value));
	if (json_is_array(value)) {
		copy = json_array();
		json_array_foreach (value, i, item)
			json_array_append_new(copy, escaped(item));
		return copy;
	}
	if (json_is_object(value)) {
		copy = json_object();
		json_object_foreach (value, key, item) {
			_cleanup_free_ char *name = escape_bytes(key, strlen(key));

			json_object_set_new(copy, name, escaped(item));
		}
		return copy;
	}
	return json_incref(value);
}

static char *to_json(json_t *forwards)
{
	_cleanup_json_ json_t *copy = escaped(forwards);
	_cleanup_free_ char *text = xcheck(json_dumps(copy, JSON_COMPACT | JSON_ENSURE_ASCII));

	return xasprintf("%s\n", text);
}

static void redraw(void *arg)
{
	struct status *s = arg;

	if (s->shown != NULL)
		screen_draw(s->screen, s->shown);
}

static void print(struct status *s)
{
	if (s->screen != NULL)
		screen_draw(s->screen, s->shown);
	else
		fputs(s->shown, stdout);
	if (stdout_flush(&s->err) < 0) {
		s->failed = true;
		loop_stop(&s->loop);
	}
}

static void counted(json_t *forwards, void *arg);

static void ask(void *arg)
{
	struct status *s = arg;

	if (s->watch)
		loop_later(&s->loop, &s->again, WATCH_MS, ask, s);
	/* Else the last one takes its time. */
	if (s->census == NULL)
		s->census = census_start(&s->loop, s->dir, s->socket,
					 s->default_socket == NULL && !s->watch, counted, s);
}

static void counted(json_t *forwards, void *arg)
{
	struct status *s = arg;

	s->census = NULL;
	free(s->shown);
	s->shown = s->json ? to_json(forwards) : to_table(forwards);
	print(s);
	if (!s->watch)
		loop_stop(&s->loop);
}

static void on_signal(int number, short what, void *arg)
{
	struct status *s = arg;

	(void)number;
	(void)what;
	loop_stop(&s->loop);
}

static int start(struct status *s, int count, struct error *err)
{
	int rc;

	if (count > 0)
		return error_set(err, REASON_INVALID, EINVAL, "status takes no operands");
	s->dir = run_path(REPORT_DIR, err);
	if (s->dir == NULL)
		return -EINVAL;
	if (s->socket == NULL)
		s->socket = s->default_socket = run_path(SERVE_SOCKET, err);
	rc = loop_init(&s->loop);
	if (rc < 0)
		return error_set(err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
	if (s->watch && signals_catch(&s->signals, &s->loop, on_signal, s, err) < 0)
		return -EPROTO;
	if (s->watch && !s->json)
		s->screen = screen_open(&s->loop, redraw, s);
	ask(s);
	return 0;
}

static int status_run(struct cli *cli, int argc, char **argv)
{
	struct status s = { 0 };
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(char *));
	int count = command_parse(cli, &cmd_status, argc, argv, status_option, &s, operands);
	int code = 0;

	if (start(&s, count, &s.err) < 0)
		s.failed = true;
	else if (loop_run(&s.loop) < 0)
		s.failed = error_set(&s.err, REASON_INTERNAL, 0, "the event loop failed") < 0;
	screen_close(s.screen);
	if (s.failed)
		code = command_fail("status", &s.err);
	signals_release(&s.signals);
	census_cancel(s.census);
	loop_cancel(&s.again);
	loop_clear(&s.loop);
	free(s.shown);
	free(s.dir);
	free(s.default_socket);
	return code;
}

const struct command cmd_status = {
	.name = "status",
	.synopsis = "",
	.summary = "show all forwards, their connections and bytes",
	.details = "Of all processes of yours that have forwards, and of vzfwd serve.",
	.options = options,
	.run = status_run,
};
