/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <assert.h>

#include "associate.h"
#include "client.h"

static json_t *listeners(const struct proxy *proxy)
{
	json_t *array = json_array();

	for (size_t i = 0; i < proxy->bound_count; i++)
		json_array_append_new(array, rpc_system_string(proxy->bound[i].text));
	return array;
}

json_t *proxy_to_json(const struct proxy *proxy)
{
	struct traffic traffic = proxy->traffic, more;
	const struct client *client;
	json_t *json =
		xcheck(json_pack("{s:o, s:o, s:s, s:s, s:s}", "listen",
				 rpc_system_string(proxy->bound[0].text), "listeners",
				 listeners(proxy), "pod", "*", "network", "tcp", "target", "*"));

	TAILQ_FOREACH (client, &proxy->others, next) {
		more = connections_traffic(&client->aim.route);
		traffic_add(&traffic, &more);
		if (client->associate != NULL)
			associate_traffic(client->associate, &traffic);
	}
	traffic_put(json, &traffic);
	return json;
}

int proxy_init(struct proxy *proxy, const struct proxy_config *config, struct error *err)
{
	const struct forward_bind localhost = { .type = BIND_LOCALHOST };
	uint16_t port;
	int rc;

	*proxy = (struct proxy){ .config = *config };
	TAILQ_INIT(&proxy->asking);
	TAILQ_INIT(&proxy->others);
	rc = bind_all(config->spec, &localhost, 1, &proxy->bound, &proxy->bound_count, &port, err);
	if (rc < 0) {
		proxy->bound_count = 0;
		return rc;
	}
	proxy->source =
		(struct event_source){ .events = config->events, .forward = proxy->bound[0].text };
	event_listening(&proxy->source, config->events != NULL ? listeners(proxy) : NULL);
	proxy->acceptors = xcalloc(proxy->bound_count, sizeof(struct acceptor *));
	for (size_t i = 0; i < proxy->bound_count; i++) {
		if (config->spec->bind_type != BIND_UNIX)
			sock_tune_tcp(proxy->bound[i].fd);
		proxy->acceptors[i] = acceptor_new(config->loop, steal_fd(&proxy->bound[i].fd),
						   config->limit, "proxy", client_accepted, proxy);
	}
	return 0;
}

static void abort_all(struct clients *clients)
{
	struct client *client, *next;

	for (client = TAILQ_FIRST(clients); client != NULL; client = next) {
		next = TAILQ_NEXT(client, next);
		client_abort(client);
	}
}

void proxy_stop(struct proxy *proxy)
{
	if (proxy->bound_count > 0 && proxy->acceptors[0] != NULL)
		event_stopped(&proxy->source);
	if (proxy->bound_count > 0 && proxy->acceptors[0] != NULL &&
	    proxy->config.spec->bind_type == BIND_UNIX)
		sock_file_unlink(&proxy->bound[0].file, proxy->config.spec->local_path);
	for (size_t i = 0; i < proxy->bound_count; i++) {
		acceptor_free(proxy->acceptors[i]);
		proxy->acceptors[i] = NULL;
	}
	abort_all(&proxy->asking);
	abort_all(&proxy->others);
}

void proxy_clear(struct proxy *proxy)
{
	if (proxy->bound_count > 0 && proxy->acceptors[0] != NULL)
		proxy_stop(proxy);
	assert(TAILQ_EMPTY(&proxy->asking) && TAILQ_EMPTY(&proxy->others));
	free(proxy->acceptors);
	free(proxy->bound);
}
