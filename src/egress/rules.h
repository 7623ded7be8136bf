/* SPDX-License-Identifier: MIT */
/*
 * Where pods may connect to: rules, and what they say of a connection. Pure, but for rules_read().
 *
 * A rule is HOST[:PORT|:LO-HI][/tcp|/udp], and HOST one of
 *
 *	host.example      a name, compared in lower case, without a dot at its end, in ASCII
 *	*.example         names one or more labels below example, and not example itself
 *	10.0.0.0/8        addresses: a literal or CIDR, IPv6 in brackets where a port follows ([fd00::]/8:443)
 *	*                 to allow: every public address; to deny: every address
 *
 * Without a port it holds for all, and without /tcp or /udp to allow for TCP alone, to deny for both.
 *
 * DOC: What is decided
 *
 * A connection is decided by its destination (address, port, TCP or UDP), by the names that the address was
 * resolved from for the pod (names.h), and on ports 80 and 443 of TCP by the name in its first bytes (peek.h).
 *
 * 1. Addresses are compared in their normal form (IPv4-mapped is IPv4, 0.0.0.0 and :: are loopback).
 * 2. A rule that denies the address, or the IPv4 address that it embeds (special.h), denies.
 * 3. Special addresses (loopback, link-local, metadata, private, multicast, reserved, embedding others, the host's
 *    own) have to be named: an address rule allows one only if its prefix lies within the narrowest special range
 *    that the address is in; so 10.1.0.0/16 allows 10.1.2.3, and 0.0.0.0/0 doesn't, nor 169.254.0.0/16
 *    169.254.169.254. Names and "*" never allow them. NAT64's 64:ff9b::/96 is as special as what is embedded.
 * 4. If neither an address rule allows it nor a rule with a name could, it is denied by default.
 * 5. The first bytes are wanted (RULES_PEEK) on TCP's ports 80 and 443, unless an address rule allows the
 *    connection and no rule denies names there. Bytes that are malformed deny.
 * 6. A rule that denies a name denies if it matches the peeked one, or one that the address was resolved from; of those
 *    none counts if the peeked one is among them.
 * 7. What an address rule allows is allowed, whatever its names.
 * 8. Else by name. Where there is nothing to peek at (other ports, and UDP: QUIC's first packets are encrypted), the address
 *    has to be resolved from a name that is allowed. On 80 and 443 the peeked name has to be allowed, and the
 *    address to be resolved from it: another one is a mismatch and denied. If the pod has not resolved the address
 *    at all (it has kept it for longer than we did), RULES_RESOLVE asks for the peeked name to be resolved, once, here.
 *
 * What is connected to is the destination's address itself, so nothing is resolved twice and no name can be
 * rebound; an upstream proxy gets the name, if there is one, and resolves it itself.
 */
#ifndef VZFWD_RULES_H
#define VZFWD_RULES_H

#include "lib/endpoint.h"
#include "peek.h"

struct rule;

/* Zero-initialise. */
struct rules {
	struct rule *rules;
	size_t count;
	struct address *own; /* the host's addresses, normalised */
	size_t own_count;
};

/* One more rule, after those that are there: 0 or REASON_INVALID. */
int rules_add(struct rules *rules, bool allow, const char *text, struct error *err);

/* Those of a file, {"allow": [RULE, ...], "deny": [RULE, ...]}; errors, and `again`, as json_file_read(). */
int rules_read(struct rules *rules, const char *path, bool again, struct error *err);

/* Which addresses the host has, in place of what was said before: true if these are others. */
bool rules_set_own(struct rules *rules, const struct address *addrs, size_t count);

void rules_clear(struct rules *rules);

struct destination {
	bool udp;
	struct address address;
	/* What the address was resolved from for the pod: names_of(). */
	const char *const *names;
	size_t name_count;
	/* The first bytes; PEEK_MORE: not looked at yet. Who waited for them in vain says PEEK_NONE. */
	enum peek peek;
	const char *peeked; /* PEEK_NAME */
	bool resolved;      /* RULES_RESOLVE was answered already; */
	bool unanswered;    /* or no resolver did */
};

enum rules_answer {
	RULES_DENIED,
	RULES_ALLOWED,
	RULES_PEEK, /* look at the first bytes, and ask again; never answered twice */
	/*
	 * Resolve verdict.name here, tell names_add() what came of it, and ask again with its names and `resolved`.
	 */
	RULES_RESOLVE
};

/* For events and upstreams. All borrowed: of the rules, the destination, or constant. */
struct verdict {
	const char *rule; /* the text of the rule that decided; "default" if none did */
	const char *name; /* what the connection is for, or NULL if that can't be told */
	const char *why;  /* in words; of RULES_DENIED */
};

enum rules_answer rules_check(const struct rules *rules, const struct destination *to,
			      struct verdict *verdict);

/*
 * Whether a pod may have a name (as host_name_parse() makes it) resolved: a rule with a name or "*" allows it on some
 * port, and none denies it on all. Names that no rule has would only carry data out. The rule's text, or "default".
 */
bool rules_may_resolve(const struct rules *rules, const char *name, const char **rule);

#endif
