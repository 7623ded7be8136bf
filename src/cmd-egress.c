/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd egress`: all that leaves a pod comes here, and goes on if a rule allows it, until it is told to stop.
 */
#include "config.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>

#include "dns/forward.h"
#include "egress/egress.h"
#include "egress/own.h"
#include "way-back.h"

#define PLACES 4    /* of egress and DNS, TCP and UDP each */
#define OWN_MS 5000 /* how often the host's addresses are looked at */
#define URL_MAX 4096

enum {
	OPTION_ALLOW_RULE = 1,
	OPTION_DENY_RULE,
	OPTION_POLICY,
	OPTION_UPSTREAM,
	OPTION_UPSTREAM_FILE,
	OPTION_NO_DNS
};

static const struct option_def options[] = {
	{ 0, "allow", VALUE_TEXT, "RULE", NULL,
	  "what the pod may reach: example.com:443, *.example.com, 10.1.0.0/16:5432, */udp",
	  OPTION_ALLOW_RULE },
	{ 0, "deny", VALUE_TEXT, "RULE", NULL, "what it may not, whatever allows it",
	  OPTION_DENY_RULE },
	{ 0, "policy", VALUE_FILE, "FILE", NULL,
	  "more rules: {\"allow\": [RULE, ...], \"deny\": [RULE, ...]}; read again on SIGHUP",
	  OPTION_POLICY },
	{ 0, "upstream", VALUE_TEXT, "URL", NULL,
	  "send all of it through a proxy: http://HOST:PORT, socks5://HOST:PORT", OPTION_UPSTREAM },
	{ 0, "upstream-file", VALUE_FILE, "FILE", NULL,
	  "read its URL there, for passwords: mode 0600", OPTION_UPSTREAM_FILE },
	{ 0, "no-dns", VALUE_NONE, NULL, NULL,
	  "don't answer DNS questions at the host's address in the pod", OPTION_NO_DNS },
	WAY_BACK_OPTIONS,
	{ 0 },
};

struct given_rule {
	bool allow;
	const char *text;
};

struct egressing {
	struct way_back way;
	struct egress_config config;
	struct given_rule *given; /* --allow and --deny, to begin anew with */
	size_t given_count;
	struct rules rules; /* those and the policy's */
	const char *policy;
	struct upstream upstream;
	struct address upstream_addrs[CONNECT_MAX];
	struct loop_task looking; /* at the host's addresses */
	struct egress *egress;
};

static struct egressing *egressing_of(const struct way_back *w)
{
	return container_of(w, struct egressing, way);
}

static void add_rule(struct egressing *x, bool allow, const char *text)
{
	x->given = xrealloc(x->given, (x->given_count + 1) * sizeof(*x->given));
	x->given[x->given_count++] = (struct given_rule){ allow, text };
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

static int egress_option(int id, const char *value, void *arg, struct error *err)
{
	struct egressing *x = arg;

	switch (id) {
	case OPTION_ALLOW_RULE:
	case OPTION_DENY_RULE:
		add_rule(x, id == OPTION_ALLOW_RULE, value);
		return 0;
	case OPTION_POLICY:
		x->policy = value;
		return 0;
	case OPTION_UPSTREAM:
		return upstream_option(x, value, err);
	case OPTION_UPSTREAM_FILE:
		return upstream_file_option(x, value, err);
	case OPTION_NO_DNS:
		x->config.dns = false;
		return 0;
	default:
		return way_back_option(&x->way, id, value, err);
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

	if (own_addresses(&x->rules) > 0)
		egress_rules_changed(x->egress);
	loop_later(&x->way.forwarding.loop, &x->looking, OWN_MS, look_for_own, x);
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

static void stop_egress(struct way_back *w)
{
	struct egressing *x = egressing_of(w);

	egress_stop(x->egress);
	egress_abort(x->egress);
}

static bool is_idle(const struct way_back *w)
{
	return egress_is_idle(egressing_of(w)->egress);
}

static void go_on(struct way_back *w)
{
	egress_go_on(egressing_of(w)->egress);
}

static json_t *list_egress(const struct way_back *w)
{
	return xcheck(json_pack("[o]", egress_to_json(egressing_of(w)->egress)));
}

/* The policy's file, and the host's addresses. */
static void reload(struct way_back *w)
{
	struct egressing *x = egressing_of(w);
	struct error err;

	if (read_rules(x, true, &err) < 0) {
		log_error(NULL, "egress: %s; the rules are as they were", err.message);
		return;
	}
	log_info(NULL, "egress: the rules were read again");
	egress_rules_changed(x->egress);
}

static const struct way_back_ops ops = {
	.command = "egress",
	.stop = stop_egress,
	.is_idle = is_idle,
	.go_on = go_on,
	.list = list_egress,
	.reload = reload,
};

static void on_listening(const char *place, void *arg)
{
	(void)arg;
	command_say(xasprintf("Taking %s\n", place));
}

static void on_gone(void *arg)
{
	struct egressing *x = arg;

	way_back_gone(&x->way);
}

static void on_failed(const char *place, const struct error *err, void *arg)
{
	struct egressing *x = arg;
	struct error failed = *err;

	error_prefix(&failed, "%s", place);
	way_back_fail(&x->way, &failed);
}

static void open_egress(struct egressing *x)
{
	struct egress_config *config = &x->config;

	config->park = way_back_park(&x->way);
	config->alias = x->way.alias;
	config->zones = x->way.zones;
	config->rules = &x->rules;
	config->timeout_ms = x->way.dial.timeout_ms;
	config->udp_idle_ms = x->way.udp_idle_ms;
	config->last_id = &x->way.forwarding.last_id;
	config->listening = on_listening;
	config->failed = on_failed;
	config->gone = on_gone;
	config->arg = x;
	x->egress = egress_new(config);
	way_back_open(&x->way, PLACES, DNS_FORWARD_MAX + BACKWARD_HELD_MAX, NULL);
	look_for_own(x);
}

static int egress_start(struct cli *cli, struct egressing *x, const char **operands, int count,
			struct error *err)
{
	int rc = 0;

	if (count != 1)
		rc = error_set(err, REASON_INVALID, EINVAL, "%s? See vzfwd egress --help",
			       count == 0 ? "which POD" : "one POD, and what else");
	if (rc == 0)
		rc = read_rules(x, false, err);
	if (rc == 0)
		rc = find_upstream(x, err);
	if (rc == 0)
		rc = way_back_name(&x->way, NULL, 0, err);
	if (rc == 0)
		rc = way_back_start(cli, &x->way, operands[0], err);
	if (rc == 0 && !x->way.forwarding.stopping)
		open_egress(x);
	return rc;
}

static void egress_clear(struct egressing *x)
{
	egress_free(x->egress);
	loop_cancel(&x->looking);
	way_back_clear(&x->way);
	rules_clear(&x->rules);
	upstream_clear(&x->upstream);
	free(x->given);
}

static int egress_run(struct cli *cli, int argc, char **argv)
{
	struct egressing x = { .config.dns = true };
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(char *));
	struct error err;
	int count, code = 0;

	way_back_init(&x.way, &ops);
	count = command_parse(cli, &cmd_egress, argc, argv, egress_option, &x, operands);
	if (forwarding_init(&x.way.forwarding, &err) < 0 ||
	    egress_start(cli, &x, operands, count, &err) < 0 || way_back_serve(&x.way, &err) < 0)
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
