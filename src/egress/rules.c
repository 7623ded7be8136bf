/* SPDX-License-Identifier: MIT */
/* Rules: parsing them, and the decision. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "lib/policy.h"
#include "rules.h"
#include "special.h"

enum rule_kind { RULE_ADDRESS, RULE_NAME, RULE_SUFFIX, RULE_ANY };

struct rule {
	enum rule_kind kind;
	bool allow, tcp, udp;
	struct policy_rule at; /* RULE_ADDRESS: all of it; else the ports alone */
	char *name;            /* RULE_NAME; RULE_SUFFIX: with the dot before it */
	char *text;
};

/* A destination in its normal form, and what is asked again and again about it. */
struct query {
	const struct destination *to;
	struct address addr;
	struct address embedded; /* AF_UNSPEC: none */
	unsigned special;        /* special_prefix() */
};

/* Cuts /tcp or /udp off. */
static void parse_network(struct rule *rule, char *text)
{
	char *slash = strrchr(text, '/');

	rule->tcp = true;
	rule->udp = !rule->allow;
	if (slash == NULL || (strcmp(slash, "/tcp") != 0 && strcmp(slash, "/udp") != 0))
		return;
	rule->udp = slash[1] == 'u';
	rule->tcp = !rule->udp;
	*slash = '\0';
}

static bool is_address(const char *text)
{
	_cleanup_free_ char *host = xstrndup(text, strcspn(text, ":"));
	struct address addr;

	if (strpbrk(text, "[/") != NULL || strchr(text, ':') != strrchr(text, ':'))
		return true;
	return *host != '\0' && address_parse_host(&addr, host, NULL) == 0 &&
	       addr.family != AF_UNSPEC;
}

static int parse_address(struct rule *rule, char *text)
{
	struct address addr = { 0 };

	if (policy_rule_parse(&rule->at, text) < 0)
		return -EINVAL;
	rule->kind = RULE_ADDRESS;
	/* One address means what a destination would. */
	if (rule->at.prefix == (rule->at.family == AF_INET ? 32 : 128)) {
		addr.family = rule->at.family;
		addr.v6 = rule->at.v6;
		address_normalise(&addr);
		rule->at.v6 = addr.v6;
	}
	return 0;
}

static int parse_host(struct rule *rule, char *text)
{
	char *colon = strchr(text, ':');
	char name[DOMAIN_NAME_MAX + 1];

	rule->at.port_hi = UINT16_MAX;
	if (colon != NULL) {
		*colon = '\0';
		if (policy_ports_parse(&rule->at, colon + 1) < 0)
			return -EINVAL;
	}
	if (strcmp(text, "*") == 0) {
		rule->kind = RULE_ANY;
		return 0;
	}
	rule->kind = strncmp(text, "*.", 2) == 0 ? RULE_SUFFIX : RULE_NAME;
	if (rule->kind == RULE_SUFFIX)
		text += 2;
	if (host_name_parse(name, text, strlen(text)) < 0)
		return -EINVAL;
	rule->name = xasprintf("%s%s", rule->kind == RULE_SUFFIX ? "." : "", name);
	return 0;
}

int rules_add(struct rules *rules, bool allow, const char *text, struct error *err)
{
	_cleanup_free_ char *copy = xstrdup(text);
	struct rule rule = { .allow = allow };

	parse_network(&rule, copy);
	if ((is_address(copy) ? parse_address(&rule, copy) : parse_host(&rule, copy)) < 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "a rule must be a name, *.SUFFIX, *, an address or a CIDR, with "
				 ":PORT or :LO-HI and /udp if wanted, got %s",
				 *text != '\0' ? text : "\"\"");
	if (rule.kind == RULE_NAME && strcmp(rule.name, "localhost") == 0) {
		free(rule.name);
		return error_set(err, REASON_INVALID, EINVAL,
				 "localhost has to be named by its address: 127.0.0.1, [::1]");
	}
	rule.text = xstrdup(text);
	rules->rules = xrealloc(rules->rules, (rules->count + 1) * sizeof(*rules->rules));
	rules->rules[rules->count++] = rule;
	return 0;
}

