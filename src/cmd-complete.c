/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd __complete WORD...`: what the last word could become, for the shells' completions.
 * The words are those after "vzfwd", up to the cursor. Prints a candidate a line, with a tab and
 * a description behind it where there is one; and lines that are for the shell's script:
 * ":files", ":dirs" and ":programs" (complete these yourself), ":nospace" (the word goes on). The script
 * drops what does not begin like the word. Every failure is silent.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "call.h"
#include "command.h"
#include "lib/link.h"

#define LIMIT_MS 1000 /* to ask a pod what listens in it */

struct given_option {
	const struct option_def *def;
	const char *value;
};

struct completion {
	const char *word;   /* the word to complete */
	const char *prefix; /* what stands before each candidate: "--log-level=" */
	char *probe;        /* stands in the word's place while the others are parsed */
	const struct command *cmd;
	const struct option_def *pending; /* the option whose value the word is */
	struct given_option *given;       /* those with a value: at most one an argument */
	size_t given_count;
	const char **operands; /* the last one is the probe */
	int operand_count;
};

/* Prints one candidate; nothing if it could not be typed or would steer the terminal. */
static void emit(const struct completion *c, const char *candidate, const char *description)
{
	_cleanup_free_ char *visible = escape_bytes(candidate, strlen(candidate));
	_cleanup_free_ char *text = NULL;

	if (strcmp(visible, candidate) != 0)
		return;
	if (!description || !*description) {
		printf("%s%s\n", c->prefix, candidate);
		return;
	}
	text = escape_bytes(description, strlen(description));
	printf("%s%s\t%s\n", c->prefix, candidate, text);
}

static const struct option_def *find_option(const struct option_def *table, int id,
					    const char *name, size_t length)
{
	for (; table && table->name; table++) {
		if (name ? strlen(table->name) == length && !memcmp(table->name, name, length)
			 : table->id == id)
			return table;
	}
	return NULL;
}

static int record_option(int id, const char *value, void *arg, struct error *err)
{
	struct completion *c = arg;
	const struct option_def *def = NULL;

	(void)err;
	if (c->cmd)
		def = find_option(c->cmd->options, id, NULL, 0);
	if (!def)
		def = find_option(global_options, id, NULL, 0);
	if (value == c->probe)
		c->pending = def;
	else if (value)
		c->given[c->given_count++] = (struct given_option){ def, value };
	return 0;
}

/* The last value that was given for an option of this name or, without one, of this kind. */
static const char *given_value(const struct completion *c, const char *name, enum value_kind kind)
{
	for (size_t i = c->given_count; i-- > 0;) {
		const struct option_def *def = c->given[i].def;

		if (name ? !strcmp(def->name, name) : def->value == kind)
			return c->given[i].value;
	}
	return NULL;
}

static enum value_kind operand_kind(const struct command *cmd, int index)
{
	int last = 0;

	while (last + 1 < (int)ARRAY_SIZE(cmd->operands) && cmd->operands[last + 1] != VALUE_NONE)
		last++;
	return cmd->operands[index < last ? index : last];
}

/* The last operand of a kind before the word, or NULL. */
static const char *given_operand(const struct completion *c, enum value_kind kind)
{
	for (int i = c->operand_count - 1; i-- > 0;) {
		if (operand_kind(c->cmd, i) == kind)
			return c->operands[i];
	}
	return NULL;
}

static void complete_commands(const struct completion *c, const struct command *const *table)
{
	for (; table && *table; table++) {
		if ((*table)->summary)
			emit(c, command_word(*table), (*table)->summary);
	}
}

/* The operand of `help`: a command, or one of the group that stands before. */
static void complete_help(const struct completion *c)
{
	const struct command *const *table = commands;

	for (int i = 0; table && i < c->operand_count - 1; i++) {
		const struct command *cmd = command_find(table, c->operands[i]);

		table = cmd ? cmd->subcommands : NULL;
	}
	complete_commands(c, table);
}

static void complete_words(const struct completion *c, const char *words)
{
	while (*words) {
		size_t length = strcspn(words, " ");
		_cleanup_free_ char *word = xstrndup(words, length);

		emit(c, word, NULL);
		words += length;
		words += strspn(words, " ");
	}
}

static void complete_pods(const struct completion *c)
{
	_cleanup_free_ char *dir = pods_dir(given_value(c, "pods-dir", VALUE_NONE), NULL);
	struct pod *pods;
	size_t count;

	if (!dir || pods_list(dir, &pods, &count, NULL, NULL, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *endpoint = endpoint_format(&pods[i].endpoint);

		emit(c, pods[i].name, endpoint);
	}
	pods_list_free(pods, count);
}

/* A question to a pod's dialer, with an end. */
struct question {
	struct loop loop;
	struct loop_task limit;
	json_t *params;
	json_t *result; /* NULL: none came */
};

static void on_answer(struct link *link, json_t *result, const struct error *err, void *arg)
{
	struct question *q = arg;

	(void)link;
	q->result = err ? NULL : json_incref(result);
	loop_stop(&q->loop);
}

static void on_opened(struct link *link, const struct error *err, void *arg)
{
	struct question *q = arg;

	if (err) {
		loop_stop(&q->loop);
		return;
	}
	link_call(link, "pod.ports", json_incref(q->params), LIMIT_MS, on_answer, q);
}

static void on_limit(void *arg)
{
	loop_stop(arg);
}

/* What pod.ports answers (new reference), or NULL. */
static json_t *ask_ports(struct pod *pod, const char *container)
{
	struct question q = { 0 };
	struct link *link;

	if (loop_init(&q.loop) < 0)
		return NULL;
	q.params = call_pod_params(pod->handle, container);
	loop_later(&q.loop, &q.limit, LIMIT_MS, on_limit, &q.loop);
	link = link_open(&q.loop, &(struct link_options){ .pod = pod, .name = { "complete", 0 } },
			 on_opened, &q);
	loop_run(&q.loop);
	link_free(link);
	loop_cancel(&q.limit);
	loop_run(&q.loop); /* the command of an exec: endpoint is ended by it */
	loop_clear(&q.loop);
	json_decref(q.params);
	return q.result;
}

/* A key must not run a command that was only typed; what is registered is trusted. */
static bool may_ask(const struct pod *pod)
{
	return pod->endpoint.type != ENDPOINT_FD &&
	       (pod->endpoint.type != ENDPOINT_EXEC || pod->name);
}

struct port_candidate {
	char *text, *description;
};

static int compare_candidates(const void *a, const void *b)
{
	const struct port_candidate *x = a, *y = b;

	return strcmp(x->text, y->text);
}

/* True if a port alone, which means 127.0.0.1 and ::1, reaches what listens there. */
static bool needs_no_host(const char *address)
{
	return !strcmp(address, "127.0.0.1") || !strcmp(address, "::1") ||
	       !strcmp(address, "0.0.0.0") || !strcmp(address, "::");
}

/*
 * How a port is written behind `head`, which is what was typed up to the last ':'. The caller
 * owns it. NULL if it can't be dialed. What a FORWARD leads to says of itself that it is udp, for an address the
 * NETWORK did.
 */
static char *port_text(const struct call_port *port, enum value_kind kind, const char *head,
		       bool wants_udp)
{
	bool brackets = strchr(port->address, ':'), is_udp = strncmp(port->network, "udp", 3) == 0;
	const char *suffix = is_udp && kind == VALUE_FORWARD ? "/udp" : "";
	_cleanup_free_ char *local = NULL;

	if (kind != VALUE_FORWARD && is_udp != wants_udp)
		return NULL;
	if (needs_no_host(port->address) || (*head && kind != VALUE_FORWARD))
		return xasprintf("%s%u%s", head, port->port, suffix);
	if (kind == VALUE_FORWARD)
		local = *head ? xstrdup(head) : xasprintf("%u:", port->port);
	return xasprintf("%s%s%s%s:%u%s", local ? local : "", brackets ? "[" : "", port->address,
			 brackets ? "]" : "", port->port, suffix);
}

static void emit_ports(const struct completion *c, json_t *ports, enum value_kind kind,
		       bool wants_udp)
{
	const char *colon = strrchr(c->word, ':');
	_cleanup_free_ char *head = xstrndup(c->word, colon ? (size_t)(colon + 1 - c->word) : 0);
	struct port_candidate *list = xcalloc(json_array_size(ports) + 1, sizeof(*list));
	struct call_port port;
	size_t i, count = 0;
	json_t *item;

	json_array_foreach (ports, i, item) {
		call_port_get(item, &port);
		list[count].text = port_text(&port, kind, head, wants_udp);
		if (list[count].text)
			list[count++].description = xstrdup(port.process ? port.process : "");
	}
	qsort(list, count, sizeof(*list), compare_candidates);
	for (i = 0; i < count; i++) {
		if (i == 0 || strcmp(list[i].text, list[i - 1].text) != 0)
			emit(c, list[i].text, list[i].description);
	}
	for (i = 0; i < count; i++) {
		free(list[i].text);
		free(list[i].description);
	}
	free(list);
}

static void complete_ports(const struct completion *c, enum value_kind kind)
{
	const char *dir = given_value(c, "pods-dir", VALUE_NONE);
	const char *pod_arg = given_value(c, NULL, VALUE_POD);
	const char *network = given_operand(c, VALUE_NETWORK);
	struct cli cli = { .pods_dir = dir };
	_cleanup_json_ json_t *result = NULL;
	json_t *ports = NULL;
	struct pod pod;

	if (network && !strcmp(network, network_name(NETWORK_UNIX)))
		return; /* the pod does not tell its paths */
	if (!pod_arg)
		pod_arg = given_operand(c, VALUE_POD);
	if (command_pod(&cli, pod_arg, given_value(c, "handle", VALUE_NONE), &pod, NULL) < 0)
		return;
	if (may_ask(&pod))
		result = ask_ports(&pod, given_value(c, "container", VALUE_NONE));
	if (result)
		ports = call_ports(result, NULL);
	if (ports)
		emit_ports(c, ports, kind, network && !strncmp(network, "udp", 3));
	pod_clear(&pod);
}

/* `words` is for VALUE_WORDS. */
static void complete_value(const struct completion *c, enum value_kind kind, const char *words)
{
	switch (kind) {
	case VALUE_NONE:
	case VALUE_TEXT:
	case VALUE_NUMBER:
		break;
	case VALUE_FILE:
		puts(":files");
		break;
	case VALUE_DIR:
		puts(":dirs");
		break;
	case VALUE_PROGRAM:
		puts(":programs");
		break;
	case VALUE_POD:
		complete_pods(c);
		break;
	case VALUE_NETWORK: /* those that are dialed; it may be left out */
		for (size_t i = 0; i < RPC_NETWORKS; i++)
			emit(c, network_name(rpc_networks[i]), NULL);
		complete_ports(c, VALUE_ADDRESS);
		break;
	case VALUE_ADDRESS:
	case VALUE_FORWARD:
		complete_ports(c, kind);
		break;
	case VALUE_ENDPOINT:
		puts(":nospace");
		complete_words(c, "vsock:// hvsock:/// unix:/// exec: netns:/ pid:");
		break;
	case VALUE_WORDS:
		complete_words(c, words);
		break;
	case VALUE_COMMAND:
		complete_help(c);
		break;
	}
}

static void complete_table(const struct completion *c, const struct option_def *table)
{
	for (; table && table->name; table++) {
		_cleanup_free_ char *text = xasprintf("--%s", table->name);

		emit(c, text, table->help);
	}
}

/* The word begins with a dash: an option's name, or --NAME=VALUE. */
static void complete_option(struct completion *c)
{
	const struct option_def *own = c->cmd ? c->cmd->options : NULL;
	const char *equals = strchr(c->word, '=');
	const struct option_def *def;
	_cleanup_free_ char *prefix = NULL;
	size_t length;

	if (!equals) {
		complete_table(c, own);
		complete_table(c, global_options);
		return;
	}
	if (strncmp(c->word, "--", 2) != 0)
		return;
	length = (size_t)(equals - c->word) - 2;
	def = find_option(own, 0, c->word + 2, length);
	if (!def)
		def = find_option(global_options, 0, c->word + 2, length);
	if (!def)
		return;
	prefix = xstrndup(c->word, length + 3);
	c->prefix = prefix;
	c->word = equals + 1;
	complete_value(c, def->value, def->words);
	c->prefix = "";
}

/* argv: the command's word and what follows it. */
static void complete_arguments(struct completion *c, int argc, char **argv)
{
	enum value_kind kind;
	int behind = -1; /* how many words there are behind "--", the probe among them */

	c->operand_count = opts_parse(argc, argv, c->cmd->options, global_options, record_option, c,
				      c->operands, NULL);
	if (c->operand_count < 0)
		return;
	if (c->pending) {
		complete_value(c, c->pending->value, c->pending->words);
		return;
	}
	for (int i = 1; i < argc; i++) {
		if (behind >= 0 || strcmp(argv[i], "--") == 0)
			behind++;
	}
	kind = operand_kind(c->cmd, c->operand_count - 1);
	if (behind > 0 && c->cmd->behind_dashes[0] != VALUE_NONE)
		kind = c->cmd->behind_dashes[behind > 1];
	if (behind < 0 && c->word[0] == '-')
		complete_option(c);
	else
		complete_value(c, kind, NULL);
}

/* argv[argc - 1] is the probe. */
static void complete(struct completion *c, int argc, char **argv)
{
	const struct command *const *table = commands;

	while (table) {
		int next = opts_parse_leading(argc, argv, global_options, record_option, c, NULL);

		if (next < 0)
			return;
		if (c->pending) {
			complete_value(c, c->pending->value, c->pending->words);
			return;
		}
		if (next >= argc - 1) {
			if (c->word[0] == '-')
				complete_option(c);
			else
				complete_commands(c, table);
			return;
		}
		argc -= next;
		argv += next;
		c->cmd = command_find(table, argv[0]);
		if (!c->cmd)
			return;
		table = c->cmd->subcommands;
	}
	complete_arguments(c, argc, argv);
}

static int run_complete(struct cli *cli, int argc, char **argv)
{
	char probe[] = "";
	struct completion c = {
		.prefix = "",
		.probe = probe,
		.given = xcalloc((size_t)argc, sizeof(*c.given)),
		.operands = xcalloc((size_t)argc, sizeof(*c.operands)),
	};
	struct error err;

	(void)cli;
	if (argc > 1) {
		c.word = argv[argc - 1];
		argv[argc - 1] = probe;
		complete(&c, argc, argv);
	}
	free(c.given);
	free(c.operands);
	return stdout_flush(&err) < 0 ? command_fail(cmd_complete.name, &err) : 0;
}

const struct command cmd_complete = {
	.name = "__complete",
	.synopsis = "WORD...",
	.run = run_complete,
};
