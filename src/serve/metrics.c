/* SPDX-License-Identifier: MIT */
/* The format: https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4. */
#include "config.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialed.h"
#include "metrics.h"

/* One set of labels, and what was counted under them. */
struct row {
	char *labels; /* `pod="web",forward="127.0.0.1:8080",target="80"` */
	struct traffic traffic;
};

struct rows {
	struct row *rows;
	size_t count;
};

/* A label's value: as escape_text() has it, and then with the format's own escapes. */
static char *quoted(const char *text)
{
	_cleanup_free_ char *plain = escape_bytes(text, strlen(text));
	char *out = xmalloc(2 * strlen(plain) + 1), *at = out;

	for (const char *c = plain; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			*at++ = '\\';
		*at++ = *c;
	}
	*at = '\0';
	return out;
}

static void add_row(const char *pod, const char *forward, const char *target,
		    const struct traffic *traffic, void *arg)
{
	struct rows *rows = arg;
	_cleanup_free_ char *pod_text = quoted(pod), *forward_text = quoted(forward),
			    *target_text = quoted(target);
	struct row *row;

	rows->rows = xrealloc(rows->rows, (rows->count + 1) * sizeof(*rows->rows));
	row = &rows->rows[rows->count++];
	row->traffic = *traffic;
	row->labels = xasprintf("pod=\"%s\",forward=\"%s\",target=\"%s\"", pod_text, forward_text,
				target_text);
}

static int compare_labels(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->labels, ((const struct row *)b)->labels);
}

/* A set of labels may be there once: what was counted for several alike is told as a sum. */
static void merge_rows(struct rows *rows)
{
	size_t count = 0;

	if (rows->count > 0)
		qsort(rows->rows, rows->count, sizeof(*rows->rows), compare_labels);
	for (size_t i = 0; i < rows->count; i++) {
		struct row *row = &rows->rows[i], *last = count > 0 ? &rows->rows[count - 1] : NULL;

		if (last != NULL && compare_labels(last, row) == 0) {
			traffic_add(&last->traffic, &row->traffic);
			free(row->labels);
		} else {
			rows->rows[count++] = *row;
		}
	}
	rows->count = count;
}

static void describe(struct evbuffer *out, const char *name, const char *type, const char *help)
{
	evbuffer_add_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put(struct evbuffer *out, const char *name, const struct row *row, const char *label,
		const char *value, uint64_t n)
{
	evbuffer_add_printf(out, "%s{%s", name, row->labels);
	if (label != NULL)
		evbuffer_add_printf(out, ",%s=\"%s\"", label, value);
	evbuffer_add_printf(out, "} %" PRIu64 "\n", n);
}

static void put_connections(struct evbuffer *out, const struct rows *rows)
{
	static const char open[] = "vzfwd_connections_open", total[] = "vzfwd_connections_total",
			  failed[] = "vzfwd_connections_failed_total";

	describe(out, open, "gauge", "Connections that are open, or in the making.");
	for (size_t i = 0; i < rows->count; i++)
		put(out, open, &rows->rows[i], NULL, NULL, rows->rows[i].traffic.open);
	describe(out, total, "counter", "Connections that there ever were.");
	for (size_t i = 0; i < rows->count; i++)
		put(out, total, &rows->rows[i], NULL, NULL, rows->rows[i].traffic.total);
	describe(out, failed, "counter", "Connections that did not get their target.");
	for (size_t i = 0; i < rows->count; i++) {
		for (int reason = 0; reason < REASON_COUNT; reason++)
			put(out, failed, &rows->rows[i], "reason", reason_name((enum reason)reason),
			    rows->rows[i].traffic.failed[reason]);
	}
}

static void put_bytes(struct evbuffer *out, const struct rows *rows)
{
	static const char name[] = "vzfwd_bytes_total";

	describe(out, name, "counter", "Bytes from targets (in) and to them (out).");
	for (size_t i = 0; i < rows->count; i++) {
		put(out, name, &rows->rows[i], "direction", "in", rows->rows[i].traffic.bytes_in);
		put(out, name, &rows->rows[i], "direction", "out", rows->rows[i].traffic.bytes_out);
	}
}

void metrics_write(struct evbuffer *out, void *arg)
{
	struct serve *serve = arg;
	struct rows rows = { 0 };

	forwards_each(serve, add_row, &rows);
	dialed_each(serve, add_row, &rows);
	merge_rows(&rows);
	describe(out, "vzfwd_build_info", "gauge", "The version.");
	evbuffer_add_printf(out, "vzfwd_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	describe(out, "process_start_time_seconds", "gauge",
		 "When the process began, in seconds since 1970.");
	evbuffer_add_printf(out, "process_start_time_seconds %lld.%03d\n",
			    (long long)serve->since.tv_sec, (int)(serve->since.tv_nsec / 1000000));
	put_connections(out, &rows);
	put_bytes(out, &rows);
	for (size_t i = 0; i < rows.count; i++)
		free(rows.rows[i].labels);
	free(rows.rows);
}
