/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the texts that name things: endpoints, addresses, forwards, what is exposed, policy
 * rules. What was parsed must be the same again after it was printed.
 */
#include "config.h"

#include <string.h>

#include "expose/spec.h"
#include "lib/policy.h"
#include "tests/fuzz/fuzz.h"

typedef int endpoint_parser(struct endpoint *ep, const char *text, struct error *err);

static void fuzz_endpoint(endpoint_parser *parse, const char *text)
{
	_cleanup_free_ char *printed = NULL, *again = NULL;
	struct endpoint first, second;
	struct error err;

	if (parse(&first, text, &err) < 0) {
		REQUIRE(err.reason == REASON_INVALID && !first.text);
		return;
	}
	REQUIRE(endpoint_is_endpoint(text));
	printed = endpoint_format(&first);
	REQUIRE(parse(&second, printed, &err) == 0);
	REQUIRE(first.type == second.type && first.cid == second.cid && first.port == second.port &&
		first.fd == second.fd && first.pid == second.pid && !first.text == !second.text);
	REQUIRE(!first.text || !strcmp(first.text, second.text));
	again = endpoint_format(&second);
	REQUIRE(!strcmp(printed, again));
	endpoint_clear(&first);
	endpoint_clear(&second);
}

static void check_same(const struct address *a, const struct address *b)
{
	REQUIRE(a->family == b->family && a->port == b->port &&
		!memcmp(&a->v6, &b->v6, sizeof(a->v6)));
}

static void fuzz_address(const char *text)
{
	struct address first, second;
	struct sockaddr_storage ss;
	char printed[ADDRESS_TEXT_MAX];
	struct error err;

	if (address_parse(&first, text, &err) < 0) {
		REQUIRE(err.reason == REASON_INVALID);
		return;
	}
	REQUIRE(first.port > 0);
	address_format(&first, printed);
	REQUIRE(address_parse(&second, printed, &err) == 0);
	check_same(&first, &second);
	if (first.family != AF_UNSPEC) {
		address_to_sockaddr(&first, &ss);
		REQUIRE(address_from_sockaddr(&second, (struct sockaddr *)&ss) == 0);
		check_same(&first, &second);
	}
	address_normalise(&first);
	second = first;
	address_normalise(&second);
	check_same(&first, &second);
	REQUIRE(!address_is_loopback(&first) || policy_allows(NULL, &first));
}

static void fuzz_forward(const char *text)
{
	struct forward_spec spec;
	struct error err;

	if (forward_spec_parse(&spec, text, &err) < 0) {
		REQUIRE(err.reason == REASON_INVALID && !spec.local_path && !spec.remote_path);
		return;
	}
	REQUIRE((spec.bind_type == BIND_UNIX) == !!spec.local_path);
	REQUIRE((spec.network == NETWORK_UNIX) == !!spec.remote_path);
	REQUIRE(spec.remote_path || spec.remote.port > 0);
	REQUIRE((spec.bind_type == BIND_ADDRESS) == (spec.bind.family != AF_UNSPEC));
	forward_spec_clear(&spec);
}

static void fuzz_listener(const char *text)
{
	struct forward_spec spec = { 0 };
	struct error err;

	if (listener_parse(&spec, text, &err) < 0) {
		REQUIRE(err.reason == REASON_INVALID);
	} else {
		REQUIRE((spec.bind_type == BIND_UNIX) == !!spec.local_path);
		REQUIRE(!spec.local_path || *spec.local_path == '/');
		REQUIRE((spec.bind_type == BIND_ADDRESS) == (spec.bind.family != AF_UNSPEC));
	}
	forward_spec_clear(&spec);
}

static void fuzz_expose(const char *text)
{
	_cleanup_free_ char *target = NULL;
	struct expose_spec spec;
	struct error err;

	if (expose_spec_parse(&spec, text, &err) < 0) {
		REQUIRE(err.reason == REASON_INVALID);
		REQUIRE(!spec.name && !spec.at_path && !spec.path && !spec.pod);
		return;
	}
	REQUIRE((spec.network == NETWORK_UNIX) == !!spec.at_path);
	REQUIRE(spec.at_path || spec.at.port > 0);
	REQUIRE((spec.target == EXPOSE_UNIX) == !!spec.path &&
		(spec.target == EXPOSE_POD) == !!spec.pod);
	REQUIRE(spec.path || spec.host.port > 0);
	REQUIRE(!spec.name || host_name_is_valid(spec.name));
	target = expose_spec_target(&spec);
	REQUIRE(*target);
	expose_spec_clear(&spec);
}

/* A rule lets its own address through, in its normal form, and no other family. */
static void fuzz_rule(const char *text)
{
	struct policy policy = { 0 };
	const struct policy_rule *rule;
	struct address addr = { 0 };
	struct error err;

	if (policy_allow(&policy, text, &err) < 0) {
		REQUIRE(err.reason == REASON_INVALID && policy.count == 0);
		return;
	}
	rule = &policy.rules[0];
	REQUIRE(rule->family == AF_INET ? rule->prefix <= 32
					: rule->family == AF_INET6 && rule->prefix <= 128);
	REQUIRE(rule->port_lo <= rule->port_hi);
	addr.family = rule->family;
	addr.port = rule->port_hi;
	addr.v6 = rule->v6;
	REQUIRE(policy_allows(&policy, &addr));
	policy_clear(&policy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	enum bind_type type;
	struct address bind;
	struct error err;

	fuzz_endpoint(endpoint_parse, text);
	fuzz_endpoint(endpoint_parse_listen, text);
	fuzz_address(text);
	fuzz_forward(text);
	fuzz_listener(text);
	fuzz_expose(text);
	fuzz_rule(text);
	bind_parse(&type, &bind, text, &err);
	return 0;
}
