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
