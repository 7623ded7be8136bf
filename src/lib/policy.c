/* SPDX-License-Identifier: MIT */
/*
 * Decides by rules which targets a dialer may connect to.
 */
#include "config.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "policy.h"

#define MAPPED_PREFIX 96 /* of ::ffff:0:0/96, the IPv4-mapped addresses */

static unsigned address_bits(const struct address *addr)
{
	return addr->family == AF_INET ? 32 : 128;
}

int policy_ports_parse(struct policy_rule *rule, const char *text)
{
	const char *dash = strchr(text, '-');
	_cleanup_free_ char *first = dash ? xstrndup(text, (size_t)(dash - text)) : xstrdup(text);
	uint64_t lo, hi;

	if (parse_uint(first, UINT16_MAX, &lo) < 0 || lo == 0)
		return -EINVAL;
	hi = lo;
	if (dash && (parse_uint(dash + 1, UINT16_MAX, &hi) < 0 || hi < lo))
		return -EINVAL;
	rule->port_lo = (uint16_t)lo;
	rule->port_hi = (uint16_t)hi;
	return 0;
}

/*
 * Takes the text apart, in place: the host, then, where they are there, the prefix length and
 * the ports. Without a '/' or brackets, a host that has a ':' of its own has no port.
 */
static void split_rule(char *text, char **prefix, char **ports)
{
	char *slash = strchr(text, '/');
	char *close = strchr(text, ']');
	char *colon;

	*prefix = slash ? slash + 1 : NULL;
	if (slash)
		colon = strchr(slash, ':');
	else if (close)
		colon = strchr(close, ':');
	else
		colon = strchr(text, ':') == strrchr(text, ':') ? strchr(text, ':') : NULL;
	*ports = colon ? colon + 1 : NULL;
	if (slash)
		*slash = '\0';
	if (colon)
		*colon = '\0';
}

/* Clears the bits behind the prefix, so that 10.1.2.3/8 is 10.0.0.0/8. */
static void mask_address(struct address *addr, unsigned prefix)
{
	uint8_t *bytes = addr->family == AF_INET ? (uint8_t *)&addr->v4 : addr->v6.s6_addr;

	for (unsigned i = prefix; i < address_bits(addr); i++)
		bytes[i / 8] &= (uint8_t) ~(0x80u >> (i % 8));
}

/* An IPv4-mapped IPv6 address becomes the IPv4 one. */
static bool unmap_address(struct address *addr)
{
	struct in_addr v4;

	if (addr->family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&addr->v6))
		return false;
	memcpy(&v4, addr->v6.s6_addr + 12, sizeof(v4));
	addr->family = AF_INET;
	memset(&addr->v6, 0, sizeof(addr->v6));
	addr->v4 = v4;
	return true;
}

int policy_rule_parse(struct policy_rule *rule, char *text)
{
	struct address addr = { 0 };
	char *prefix_text, *ports;
	uint64_t prefix;

	split_rule(text, &prefix_text, &ports);
	if (address_parse_host(&addr, text, NULL) < 0 || addr.family == AF_UNSPEC)
		return -EINVAL;
	prefix = address_bits(&addr);
	if (prefix_text && parse_uint(prefix_text, prefix, &prefix) < 0)
		return -EINVAL;
	/* Targets are compared in their normal form, so rules must have it too. */
	if (prefix >= MAPPED_PREFIX && unmap_address(&addr))
		prefix -= MAPPED_PREFIX;
	mask_address(&addr, (unsigned)prefix);
	rule->family = addr.family;
	rule->prefix = (uint8_t)prefix;
	rule->v6 = addr.v6;
	rule->port_lo = 0;
	rule->port_hi = UINT16_MAX;
	return ports ? policy_ports_parse(rule, ports) : 0;
}

int policy_rule_network(struct policy_rule *rule, const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);
	int rc = policy_rule_parse(rule, copy);

	return rc == 0 && rule->port_lo != 0 ? -EINVAL : rc;
}

