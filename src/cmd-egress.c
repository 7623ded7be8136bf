/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd egress`: all that leaves a pod comes here, and goes on if a rule allows it, until it is told to stop.
 */
#include "config.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <string.h>

#include "dial-options.h"
#include "dns/forward.h"
#include "egress/egress.h"
#include "egress/own.h"
#include "forwarding.h"
#include "report.h"

#define ALIAS_DEFAULT "192.168.127.254"
#define RATE_MAX 1000000
#define PARKED_MAX 1024
/* Descriptors that are none of connections': the resolvers' and a few. */
#define SPARE_FDS (DNS_FORWARD_MAX + 16)
#define LISTENERS 4
#define OWN_MS 5000 /* how often the host's addresses are looked at */
#define URL_MAX 4096

enum {
	OPTION_RULE = 1,
	OPTION_DENY,
	OPTION_POLICY,
	OPTION_UPSTREAM,
	OPTION_UPSTREAM_FILE,
	OPTION_ALIAS_IP,
	OPTION_NO_DNS,
	OPTION_DNS_ZONE,
	OPTION_PARK,
	OPTION_PARK_MAX,
	OPTION_CONNECT_RATE,
	OPTION_MAX_CONNECTIONS,
	OPTION_UDP_IDLE,
	OPTION_WAIT,
	OPTION_THE_EVENTS
};

static const struct option_def options[] = {
	{ 0, "allow", VALUE_TEXT, "RULE", NULL,
	  "what the pod may reach: example.com:443, *.example.com, 10.1.0.0/16:5432, */udp",
	  OPTION_RULE },
	{ 0, "deny", VALUE_TEXT, "RULE", NULL, "what it may not, whatever allows it", OPTION_DENY },
	{ 0, "policy", VALUE_FILE, "FILE", NULL,
	  "more rules: {\"allow\": [RULE, ...], \"deny\": [RULE, ...]}; read again on SIGHUP",
	  OPTION_POLICY },
	{ 0, "upstream", VALUE_TEXT, "URL", NULL,
	  "send all of it through a proxy: http://HOST:PORT, socks5://HOST:PORT", OPTION_UPSTREAM },
	{ 0, "upstream-file", VALUE_FILE, "FILE", NULL,
	  "read its URL there, for passwords: mode 0600", OPTION_UPSTREAM_FILE },
	{ 0, "alias-ip", VALUE_TEXT, "IP", NULL,
	  "the address in the pod that stands for the host (default: " ALIAS_DEFAULT ")",
	  OPTION_ALIAS_IP },
	{ 0, "no-dns", VALUE_NONE, NULL, NULL, "don't answer DNS questions at that address",
	  OPTION_NO_DNS },
	{ 0, "dns-zone", VALUE_TEXT, "ZONE", NULL,
	  "answer for it here: ZONE[=ADDRESS][,NAME=ADDRESS]...[,ttl=SECONDS]", OPTION_DNS_ZONE },
	{ 0, "wait", VALUE_NONE, NULL, NULL, "wait until the pod is there", OPTION_WAIT },
	{ 0, "park", VALUE_NUMBER, "N", NULL, "links that wait for what leaves the pod (default 4)",
	  OPTION_PARK },
	{ 0, "park-max", VALUE_NUMBER, "N", NULL, "and as many under load (default 64)",
	  OPTION_PARK_MAX },
	{ 0, "connect-rate", VALUE_NUMBER, "N", NULL,
	  "connections a second at most; more wait (default 10000)", OPTION_CONNECT_RATE },
	{ 0, "max-connections", VALUE_NUMBER, "N", NULL,
	  "connections at a time; more wait (default: what the descriptor limit allows)",
	  OPTION_MAX_CONNECTIONS },
	{ 0, "udp-idle", VALUE_TEXT, "SECONDS", NULL,
	  "udp: a flow ends after this much silence (default 90)", OPTION_UDP_IDLE },
	{ 0, "timeout", VALUE_TEXT, "SECONDS", NULL,
	  "how long connecting may take (0.001 to 600, default 10)", DIAL_TIMEOUT },
	OPTION_HANDLE(DIAL_HANDLE),
	OPTION_CONTAINER(DIAL_CONTAINER),
	OPTION_EVENTS(OPTION_THE_EVENTS),
	{ 0 },
};

struct given_rule {
	bool allow;
	const char *text;
};

struct egressing {
	struct forwarding forwarding; /* of no forwards: the loop and the signals */
	struct dial_options dial;
	struct egress_config config;
	struct given_rule *given; /* --allow and --deny, to begin anew with */
	size_t given_count;
	struct rules rules; /* those and the policy's */
	const char *policy, *events;
	struct upstream upstream;
	struct address upstream_addrs[CONNECT_MAX];
	struct zones *zones;
	uint64_t park, park_max, rate, max_connections;
	bool wait;
	struct loop_task looking; /* at the host's addresses */
	char *pods_dir, *pod_arg;
	struct egress *egress;
	int64_t room;
	bool failed;
	struct error err; /* that ended it */
};

static void add_rule(struct egressing *x, bool allow, const char *text)
{
	x->given = xrealloc(x->given, (x->given_count + 1) * sizeof(*x->given));
	x->given[x->given_count++] = (struct given_rule){ allow, text };
}

static int alias_option(const char *value, struct address *alias, struct error *err)
{
	if (*value != '\0' && address_parse_host(alias, value, NULL) == 0 &&
	    alias->family != AF_UNSPEC)
		return 0;
	return error_set(err, REASON_INVALID, EINVAL,
			 "--alias-ip must be an IP address, got \"%s\"", value);
}

static int upstream_option(struct egressing *x, const char *value, struct error *err)
{
	upstream_clear(&x->upstream);
	x->config.upstream = &x->upstream;
	if (upstream_parse(&x->upstream, value, err) < 0)
		return error_prefix(err, "--upstream");
	return 0;
}

static int upstream_file_option(struct egressing *x, const char *path, struct error *err)
{
	char *url;
	size_t length;
	int rc = secret_read(path, URL_MAX, &url, &length, err);

	if (rc < 0)
		return error_prefix(err, "--upstream-file");
	if (length > 0 && url[length - 1] == '\n')
		url[--length] = '\0';
	rc = length > URL_MAX || strlen(url) != length ? -EINVAL : upstream_option(x, url, err);
	if (rc == -EINVAL)
		error_set(err, REASON_INVALID, EINVAL, "--upstream-file: %s: is no URL", path);
	explicit_bzero(url, length);
	free(url);
	return rc;
}

static int zone_option(struct egressing *x, const char *value, struct error *err)
{
	if (zones_parse(x->zones, value, err) < 0)
		return error_prefix(err, "--dns-zone");
	return 0;
}

static int park_option(struct egressing *x, int id, const char *value, struct error *err)
{
	switch (id) {
	case OPTION_PARK:
		return opts_number("park", value, 1, PARKED_MAX, &x->park, err);
	case OPTION_PARK_MAX:
		return opts_number("park-max", value, 1, PARKED_MAX, &x->park_max, err);
	case OPTION_CONNECT_RATE:
		return opts_number("connect-rate", value, 1, RATE_MAX, &x->rate, err);
	default:
		return opts_number("max-connections", value, 1, 1000000, &x->max_connections, err);
	}
}

static int egress_option(int id, const char *value, void *arg, struct error *err)
{
	struct egressing *x = arg;

	switch (id) {
	case OPTION_RULE:
	case OPTION_DENY:
		add_rule(x, id == OPTION_RULE, value);
		return 0;
	case OPTION_POLICY:
		x->policy = value;
		return 0;
	case OPTION_UPSTREAM:
		return upstream_option(x, value, err);
	case OPTION_UPSTREAM_FILE:
		return upstream_file_option(x, value, err);
	case OPTION_ALIAS_IP:
		return alias_option(value, &x->config.alias, err);
	case OPTION_NO_DNS:
		x->config.dns = false;
		return 0;
	case OPTION_DNS_ZONE:
		return zone_option(x, value, err);
	case OPTION_WAIT:
		x->wait = true;
		return 0;
	case OPTION_PARK:
	case OPTION_PARK_MAX:
	case OPTION_CONNECT_RATE:
	case OPTION_MAX_CONNECTIONS:
		return park_option(x, id, value, err);
	case OPTION_UDP_IDLE:
		return dial_seconds("udp-idle", value, &x->config.udp_idle_ms, err);
	case OPTION_THE_EVENTS:
		x->events = value;
		return 0;
	default:
		return dial_option(&x->dial, id, value, err);
	}
}

/* All rules anew; what there was stays if they can't be had. */
static int read_rules(struct egressing *x, bool again, struct error *err)
{
	struct rules rules = { 0 };
	int rc = 0, own;

	for (size_t i = 0; i < x->given_count && rc == 0; i++) {
		rc = rules_add(&rules, x->given[i].allow, x->given[i].text, err);
		if (rc < 0)
			error_prefix(err, x->given[i].allow ? "--allow" : "--deny");
	}
	if (rc == 0 && x->policy != NULL)
		rc = rules_read(&rules, x->policy, again, err);
	if (rc == 0) {
		own = own_addresses(&rules);
		if (own < 0)
			rc = error_set(err, REASON_INTERNAL, -own, "the host's addresses: %s",
				       errno_text(-own));
	}
	if (rc < 0) {
		rules_clear(&rules);
		return rc;
	}
	rules_clear(&x->rules);
	x->rules = rules;
	return 0;
}

/* An address that comes later is the host's own as well. */
static void look_for_own(void *arg)
{
	struct egressing *x = arg;

	own_addresses(&x->rules);
	loop_later(&x->forwarding.loop, &x->looking, OWN_MS, look_for_own, x);
}

/* Where the upstream proxy is: asked for once, at the start. */
static int find_upstream(struct egressing *x, struct error *err)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list, *one;
	size_t *count = &x->config.upstream_count;
	int rc;

	if (x->config.upstream == NULL)
		return 0;
	rc = getaddrinfo(x->upstream.host, NULL, &hints, &list);
	if (rc != 0)
		return error_set(err, REASON_UNREACHABLE, 0, "--upstream: %s: %s", x->upstream.host,
				 gai_strerror(rc));
	for (one = list; one != NULL && *count < CONNECT_MAX; one = one->ai_next) {
		struct address *addr = &x->upstream_addrs[*count];

		if (address_from_sockaddr(addr, one->ai_addr) < 0)
			continue;
		addr->port = x->upstream.port;
		++*count;
	}
	freeaddrinfo(list);
	x->config.upstream_addrs = x->upstream_addrs;
	return *count > 0 ? 0
			  : error_set(err, REASON_UNREACHABLE, 0, "--upstream: %s has no address",
				      x->upstream.host);
}

static void stop_if_done(struct egressing *x)
{
	if (x->forwarding.stopping && egress_is_idle(x->egress))
		loop_stop(&x->forwarding.loop);
}

static void stop(struct egressing *x)
{
	if (x->egress == NULL) {
		x->forwarding.stopping = true;
		loop_stop(&x->forwarding.loop);
		return;
	}
	x->forwarding.stopping = true;
	egress_stop(x->egress);
	egress_abort(x->egress);
	stop_if_done(x);
}

static void on_signal(int number, short what, void *arg)
{
	struct egressing *x = arg;
	struct error err;

	(void)what;
	if (number != SIGHUP || x->policy == NULL || x->egress == NULL || x->forwarding.stopping) {
		stop(x);
		return;
	}
	events_reopen(x->forwarding.events);
	if (read_rules(x, true, &err) < 0)
		log_error(NULL, "egress: %s; the rules are as they were", err.message);
	else
		log_info(NULL, "egress: %s: applied", x->policy);
}

static void on_listening(const char *place, void *arg)
{
	(void)arg;
	command_say(xasprintf("Taking %s\n", place));
}

static void on_gone(void *arg)
{
	struct egressing *x = arg;

	if (x->room == 1 && !x->forwarding.stopping)
		egress_go_on(x->egress);
	stop_if_done(x);
}

/* What can't be had at first ends it. */
static void on_failed(const char *place, const struct error *err, void *arg)
{
	struct egressing *x = arg;

	if (x->forwarding.stopping)
		return;
	x->failed = true;
	x->err = *err;
	error_prefix(&x->err, "%s", place);
	stop(x);
}

/* For vzfwd status. */
static json_t *list_egress(void *arg)
{
	const struct egressing *x = arg;

	return x->egress != NULL ? json_pack("[o]", egress_to_json(x->egress)) : json_array();
}

static void open_egress(struct egressing *x)
{
	struct egress_config *config = &x->config;

	config->park = (struct park_config){
		.loop = &x->forwarding.loop,
		.pods_dir = x->pods_dir,
		.pod_arg = x->pod_arg,
		.handle = x->dial.handle,
		.container_id = x->dial.container,
		.policy = &x->dial.policy,
		.label = x->pod_arg,
		.events = x->forwarding.events,
		.min = (unsigned)x->park,
		.max = (unsigned)x->park_max,
		.rate = (unsigned)x->rate,
		.room = &x->room,
	};
	config->rules = &x->rules;
	config->zones = x->zones;
	config->timeout_ms = x->dial.timeout_ms;
	config->last_id = &x->forwarding.last_id;
	config->listening = on_listening;
	config->failed = on_failed;
	config->gone = on_gone;
	config->arg = x;
	x->room = (int64_t)forward_connections_max(x->max_connections,
						   (size_t)x->park_max * LISTENERS + SPARE_FDS);
	x->egress = egress_new(config);
	look_for_own(x);
}

static int egress_start(struct cli *cli, struct egressing *x, const char **operands, int count,
			struct error *err)
{
	struct forwarding *f = &x->forwarding;
	int rc = forwarding_init(f, err);

	if (rc == 0 && count != 1)
		rc = error_set(err, REASON_INVALID, EINVAL, "%s? See vzfwd egress --help",
			       count == 0 ? "which POD" : "one POD, and what else");
	if (rc == 0 && x->park > x->park_max)
		rc = error_set(err, REASON_INVALID, EINVAL, "--park is more than --park-max");
	if (rc == 0)
		rc = read_rules(x, false, err);
	if (rc == 0)
		rc = find_upstream(x, err);
	if (rc == 0)
		rc = signals_catch(&f->signals, &f->loop, on_signal, x, err);
	if (rc == 0)
		rc = forwarding_events(f, x->events, err);
	if (rc == 0)
		f->report = report_open(&f->loop, "egress", list_egress, x);
	if (rc == 0 && x->wait)
		rc = forwarding_wait(f, cli, operands[0], x->dial.handle, x->dial.container, err);
	if (rc == 0 && !f->stopping)
		rc = forwarding_pod(cli, operands[0], x->dial.handle, &x->pods_dir, &x->pod_arg,
				    err);
	if (rc == 0 && !f->stopping)
		open_egress(x);
	return rc;
}

static int egress_serve(struct egressing *x, struct error *err)
{
	int rc = forwarding_run(&x->forwarding, err);

	if (rc == 0 && x->failed) {
		*err = x->err;
		rc = -EPROTO;
	}
	return rc;
}

static void egress_clear(struct egressing *x)
{
	egress_free(x->egress);
	loop_cancel(&x->looking);
	forwarding_clear(&x->forwarding);
	rules_clear(&x->rules);
	upstream_clear(&x->upstream);
	zones_free(x->zones);
	policy_clear(&x->dial.policy);
	free(x->given);
	free(x->pods_dir);
	free(x->pod_arg);
}

static int egress_run(struct cli *cli, int argc, char **argv)
{
	struct egressing x = { .dial.timeout_ms = TIMEOUT_MS_DEFAULT,
			       .config.dns = true,
			       .zones = zones_new(),
			       .park = PARK_DEFAULT,
			       .park_max = PARK_MAX_DEFAULT,
			       .rate = PARK_RATE_DEFAULT };
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(char *));
	struct error err;
	int count, code = 0;

	alias_option(ALIAS_DEFAULT, &x.config.alias, NULL);
	count = command_parse(cli, &cmd_egress, argc, argv, egress_option, &x, operands);
	if (egress_start(cli, &x, operands, count, &err) < 0 || egress_serve(&x, &err) < 0)
		code = command_fail("egress", &err);
	egress_clear(&x);
	return code;
}

const struct command cmd_egress = {
	.name = "egress",
	.synopsis = "POD [--allow RULE]... [--deny RULE]... [--policy FILE]",
	.summary = "let what leaves a pod go where rules allow it",
	.details =
		"Every connection and datagram that leaves the pod, to whatever address, goes on\n"
		"from here if a RULE allows it, and is reset otherwise. DNS questions are "
		"answered\n"
		"at the alias address. A RULE is a name, *.NAME, an address or a CIDR, or * for\n"
		"every public address, with :PORT or :LO-HI and /tcp or /udp behind it if need be.",
	.options = options,
	.operands = { VALUE_POD },
	.run = egress_run,
};
