/* SPDX-License-Identifier: MIT */
/*
 * Which targets a dialer may connect to, which hosts files it may write to, and the normal form of addresses that
 * such a decision needs.
 */
#ifndef VZFWD_POLICY_H
#define VZFWD_POLICY_H

#include "endpoint.h"

struct policy_rule {
	sa_family_t family;
	uint8_t prefix;
	uint16_t port_lo, port_hi; /* 0..65535 when no port was given */
	union {
		struct in_addr v4;
		struct in6_addr v6;
	};
};

/* CIDR[:PORT[-PORT]], taken apart in place: 0 or -EINVAL. A prefix in ::ffff:0:0/96 becomes the IPv4 one. */
int policy_rule_parse(struct policy_rule *rule, char *text);

/* PORT or PORT-PORT, for a rule's ports alone: 0 or -EINVAL. */
int policy_ports_parse(struct policy_rule *rule, const char *text);

/* True if the address (normalised) and its port are the rule's. */
bool policy_rule_matches(const struct policy_rule *rule, const struct address *addr);

struct path_patterns {
	char **texts;
	size_t count;
};

struct policy {
	struct policy_rule *rules;
	size_t count;
	struct path_patterns unix_paths, hosts_paths;
};

/* A network alone, for other uses: 10.0.0.0/8, 10.0.0.5, fd00::/8. 0 or -EINVAL. */
int policy_rule_network(struct policy_rule *rule, const char *text);

/* --allow CIDR[:PORT[-PORT]]: 10.0.0.0/8, 10.0.0.5:443, [fd00::]/8:80-90, fd00::/8. */
int policy_allow(struct policy *policy, const char *rule, struct error *err);

/* --allow-unix PATTERN, as fnmatch(3) takes it, absolute; no wildcard matches a '/'. */
int policy_allow_unix(struct policy *policy, const char *pattern, struct error *err);

/* --hosts-file PATTERN, in the same way. */
int policy_allow_hosts(struct policy *policy, const char *pattern, struct error *err);
void policy_clear(struct policy *policy);

/* IPv4-mapped IPv6 becomes IPv4, 0.0.0.0 becomes 127.0.0.1, :: becomes ::1. */
void address_normalise(struct address *addr);

bool address_is_loopback(const struct address *addr); /* 127.0.0.0/8, ::1 */

/*
 * True if the rules or loopback let `addr` (normalised) through. Whether the
 * netns itself holds the address is the caller's question (netns_has_address):
 * it costs system calls and comes only when this says no.
 */
bool policy_allows(const struct policy *policy, const struct address *addr);

/* True if a pattern matches the path of a Unix socket: without --allow-unix none does. */
bool policy_allows_unix(const struct policy *policy, const char *path);

/* True for the one hosts file that needs no pattern, and for those that match one. */
#define HOSTS_PATH "/etc/hosts"
bool policy_allows_hosts(const struct policy *policy, const char *path);

#endif