int policy_allow(struct policy *policy, const char *rule, struct error *err)
{
	_cleanup_free_ char *text = xstrdup(rule);
	struct policy_rule parsed;

	if (policy_rule_parse(&parsed, text) < 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "--allow: must be CIDR[:PORT[-PORT]] (10.0.0.0/8, 10.0.0.5:443, "
				 "[fd00::]/8:80-90), got %s",
				 rule);
	policy->rules = xrealloc(policy->rules, (policy->count + 1) * sizeof(*policy->rules));
	policy->rules[policy->count++] = parsed;
	return 0;
}

static int add_pattern(struct path_patterns *patterns, const char *pattern, const char *option,
		       const char *example, struct error *err)
{
	if (*pattern != '/')
		return error_set(err, REASON_INVALID, EINVAL,
				 "%s: must be an absolute path or a pattern of such (%s), got %s",
				 option, example, *pattern ? pattern : "\"\"");
	patterns->texts = xrealloc(patterns->texts, (patterns->count + 1) * sizeof(char *));
	patterns->texts[patterns->count++] = xstrdup(pattern);
	return 0;
}

int policy_allow_unix(struct policy *policy, const char *pattern, struct error *err)
{
	return add_pattern(&policy->unix_paths, pattern, "--allow-unix", "/run/app/*.sock", err);
}

int policy_allow_hosts(struct policy *policy, const char *pattern, struct error *err)
{
	return add_pattern(&policy->hosts_paths, pattern, "--hosts-file", "/etc/app/hosts", err);
}

static void clear_patterns(struct path_patterns *patterns)
{
	for (size_t i = 0; i < patterns->count; i++)
		free(patterns->texts[i]);
	free(patterns->texts);
}

void policy_clear(struct policy *policy)
{
	clear_patterns(&policy->unix_paths);
	clear_patterns(&policy->hosts_paths);
	free(policy->rules);
	*policy = (struct policy){ 0 };
}

void address_normalise(struct address *addr)
{
	unmap_address(addr);
	if (addr->family == AF_INET && addr->v4.s_addr == htonl(INADDR_ANY))
		addr->v4.s_addr = htonl(INADDR_LOOPBACK);
	else if (addr->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&addr->v6))
		addr->v6 = in6addr_loopback;
}

bool address_is_loopback(const struct address *addr)
{
	if (addr->family == AF_INET)
		return ntohl(addr->v4.s_addr) >> 24 == IN_LOOPBACKNET;
	return addr->family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&addr->v6);
}

bool policy_rule_matches(const struct policy_rule *rule, const struct address *addr)
{
	struct address masked = *addr;

	if (rule->family != addr->family || addr->port < rule->port_lo ||
	    addr->port > rule->port_hi)
		return false;
	mask_address(&masked, rule->prefix);
	return addr->family == AF_INET ? masked.v4.s_addr == rule->v4.s_addr
				       : IN6_ARE_ADDR_EQUAL(&masked.v6, &rule->v6);
}

bool policy_allows(const struct policy *policy, const struct address *addr)
{
	if (address_is_loopback(addr))
		return true;
	for (size_t i = 0; policy && i < policy->count; i++) {
		if (policy_rule_matches(&policy->rules[i], addr))
			return true;
	}
	return false;
}

static bool pattern_matches(const struct path_patterns *patterns, const char *path)
{
	for (size_t i = 0; i < patterns->count; i++) {
		if (fnmatch(patterns->texts[i], path, FNM_PATHNAME) == 0)
			return true;
	}
	return false;
}

bool policy_allows_unix(const struct policy *policy, const char *path)
{
	return policy && pattern_matches(&policy->unix_paths, path);
}

bool policy_allows_hosts(const struct policy *policy, const char *path)
{
	return strcmp(path, HOSTS_PATH) == 0 ||
	       (policy && pattern_matches(&policy->hosts_paths, path));
}