bool rules_set_own(struct rules *rules, const struct address *addrs, size_t count)
{
	struct address *own = xcalloc(count + 1, sizeof(*addrs));
	bool others = count != rules->own_count;

	for (size_t i = 0; i < count; i++) {
		own[i] = addrs[i];
		address_normalise(&own[i]);
		others = others || !address_same_host(&own[i], &rules->own[i]);
	}
	free(rules->own);
	rules->own = own;
	rules->own_count = count;
	return others;
}

void rules_clear(struct rules *rules)
{
	for (size_t i = 0; i < rules->count; i++) {
		free(rules->rules[i].name);
		free(rules->rules[i].text);
	}
	free(rules->rules);
	free(rules->own);
	*rules = (struct rules){ 0 };
}

/* For a rule's ports and network. */
static bool is_for(const struct rule *rule, const struct query *q)
{
	return (q->to->udp ? rule->udp : rule->tcp) && q->addr.port >= rule->at.port_lo &&
	       q->addr.port <= rule->at.port_hi;
}

static bool has_name(const struct rule *rule)
{
	return rule->kind == RULE_NAME || rule->kind == RULE_SUFFIX;
}

static bool name_matches(const struct rule *rule, const char *name)
{
	size_t length = strlen(name), suffix;

	if (rule->kind == RULE_NAME)
		return strcmp(rule->name, name) == 0;
	if (rule->kind != RULE_SUFFIX)
		return false;
	suffix = strlen(rule->name);
	return length > suffix && strcmp(name + length - suffix, rule->name) == 0;
}

static bool denies_address(const struct rule *rule, const struct query *q)
{
	return rule->kind == RULE_ANY ||
	       (rule->kind == RULE_ADDRESS && (policy_rule_matches(&rule->at, &q->addr) ||
					       (q->embedded.family != AF_UNSPEC &&
						policy_rule_matches(&rule->at, &q->embedded))));
}

static bool allows_address(const struct rule *rule, const struct query *q)
{
	if (rule->kind == RULE_ANY)
		return q->special == 0;
	return rule->kind == RULE_ADDRESS && rule->at.prefix >= q->special &&
	       policy_rule_matches(&rule->at, &q->addr);
}

/* The first rule of its kind for the destination, by what `test` says. NULL: none. */
static const struct rule *find_rule(const struct rules *rules, bool allow, const struct query *q,
				    bool (*test)(const struct rule *, const struct query *))
{
	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *rule = &rules->rules[i];

		if (rule->allow == allow && is_for(rule, q) && test(rule, q))
			return rule;
	}
	return NULL;
}

static bool is_named(const struct rule *rule, const struct query *q)
{
	(void)q;
	return has_name(rule);
}

static bool matches_peeked(const struct rule *rule, const struct query *q)
{
	return q->to->peek == PEEK_NAME && name_matches(rule, q->to->peeked);
}

/* The first of the names that the address was resolved from that is the rule's. */
static const char *resolved_match(const struct rule *rule, const struct query *q)
{
	for (size_t i = 0; i < q->to->name_count; i++) {
		if (name_matches(rule, q->to->names[i]))
			return q->to->names[i];
	}
	return NULL;
}

static bool matches_resolved(const struct rule *rule, const struct query *q)
{
	return resolved_match(rule, q) != NULL;
}

/* The address was resolved from the name that was peeked. */
static bool peeked_is_resolved(const struct query *q)
{
	for (size_t i = 0; i < q->to->name_count; i++) {
		if (strcmp(q->to->names[i], q->to->peeked) == 0)
			return true;
	}
	return false;
}

static enum rules_answer answer(struct verdict *verdict, enum rules_answer answer,
				const struct rule *rule, const char *why)
{
	if (rule != NULL)
		verdict->rule = rule->text;
	verdict->why = why;
	return answer;
}

/* Step 6: the rule that denies by name. */
static const struct rule *denied_name(const struct rules *rules, const struct query *q,
				      struct verdict *verdict)
{
	const struct rule *rule = find_rule(rules, false, q, matches_peeked);

