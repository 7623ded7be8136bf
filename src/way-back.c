/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <signal.h>

#include "lib/sock.h"
#include "report.h"
#include "way-back.h"

#define RATE_MAX 1000000
#define PARKED_MAX 1024
#define SPARE_FDS 16   /* descriptors that are none of connections' */
#define PARKED_SHARE 4 /* parked links have no more than a quarter of all */

void way_back_init(struct way_back *w, const struct way_back_ops *ops)
{
	*w = (struct way_back){ .ops = ops,
				.dial.timeout_ms = TIMEOUT_MS_DEFAULT,
				.zones = zones_new(),
				.park = PARK_DEFAULT,
				.park_max = PARK_MAX_DEFAULT,
				.rate = PARK_RATE_DEFAULT };
	address_parse_host(&w->alias, WAY_BACK_ALIAS, NULL);
}

static int alias_option(const char *value, struct address *alias, struct error *err)
{
	if (*value != '\0' && address_parse_host(alias, value, NULL) == 0 &&
	    alias->family != AF_UNSPEC)
		return 0;
	return error_set(err, REASON_INVALID, EINVAL,
			 "--alias-ip must be an IP address, got \"%s\"", value);
}

static int zone_option(struct zones *zones, const char *value, struct error *err)
{
	if (zones_parse(zones, value, err) < 0)
		return error_prefix(err, "--dns-zone");
	return 0;
}

/* Those that are numbers. */
static int number_option(struct way_back *w, int id, const char *value, struct error *err)
{
	switch (id) {
	case WAY_BACK_PARK:
		return opts_number("park", value, 1, PARKED_MAX, &w->park, err);
	case WAY_BACK_PARK_MAX:
		return opts_number("park-max", value, 1, PARKED_MAX, &w->park_max, err);
	case WAY_BACK_CONNECT_RATE:
		return opts_number("connect-rate", value, 1, RATE_MAX, &w->rate, err);
	default:
		return opts_number("max-connections", value, 1, 1000000, &w->max_connections, err);
	}
}

int way_back_option(struct way_back *w, int id, const char *value, struct error *err)
{
	switch (id) {
	case WAY_BACK_ALIAS_IP:
		return alias_option(value, &w->alias, err);
	case WAY_BACK_DNS_ZONE:
		return zone_option(w->zones, value, err);
	case WAY_BACK_WAIT:
		w->wait = true;
		return 0;
	case WAY_BACK_PARK:
	case WAY_BACK_PARK_MAX:
	case WAY_BACK_CONNECT_RATE:
	case WAY_BACK_MAX_CONNECTIONS:
		return number_option(w, id, value, err);
	case WAY_BACK_UDP_IDLE:
		return dial_seconds("udp-idle", value, &w->udp_idle_ms, err);
	case WAY_BACK_EVENTS:
		w->events = value;
		return 0;
	case HOSTS_WANTED:
	case HOSTS_FILE:
	case HOSTS_NAME:
		return hosts_option(&w->hosts_options, id, value, err);
	default:
		return dial_option(&w->dial, id, value, err);
	}
}

static void stop_if_done(struct way_back *w)
{
	if (w->forwarding.stopping && (!w->opened || w->ops->is_idle(w)))
		loop_stop(&w->forwarding.loop);
}

static void stop(struct way_back *w)
{
	w->forwarding.stopping = true;
	hosts_stop(w->hosts);
	w->hosts = NULL;
	if (w->opened)
		w->ops->stop(w);
	stop_if_done(w);
}

static void on_signal(int number, short what, void *arg)
{
	struct way_back *w = arg;

	(void)what;
	if (number == SIGHUP && w->ops->reload != NULL && w->opened && !w->forwarding.stopping) {
		events_reopen(w->forwarding.events);
		w->ops->reload(w);
	} else {
		stop(w);
	}
}

void way_back_fail(struct way_back *w, const struct error *err)
{
	if (w->forwarding.stopping)
		return;
	w->failed = true;
	w->err = *err;
	stop(w);
}

void way_back_gone(struct way_back *w)
{
	if (!w->forwarding.stopping)
		w->ops->go_on(w);
	stop_if_done(w);
}

static json_t *list(void *arg)
{
	const struct way_back *w = arg;

	return w->opened ? w->ops->list(w) : json_array();
}

