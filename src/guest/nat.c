/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd-guest nat`: forwards and masquerades what comes from containers with a netns of their own, as long
 * as it runs.
 *
 * A table for each family has one chain, and a rule for each --source. It belongs to our netlink
 * socket, so that it is gone when we are, however that comes; forwarding can't be had that way, and is
 * put back on exit. Without --out the rules are made anew when the default route leads out by another
 * interface.
 */
#include "config.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "lib/caps.h"
#include "lib/inherit.h"
#include "lib/policy.h"
#include "lib/service.h"
#include "lib/sock.h"
#include "commands.h"
#include "nft.h"
#include "route.h"
#include "sysctl.h"

#define TABLE "vzfwd-nat"
#define CHAIN "postrouting"
#define SETTLE_MS 500

static const int families[] = { AF_INET, AF_INET6 };
#define FAMILY_COUNT ARRAY_SIZE(families)

struct nat {
	struct common_options common;
	struct policy_rule *sources;
	size_t source_count;
	const char *out; /* NULL: that of the default route */

	bool wanted[FAMILY_COUNT];            /* whether there is a source of it */
	char outs[FAMILY_COUNT][IF_NAMESIZE]; /* what the rules are for; "": there are none */
	struct nft nft;
	bool has_tables;
	struct sysctls sysctls;
	int route_fd;  /* asks */
	int events_fd; /* is told of changes */
	int signal_fd;
};

enum option_id { OPTION_SOURCE, OPTION_OUT };

static const struct option_def options[] = {
	{ 0, "source", VALUE_TEXT, "CIDR", NULL,
	  "whose packets are masqueraded; may be repeated (default: 0.0.0.0/0)", OPTION_SOURCE },
	{ 0, "out", VALUE_TEXT, "INTERFACE", NULL,
	  "where they leave (default: the default route's, also when it changes)", OPTION_OUT },
	COMMON_OPTIONS,
};

static int option_source(struct nat *nat, const char *value, struct error *err)
{
	struct policy_rule rule;

	if (policy_rule_network(&rule, value) < 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "--source: must be CIDR (10.88.0.0/16, fd00:88::/64), got %s",
				 value);
	nat->sources = xrealloc(nat->sources, (nat->source_count + 1) * sizeof(*nat->sources));
	nat->sources[nat->source_count++] = rule;
	nat->wanted[rule.family == AF_INET ? 0 : 1] = true;
	return 0;
}

static int option_out(struct nat *nat, const char *value, struct error *err)
{
	if (*value == '\0' || strlen(value) >= IF_NAMESIZE || strpbrk(value, "/ \t\n") != NULL)
		return error_set(err, REASON_INVALID, EINVAL,
				 "--out: must be an interface's name, got %s", value);
	nat->out = value;
	return 0;
}

static int option_take(int id, const char *value, void *arg, struct error *err)
{
	struct nat *nat = arg;
	int rc = common_option(&nat->common, id, value, err);

	if (rc <= 0)
		return rc;
	switch ((enum option_id)id) {
	case OPTION_SOURCE:
		return option_source(nat, value, err);
	case OPTION_OUT:
		return option_out(nat, value, err);
	}
	return 0;
}

static int options_take(struct nat *nat, int argc, char **argv, struct error *err)
{
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(*operands));
	int count = opts_parse(argc, argv, options, NULL, option_take, nat, operands, err);

	if (count > 0)
		return error_set(err, REASON_INVALID, EINVAL, "unexpected operand %s", operands[0]);
	if (count == 0 && nat->source_count == 0)
		return option_source(nat, "0.0.0.0/0", err);
	return count;
}

/*
 * The tables, each with a chain that is empty yet. One that is there and belongs to nobody is what a
 * nat on an older kernel has left behind.
 */
static int tables_make(struct nat *nat, bool owned, struct error *err)
{
	bool found[FAMILY_COUNT];
	uint32_t owner;

	for (size_t i = 0; i < FAMILY_COUNT; i++) {
		found[i] = nft_table_find(&nat->nft, families[i], TABLE, &owner) > 0;
		if (found[i] && owner != 0)
			return error_set(err, REASON_EXHAUSTED, EEXIST,
					 "another vzfwd-guest nat runs in this network namespace "
					 "(netlink port %u)",
					 owner);
	}
	nft_begin(&nat->nft);
	for (size_t i = 0; i < FAMILY_COUNT; i++) {
		if (found[i])
			nft_table_delete(&nat->nft, families[i], TABLE);
		if (nat->wanted[i]) {
			nft_table_new(&nat->nft, families[i], TABLE, owned);
			nft_chain_source_nat(&nat->nft, families[i], TABLE, CHAIN);
		}
	}
	return nft_commit(&nat->nft, err);
}

static int tables_open(struct nat *nat, struct error *err)
{
	int rc = nft_open(&nat->nft, err);

	if (rc == 0)
		rc = tables_make(nat, true, err);
	if (rc == -EOPNOTSUPP || rc == -EINVAL) {
		log_debug(NULL, "this kernel's tables have no owner");
		rc = tables_make(nat, false, err);
	}
	nat->has_tables = rc == 0;
	return rc;
}

static void tables_close(struct nat *nat)
{
	struct error err;

	if (!nat->has_tables)
		return;
	nft_begin(&nat->nft);
	for (size_t i = 0; i < FAMILY_COUNT; i++) {
		if (nat->wanted[i])
			nft_table_delete(&nat->nft, families[i], TABLE);
	}
	if (nft_commit(&nat->nft, &err) < 0)
		log_warning(NULL, "%s", err.message);
}

static void rules_put(struct nat *nat, size_t i)
{
	for (size_t k = 0; k < nat->source_count; k++) {
		const struct policy_rule *source = &nat->sources[k];

		if (source->family != families[i])
			continue;
		nft_rule_begin(&nat->nft, families[i], TABLE, CHAIN);
		nft_rule_out_is(&nat->nft, nat->outs[i]);
		nft_rule_in_is_not(&nat->nft, nat->outs[i]);
		if (source->prefix > 0)
			nft_rule_source_in(&nat->nft, families[i], &source->v6, source->prefix);
		nft_rule_masquerade(&nat->nft);
		nft_rule_end(&nat->nft);
	}
}

/* Where packets of this family leave now. */
static int out_find(struct nat *nat, size_t i, char name[IF_NAMESIZE], struct error *err)
{
	int rc;

	memset(name, 0, IF_NAMESIZE);
	if (nat->out != NULL) {
		memcpy(name, nat->out, strlen(nat->out));
		return 0;
	}
	rc = route_default_interface(nat->route_fd, families[i], name);
	return rc < 0 ? error_set(err, REASON_INTERNAL, -rc, "cannot list the routes: %s",
				  errno_text(-rc))
		      : 0;
}

/* Makes the rules fit the interface of the time: a transaction for each family where it has changed. */
static int rules_update(struct nat *nat, bool first, struct error *err)
{
	char name[IF_NAMESIZE];

	for (size_t i = 0; i < FAMILY_COUNT; i++) {
		const char *what = families[i] == AF_INET ? "IPv4" : "IPv6";

		if (!nat->wanted[i])
			continue;
		if (out_find(nat, i, name, err) < 0)
			return -EPROTO;
		if (!first && strcmp(name, nat->outs[i]) == 0)
			continue;
		memcpy(nat->outs[i], name, sizeof(name));
		nft_begin(&nat->nft);
		nft_chain_flush(&nat->nft, families[i], TABLE, CHAIN);
		if (*name != '\0')
			rules_put(nat, i);
		if (nft_commit(&nat->nft, err) < 0)
			return -EPROTO;
		if (*name != '\0')
			log_info(NULL, "%s: masquerading what leaves by %s", what, name);
		else
			log_info(NULL,
				 "%s: no default route: masquerading nothing until there is one",
				 what);
	}
	return 0;
}

/*
 * Links too: what goes with an interface that is taken down is not told as a change of routes. And that
 * it is down is told just before they go, hence a second look (SETTLE_MS).
 */
static int events_open(struct nat *nat, struct error *err)
{
	struct sockaddr_nl local = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_LINK,
	};

	int rc = 0;

	nat->route_fd = sock_new(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	nat->events_fd = sock_new(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	if (nat->route_fd < 0 || nat->events_fd < 0)
		rc = nat->route_fd < 0 ? nat->route_fd : nat->events_fd;
	else if (bind(nat->events_fd, (struct sockaddr *)&local, sizeof(local)) < 0)
		rc = -errno;
	return rc < 0 ? error_set(err, REASON_UNSUPPORTED, -rc, "cannot watch routes: %s",
				  errno_text(-rc))
		      : 0;
}

static int signals_open(struct nat *nat, struct error *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	nat->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return nat->signal_fd < 0
		       ? error_set(err, REASON_INTERNAL, errno, "signalfd: %s", errno_text(errno))
		       : 0;
}

/* They only say that it is time to look, and so does ENOBUFS, which stands for some that were lost. */
static void events_drain(int fd)
{
	uint8_t buf[4096];

	while (recv(fd, buf, sizeof(buf), 0) >= 0 || errno == ENOBUFS || errno == EINTR)
		;
}

/* Until a signal comes. */
static int nat_watch(struct nat *nat, struct error *err)
{
	struct pollfd fds[] = { { .fd = nat->signal_fd, .events = POLLIN },
				{ .fd = nat->out == NULL ? nat->events_fd : -1,
				  .events = POLLIN } };
	struct signalfd_siginfo info;
	int n, timeout = -1;

	for (;;) {
		n = poll(fds, ARRAY_SIZE(fds), timeout);
		if (n < 0 && errno != EINTR)
			return error_set(err, REASON_INTERNAL, errno, "poll: %s",
					 errno_text(errno));
		if (read(nat->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
			log_info(NULL, "stopped by %s",
				 info.ssi_signo == SIGTERM  ? "SIGTERM"
				 : info.ssi_signo == SIGINT ? "SIGINT"
							    : "SIGHUP");
			return 0;
		}
		timeout = n > 0 ? SETTLE_MS : -1;
		events_drain(nat->events_fd);
		if (rules_update(nat, false, err) < 0)
			return -EPROTO;
	}
}

static int nat_start(struct nat *nat, struct error *err)
{
	if (signals_open(nat, err) < 0 || events_open(nat, err) < 0 || tables_open(nat, err) < 0 ||
	    rules_update(nat, true, err) < 0)
		return -EPROTO;
	if (nat->out != NULL && if_nametoindex(nat->out) == 0)
		log_warning(NULL, "--out: there is no interface %s yet", nat->out);
	for (size_t i = 0; i < FAMILY_COUNT; i++) {
		if (nat->wanted[i] && sysctls_forward(&nat->sysctls, families[i], err) < 0)
			return -EPROTO;
	}
	return caps_drop(CAPS_NETWORK, NULL, err);
}

static void nat_clear(struct nat *nat)
{
	const int fds[] = { nat->route_fd, nat->events_fd, nat->signal_fd };

	sysctls_restore(&nat->sysctls);
	tables_close(nat);
	nft_close(&nat->nft);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	free(nat->sources);
}

static int run(int argc, char **argv)
{
	struct nat nat = { .common.log_level = LOG_LEVEL_INFO,
			   .nft.fd = -1,
			   .route_fd = -1,
			   .events_fd = -1,
			   .signal_fd = -1 };
	struct error err;
	int code = 0, rc = options_take(&nat, argc, argv, &err);

	guest_command_start(&guest_nat, &nat.common, rc, &err);
	inherit_ignore_signals();
	rc = nat_start(&nat, &err);
	if (rc == 0) {
		service_notify("READY=1");
		rc = nat_watch(&nat, &err);
		service_notify("STOPPING=1");
	}
	if (rc < 0)
		code = guest_command_fail(&err);
	nat_clear(&nat);
	return code;
}

const struct guest_command guest_nat = {
	.name = "nat",
	.synopsis = "[--source CIDR]... [--out INTERFACE]",
	.summary = "let containers with a netns of their own out by the VM's network card",
	.details = "Turns forwarding on and masquerades what containers send out, until SIGTERM or "
		   "SIGINT,\n"
		   "and undoes it then. IPv6 too where a --source is of it (::/0).",
	.options = options,
	.run = run,
};