	if (rule != NULL || (q->to->peek == PEEK_NAME && peeked_is_resolved(q)))
		return rule;
	rule = find_rule(rules, false, q, matches_resolved);
	if (rule != NULL)
		verdict->name = resolved_match(rule, q);
	return rule;
}

/* Step 8. */
static enum rules_answer check_names(const struct rules *rules, const struct query *q,
				     bool peekable, struct verdict *verdict)
{
	const struct rule *rule;

	if (!peekable) {
		rule = find_rule(rules, true, q, matches_resolved);
		if (rule == NULL)
			return answer(verdict, RULES_DENIED, NULL, "no rule allows it");
		verdict->name = resolved_match(rule, q);
		return answer(verdict, RULES_ALLOWED, rule, NULL);
	}
	if (q->to->peek != PEEK_NAME)
		return answer(verdict, RULES_DENIED, NULL, "its first bytes have no name");
	rule = find_rule(rules, true, q, matches_peeked);
	if (rule == NULL)
		return answer(verdict, RULES_DENIED, NULL, "no rule allows the name");
	if (peeked_is_resolved(q))
		return answer(verdict, RULES_ALLOWED, rule, NULL);
	if (q->to->name_count == 0 && !q->to->resolved)
		return answer(verdict, RULES_RESOLVE, rule, NULL);
	return answer(verdict, RULES_DENIED, NULL,
		      q->to->unanswered ? "the name can't be resolved just now"
					: "the name is not resolved to this address");
}

static struct query make_query(const struct rules *rules, const struct destination *to)
{
	struct query q = { .to = to, .addr = to->address };

	address_normalise(&q.addr);
	q.special = special_prefix(&q.addr, rules->own, rules->own_count);
	if (special_embedded(&q.addr, &q.embedded) < 0)
		q.embedded.family = AF_UNSPEC;
	return q;
}

enum rules_answer rules_check(const struct rules *rules, const struct destination *to,
			      struct verdict *verdict)
{
	struct query q = make_query(rules, to);
	bool peekable = !to->udp && (q.addr.port == 80 || q.addr.port == 443);
	const struct rule *allowed, *rule;

	*verdict = (struct verdict){ .rule = "default" };
	if (to->peek == PEEK_NAME)
		verdict->name = to->peeked;
	else if (to->name_count == 1)
		verdict->name = to->names[0];
	rule = find_rule(rules, false, &q, denies_address);
	if (rule != NULL)
		return answer(verdict, RULES_DENIED, rule, "a rule denies the address");
	allowed = find_rule(rules, true, &q, allows_address);
	if (allowed == NULL && q.special > 0)
		return answer(verdict, RULES_DENIED, NULL, "no rule names this special address");
	if (allowed == NULL && find_rule(rules, true, &q, is_named) == NULL)
		return answer(verdict, RULES_DENIED, NULL, "no rule allows it");
	if (peekable && (allowed == NULL || find_rule(rules, false, &q, is_named) != NULL)) {
		if (to->peek == PEEK_MORE)
			return RULES_PEEK;
		if (to->peek == PEEK_BAD)
			return answer(verdict, RULES_DENIED, NULL, "its first bytes are malformed");
	}
	rule = denied_name(rules, &q, verdict);
	if (rule != NULL)
		return answer(verdict, RULES_DENIED, rule, "a rule denies the name");
	if (allowed != NULL)
		return answer(verdict, RULES_ALLOWED, allowed, NULL);
	return check_names(rules, &q, peekable, verdict);
}

static bool is_of_all_ports(const struct rule *rule)
{
	return rule->at.port_lo <= 1 && rule->at.port_hi == UINT16_MAX && rule->tcp && rule->udp;
}

bool rules_may_resolve(const struct rules *rules, const char *name, const char **text)
{
	const struct rule *allowed = NULL;

	*text = "default";
	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *rule = &rules->rules[i];

		if (rule->kind != RULE_ANY && !name_matches(rule, name))
			continue;
		if (!rule->allow && is_of_all_ports(rule)) {
			*text = rule->text;
			return false;
		}
		if (rule->allow && allowed == NULL)
			allowed = rule;
	}
	if (allowed != NULL)
		*text = allowed->text;
	return allowed != NULL;
}