int way_back_start(struct cli *cli, struct way_back *w, const char *pod, struct error *err)
{
	struct forwarding *f = &w->forwarding;
	int rc = 0;

	if (w->park > w->park_max)
		rc = error_set(err, REASON_INVALID, EINVAL, "--park is more than --park-max");
	if (rc == 0)
		rc = hosts_options_check(&w->hosts_options, err);
	if (rc == 0)
		rc = signals_catch(&f->signals, &f->loop, on_signal, w, err);
	if (rc == 0)
		rc = forwarding_events(f, w->events, err);
	if (rc == 0)
		f->report = report_open(&f->loop, w->ops->command, list, w);
	if (rc == 0 && w->wait)
		rc = forwarding_wait(f, cli, pod, w->dial.handle, w->dial.container, err);
	if (rc == 0 && !f->stopping)
		rc = forwarding_pod(cli, pod, w->dial.handle, &w->pods_dir, &w->pod_arg, err);
	return rc;
}

struct park_config way_back_park(struct way_back *w)
{
	return (struct park_config){
		.loop = &w->forwarding.loop,
		.pods_dir = w->pods_dir,
		.pod_arg = w->pod_arg,
		.handle = w->dial.handle,
		.container_id = w->dial.container,
		.policy = &w->dial.policy,
		.label = w->pod_arg,
		.events = w->forwarding.events,
		.min = (unsigned)w->park,
		.max = (unsigned)w->park_max,
		.rate = (unsigned)w->rate,
		.room = &w->room,
	};
}

int way_back_name(struct way_back *w, const struct expose_spec *specs, size_t count,
		  struct error *err)
{
	const struct hosts_options *wanted = &w->hosts_options;

	host_names_make(&w->names, wanted->names, wanted->name_count, &w->alias, specs, count);
	for (size_t i = 0; i < w->names.count; i++) {
		if (zones_add(w->zones, w->names.names[i].name, &w->names.names[i].addr, err) < 0)
			return -EPROTO;
	}
	return 0;
}

static void on_written(void *arg)
{
	struct way_back *w = arg;
	_cleanup_free_ char *names = host_names_text(&w->names);

	command_say(xasprintf("Names in %s: %s\n", w->hosts_options.path, names));
}

static void on_unwritten(const struct error *err, void *arg)
{
	way_back_fail(arg, err);
}

static void write_names(struct way_back *w, const char *tag)
{
	const struct hosts_tagged tagged = { .command = w->ops->command,
					     .operand = tag,
					     .pod = w->pod_arg,
					     .handle = w->dial.handle,
					     .container = w->dial.container,
					     .alias = &w->alias };
	struct hosts_config config = {
		.loop = &w->forwarding.loop,
		.pods_dir = w->pods_dir,
		.pod_arg = w->pod_arg,
		.handle = w->dial.handle,
		.container_id = w->dial.container,
		.policy = &w->dial.policy,
		.path = w->hosts_options.path,
		.names = &w->names,
		.written = on_written,
		.failed = on_unwritten,
		.arg = w,
	};

	config.tag = w->hosts_tag = hosts_tag(&tagged);
	/* Of netns: and pid:, where who runs this command is who decides. */
	policy_allow_hosts(&w->dial.policy, config.path, NULL);
	w->hosts = hosts_start(&config);
}

/* Descriptors for links that are parked: enough for all that may be, but no more than their share. */
static size_t parked_fds(const struct way_back *w, size_t places)
{
	size_t wanted = places * w->park_max, most = fd_limit_raise() / PARKED_SHARE;

	return wanted < most ? wanted : most;
}

void way_back_open(struct way_back *w, size_t places, size_t spare, const char *tag)
{
	w->opened = true;
	w->room = (int64_t)forward_connections_max(w->max_connections,
						   parked_fds(w, places) + spare + SPARE_FDS);
	if (w->hosts_options.path != NULL)
		write_names(w, tag);
}

int way_back_serve(struct way_back *w, struct error *err)
{
	int rc = forwarding_run(&w->forwarding, err);

	if (rc < 0 || !w->failed)
		return rc;
	*err = w->err;
	return -EPROTO;
}

void way_back_clear(struct way_back *w)
{
	hosts_stop(w->hosts);
	host_names_clear(&w->names);
	hosts_options_clear(&w->hosts_options);
	forwarding_clear(&w->forwarding);
	zones_free(w->zones);
	policy_clear(&w->dial.policy);
	free(w->hosts_tag);
	free(w->pods_dir);
	free(w->pod_arg);
}
