/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd proxy`: a SOCKS 5 and HTTP proxy that knows pods by their names, until it is told to stop.
 */
#include "config.h"

#include <errno.h>

#include "dial-options.h"
#include "forwarding.h"
#include "proxy/proxy.h"
#include "report.h"

#define DEFAULT_LISTENER "1080" /* of SOCKS, by IANA */

enum { OPTION_THE_POD = 1, OPTION_AUTH_FILE, OPTION_MAX_CONNECTIONS, OPTION_THE_EVENTS };

static const struct option_def options[] = {
	{ 'p', "pod", VALUE_POD, "POD", NULL,
	  "where localhost and addresses lead (default: nowhere)", OPTION_THE_POD },
	{ 0, "auth-file", VALUE_FILE, "FILE", NULL,
	  "let in who knows one of its USER:PASSWORD lines", OPTION_AUTH_FILE },
	{ 0, "max-connections", VALUE_NUMBER, "N", NULL,
	  "connections at a time; more wait (default: what the descriptor limit allows)",
	  OPTION_MAX_CONNECTIONS },
	OPTION_EVENTS(OPTION_THE_EVENTS),
	REACH_OPTIONS,
	{ 0 },
};

struct proxying {
	struct forwarding forwarding; /* of no forwards: the loop, the limit and the signals */
	struct proxy proxy;
	struct proxy_config config;
	struct dial_options dial;
	struct forward_spec spec;
	const char *pod, *auth_file, *events;
	char *pods_dir, *own_pods_dir, *own_pod;
	uint64_t max_connections;
};

static int proxy_option(int id, const char *value, void *arg, struct error *err)
{
	struct proxying *p = arg;

	switch (id) {
	case OPTION_THE_POD:
		p->pod = value;
		return 0;
	case OPTION_AUTH_FILE:
		p->auth_file = value;
		return 0;
	case OPTION_THE_EVENTS:
		p->events = value;
		return 0;
	case OPTION_MAX_CONNECTIONS:
		return opts_number("max-connections", value, 1, 1000000, &p->max_connections, err);
	default:
		return dial_option(&p->dial, id, value, err);
	}
}

static void on_asked(const char *label, void *arg)
{
	(void)arg;
	command_say(xasprintf("Handling connection for %s\n", label));
}

static void on_gone(void *arg)
{
	struct proxying *p = arg;

	if (p->forwarding.stopping && p->forwarding.limit.count == 0)
		loop_stop(&p->forwarding.loop);
}

static void on_signal(int number, short what, void *arg)
{
	struct proxying *p = arg;

	(void)number;
	(void)what;
	proxy_stop(&p->proxy);
	forwarding_stop(&p->forwarding);
}

/* localhost is a pod only for who says so: the only one that is registered may be another one tomorrow. */
static int find_own_pod(struct cli *cli, struct proxying *p, struct error *err)
{
	if (p->pod == NULL)
		p->pod = getenv("VZFWD_POD");
	if (p->pod == NULL || *p->pod == '\0')
		return 0;
	return forwarding_pod(cli, p->pod, NULL, &p->own_pods_dir, &p->own_pod, err);
}

/* For vzfwd status. */
static json_t *list_proxy(void *arg)
{
	const struct proxying *p = arg;

	return json_pack("[o]", proxy_to_json(&p->proxy));
}

static int open_proxy(struct proxying *p, struct error *err)
{
	int rc;

	p->config.loop = &p->forwarding.loop;
	p->config.pods_dir = p->pods_dir;
	p->config.own_pods_dir = p->own_pods_dir;
	p->config.own_pod = p->own_pod;
	p->config.policy = &p->dial.policy;
	p->config.timeout_ms = p->dial.timeout_ms;
	p->config.spec = &p->spec;
	p->config.limit = &p->forwarding.limit;
	p->config.last_id = &p->forwarding.last_id;
	p->config.events = p->forwarding.events;
	p->config.asked = on_asked;
	p->config.gone = on_gone;
	p->config.arg = p;
	rc = proxy_init(&p->proxy, &p->config, err);
	if (rc < 0)
		return rc;
	p->forwarding.report = report_open(p->config.loop, "proxy", list_proxy, p);
	forwarding_limit(&p->forwarding, p->max_connections);
	for (size_t i = 0; i < p->proxy.bound_count; i++) {
		const char *at = p->proxy.bound[i].text;

		if (p->spec.bind_type == BIND_UNIX)
			command_say(xasprintf("Proxy at %s\n", at));
		else
			command_say(xasprintf("Proxy at %s, settings at http://%s/proxy.pac\n", at,
					      at));
	}
	return 0;
}

static int proxy_start(struct cli *cli, struct proxying *p, const char **operands, int count,
		       struct error *err)
{
	struct forwarding *f = &p->forwarding;
	int rc = forwarding_init(f, err);

	TAILQ_INIT(&p->proxy.asking);
	TAILQ_INIT(&p->proxy.others);
	if (rc == 0 && count > 1)
		rc = error_set(err, REASON_INVALID, EINVAL, "more than one place to listen");
	if (rc == 0)
		rc = listener_parse(&p->spec, count > 0 ? operands[0] : DEFAULT_LISTENER, err);
	if (rc == 0 && p->auth_file != NULL)
		rc = auth_read(&p->config.auth, p->auth_file, err);
	if (rc == 0) {
		p->pods_dir = pods_dir(cli->pods_dir, err);
		rc = p->pods_dir != NULL ? 0 : -EINVAL;
	}
	if (rc == 0)
		rc = find_own_pod(cli, p, err);
	if (rc == 0)
		rc = signals_catch(&f->signals, &f->loop, on_signal, p, err);
	if (rc == 0)
		rc = forwarding_events(f, p->events, err);
	if (rc == 0)
		rc = open_proxy(p, err);
	return rc;
}

static int proxy_run(struct cli *cli, int argc, char **argv)
{
	struct proxying p = { .dial.timeout_ms = TIMEOUT_MS_DEFAULT };
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(char *));
	struct error err;
	int count, code = 0;

	count = command_parse(cli, &cmd_proxy, argc, argv, proxy_option, &p, operands);
	if (proxy_start(cli, &p, operands, count, &err) < 0 ||
	    forwarding_run(&p.forwarding, &err) < 0)
		code = command_fail("proxy", &err);
	proxy_clear(&p.proxy);
	forwarding_clear(&p.forwarding);
	forward_spec_clear(&p.spec);
	auth_clear(&p.config.auth);
	policy_clear(&p.dial.policy);
	free(p.pods_dir);
	free(p.own_pods_dir);
	free(p.own_pod);
	return code;
}

const struct command cmd_proxy = {
	.name = "proxy",
	.synopsis = "[LISTENER]",
	.summary = "be a SOCKS 5 and HTTP proxy whose hosts are pods",
	.details =
		"LISTENER is PORT, BIND:PORT or unix:PATH, by default " DEFAULT_LISTENER
		". A host that clients ask\n"
		"for is the name of a registered pod. Browsers find their settings at /proxy.pac.",
	.options = options,
	.operands = { VALUE_TEXT },
	.run = proxy_run,
};
