/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "traffic.h"

void traffic_add(struct traffic *sum, const struct traffic *more)
{
	sum->open += more->open;
	sum->total += more->total;
	for (size_t i = 0; i < REASON_COUNT; i++)
		sum->failed[i] += more->failed[i];
	sum->bytes_in += more->bytes_in;
	sum->bytes_out += more->bytes_out;
}

uint64_t traffic_failed(const struct traffic *traffic)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < REASON_COUNT; i++)
		sum += traffic->failed[i];
	return sum;
}

static void put(json_t *object, const char *name, uint64_t value)
{
	json_object_set_new(object, name, json_integer((json_int_t)value));
}

void traffic_put(json_t *object, const struct traffic *traffic)
{
	json_t *failures = json_object();

	for (size_t i = 0; i < REASON_COUNT; i++) {
		if (traffic->failed[i] > 0)
			put(failures, reason_name((enum reason)i), traffic->failed[i]);
	}
	put(object, "connections", traffic->open);
	put(object, "total", traffic->total);
	put(object, "failed", traffic_failed(traffic));
	json_object_set_new(object, "failures", failures);
	put(object, "bytesIn", traffic->bytes_in);
	put(object, "bytesOut", traffic->bytes_out);
}
