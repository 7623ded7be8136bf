/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <ifaddrs.h>

#include "lib/policy.h"
#include "own.h"

int own_addresses(struct rules *rules)
{
	struct ifaddrs *list, *one;
	struct address *addrs = NULL;
	size_t count = 0;
	bool changed;

	if (getifaddrs(&list) < 0)
		return -errno;
	for (one = list; one != NULL; one = one->ifa_next) {
		if (one->ifa_addr == NULL)
			continue;
		addrs = xrealloc(addrs, (count + 1) * sizeof(*addrs));
		if (address_from_sockaddr(&addrs[count], one->ifa_addr) < 0)
			continue;
		address_normalise(&addrs[count++]);
	}
	freeifaddrs(list);
	changed = rules_set_own(rules, addrs, count);
	free(addrs);
	return changed;
}
