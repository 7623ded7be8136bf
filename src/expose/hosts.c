/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "lib/rpc-hosts.h"
#include "hosts.h"

#define ANSWER_MS 5000
#define RETRY_MIN_MS 250
#define RETRY_MAX_MS 4000
#define STEADY_MS 10000 /* a link that lived as long may be opened anew without a longer pause */

struct hosts_link {
	struct hosts_config config;
	char *label;
	char *handle; /* that the link asks for */
	struct link *link;
	bool was_written;
	bool lost;      /* which was told */
	int64_t opened; /* now_ms() of the last answer */
	int retry_ms;
	struct loop_task retry;
};

static void hosts_open(void *arg);

static void hosts_reopen(struct hosts_link *h)
{
	link_free(h->link);
	h->link = NULL;
	loop_later(h->config.loop, &h->retry, h->retry_ms, hosts_open, h);
	h->retry_ms = h->retry_ms * 2 < RETRY_MAX_MS ? h->retry_ms * 2 : RETRY_MAX_MS;
}

/* Nothing of it may be used afterwards. */
static void hosts_lost(struct hosts_link *h, const struct error *err)
{
	hosts_reopen(h);
	if (!h->was_written) {
		h->config.failed(err, h->config.arg);
		return;
	}
	if (!h->lost)
		log_warning(&(struct log_name){ h->label, 0 }, "no more names in %s: %s",
			    h->config.path, err->message);
	h->lost = true;
}

/* There are no notifications: what comes is the end. The outcome of the next link tells more. */
static void on_ended(struct link *link, json_t *params, const struct error *err, void *arg)
{
	struct hosts_link *h = arg;

	(void)link;
	(void)params;
	if (err == NULL)
		return;
	if (now_ms() - h->opened >= STEADY_MS)
		h->retry_ms = RETRY_MIN_MS;
	log_debug(&(struct log_name){ h->label, 0 }, "%s", err->message);
	hosts_reopen(h);
}

static void on_answer(struct link *link, json_t *result, const struct error *err, void *arg)
{
	struct hosts_link *h = arg;
	struct error failed;

	if (err != NULL)
		failed = *err;
	if (err != NULL || rpc_check_hosts_written(result, &failed) < 0) {
		hosts_lost(h, &failed);
		return;
	}
	link_notify(link, METHOD_HOSTS, on_ended, h);
	h->opened = now_ms();
	h->was_written = true;
	if (h->lost)
		log_warning(&(struct log_name){ h->label, 0 }, "the names are in %s again",
			    h->config.path);
	h->lost = false;
	h->config.written(h->config.arg);
}

static void on_opened(struct link *link, const struct error *err, void *arg)
{
	struct hosts_link *h = arg;
	struct error copy;

	if (err != NULL) {
		copy = *err;
		hosts_lost(h, &copy);
		return;
	}
	link_call(link, METHOD_HOSTS,
		  rpc_hosts_params(h->handle, h->config.container_id, h->config.path, h->config.tag,
				   host_names_entries(h->config.names)),
		  ANSWER_MS, on_answer, h);
}

static void hosts_open(void *arg)
{
	struct hosts_link *h = arg;
	struct link_options options = { .policy = h->config.policy, .name = { h->label, 0 } };
	struct pod pod;
	struct error err;

	if (pods_resolve(h->config.pods_dir, h->config.pod_arg, &pod, &err) < 0) {
		hosts_lost(h, &err);
		return;
	}
	free(h->handle);
	h->handle = xstrdup(h->config.handle != NULL ? h->config.handle : pod.handle);
	options.pod = &pod;
	h->link = link_open(h->config.loop, &options, on_opened, h);
	pod_clear(&pod);
}

struct hosts_link *hosts_start(const struct hosts_config *config)
{
	struct hosts_link *h = xcalloc(1, sizeof(*h));

	h->config = *config;
	h->label = xasprintf("%s:hosts", config->pod_arg);
	h->retry_ms = RETRY_MIN_MS;
	loop_later(config->loop, &h->retry, 0, hosts_open, h);
	return h;
}

void hosts_stop(struct hosts_link *h)
{
	if (h == NULL)
		return;
	loop_cancel(&h->retry);
	link_free(h->link);
	free(h->label);
	free(h->handle);
	free(h);
}
