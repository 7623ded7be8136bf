/* SPDX-License-Identifier: MIT */
/* Hosts and pods. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "aim.h"

/* Where a host leads, by its name alone; *pod is NULL for the proxy's own. */
static int find_target(const struct proxy *proxy, const char *host, struct address *address,
		       const char **pod, struct error *err)
{
	bool own = strcasecmp(host, "localhost") == 0;

	if (address->port == 0)
		return error_set(err, REASON_INVALID, EINVAL, "port 0");
	*pod = NULL;
	if (!own && *host != '\0' && address_parse_host(address, host, NULL) == 0)
		own = true;
	if (own && proxy->config.own_pod == NULL)
		return error_set(err, REASON_DENIED, EACCES,
				 "localhost and addresses lead nowhere without -p POD");
	/* A name, and no endpoint: clients choose among pods, and what is behind those is not theirs to say. */
	if (!own && !name_is_valid(host))
		return error_set(err, REASON_NOT_FOUND, ENOENT, "no such pod");
	*pod = own ? NULL : host;
	return 0;
}

int aim_at(struct aim *aim, struct proxy *proxy, enum network network, const char *host,
	   uint16_t port, struct error *err)
{
	const struct proxy_config *config = &proxy->config;
	struct address address = { .family = AF_UNSPEC, .port = port };
	const char *pod = NULL, *target = aim->address;
	int rc;

	aim->proxy = proxy;
	aim->label = strchr(host, ':') != NULL && *host != '[' ? xasprintf("[%s]:%u", host, port)
							       : xasprintf("%s:%u", host, port);
	rc = find_target(proxy, host, &address, &pod, err);
	if (rc < 0)
		return rc;
	aim->pod = pod != NULL ? xstrdup(pod) : NULL;
	address_format(&address, aim->address);
	if (address.family == AF_UNSPEC)
		target = strrchr(aim->address, ':') + 1;
	snprintf(aim->target, sizeof(aim->target), "%s%s", target,
		 network_is_udp(network) ? "/udp" : "");
	aim->route = (struct route){
		.loop = config->loop,
		.pods_dir = pod != NULL ? config->pods_dir : config->own_pods_dir,
		.pod_arg = pod != NULL ? aim->pod : config->own_pod,
		.policy = config->policy,
		.network = network,
		.address = aim->address,
		.timeout_ms = config->timeout_ms,
		.label = aim->label,
		.source = { config->events, pod != NULL ? aim->pod : config->own_pod,
			    proxy->source.forward, aim->target, NULL },
	};
	TAILQ_INIT(&aim->route.connections);
	return 0;
}

void aim_clear(struct aim *aim)
{
	if (aim->proxy != NULL)
		traffic_add(&aim->proxy->traffic, &aim->route.traffic);
	free(aim->label);
	free(aim->pod);
}
