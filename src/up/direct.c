/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>

#include "up.h"

/* The pod has to be known, but need not be reachable yet. */
static int check_pod(const struct up_direct *direct, const char *name, struct error *err)
{
	struct pod pod = { 0 };
	int rc = pods_load(direct->pods_dir, name, &pod, err);

	pod_clear(&pod);
	return rc;
}

static int direct_add(void *arg, const struct up_entry *entry, void *predecessor, void **handle,
		      struct error *err)
{
	const struct up_direct *direct = arg;
	const struct forwarded *old = predecessor;
	const struct forward_config config = {
		.pods_dir = direct->pods_dir,
		.pod_arg = entry->pod,
		.container_id = entry->container_id,
		.policy = direct->policy,
		.timeout_ms = entry->timeout_ms,
		.retry_ms = direct->retry_ms,
		.predecessor = old != NULL ? old->forward : NULL,
	};
	struct forward_spec spec;

	if (check_pod(direct, entry->pod, err) < 0 ||
	    forward_spec_parse(&spec, entry->text, err) < 0)
		return -EPROTO;
	*handle = forwarding_add(direct->forwarding, &config, &spec, NULL, 0, err);
	forward_spec_clear(&spec);
	return *handle != NULL ? 0 : -EPROTO;
}

static void direct_remove(void *arg, void *handle)
{
	(void)arg;
	forwarding_remove(handle);
}

static const char *direct_listener(const void *handle, size_t i)
{
	const struct forwarded *forwarded = handle;

	return forward_listener(forwarded->forward, i);
}

const struct up_backend up_direct = { direct_add, direct_remove, direct_listener };
