/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "port-ranges.h"

static int range_parse(struct port_range *range, char *text)
{
	char *dash = strchr(text, '-');
	uint64_t low, high;

	if (dash != NULL)
		*dash++ = '\0';
	if (parse_uint(text, UINT16_MAX, &low) < 0 ||
	    parse_uint(dash != NULL ? dash : text, UINT16_MAX, &high) < 0 || low == 0 || low > high)
		return -EINVAL;
	*range = (struct port_range){ (uint16_t)low, (uint16_t)high };
	return 0;
}

int port_ranges_add(struct port_ranges *set, const char *option, const char *list,
		    struct error *err)
{
	_cleanup_free_ char *copy = xstrdup(list);
	char *rest = copy, *item;

	while ((item = strsep(&rest, ",")) != NULL) {
		_cleanup_free_ char *text = xstrdup(item);

		set->ranges = xrealloc(set->ranges, (set->count + 1) * sizeof(*set->ranges));
		if (range_parse(&set->ranges[set->count], text) < 0)
			return error_set(err, REASON_INVALID, EINVAL,
					 "--%s: \"%s\" is not a port or a range of them", option,
					 item);
		set->count++;
	}
	return 0;
}

bool port_ranges_have(const struct port_ranges *set, uint16_t port)
{
	for (size_t i = 0; i < set->count; i++) {
		if (port >= set->ranges[i].low && port <= set->ranges[i].high)
			return true;
	}
	return false;
}

void port_ranges_clear(struct port_ranges *set)
{
	free(set->ranges);
	*set = (struct port_ranges){ 0 };
}
