/* SPDX-License-Identifier: MIT */
/*
 * Reads command lines by tables of options, and prints the tables for --help.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "opts.h"

/* Where the help of an option begins; longer options have it on a line of its own. */
#define HELP_COLUMN 30

struct parser {
	int argc;
	char **argv;
	int next; /* index of the argument to look at next */
	const struct option_def *tables[2];
	option_handler handler;
	void *arg;
	struct error *err;
};

/* By long name (of `length` bytes) or, where `name` is NULL, by short name. */
static const struct option_def *find_option(const struct parser *p, const char *name, size_t length,
					    char short_name)
{
	for (size_t i = 0; i < ARRAY_SIZE(p->tables); i++) {
		for (const struct option_def *o = p->tables[i]; o && o->name; o++) {
			if (name ? strlen(o->name) == length && !memcmp(o->name, name, length)
				 : o->short_name && o->short_name == short_name)
				return o;
		}
	}
	return NULL;
}

/* Hands the option over; its value is the next argument if it needs one that wasn't attached. */
static int take_option(struct parser *p, const struct option_def *option, const char *value)
{
	if (option->value == VALUE_NONE) {
		if (value)
			return error_set(p->err, REASON_INVALID, EINVAL,
					 "option --%s takes no value", option->name);
	} else if (!value) {
		if (p->next == p->argc)
			return error_set(p->err, REASON_INVALID, EINVAL,
					 "option --%s needs a value (%s)", option->name,
					 option->value_name);
		value = p->argv[p->next++];
	}
	return p->handler(option->id, value, p->arg, p->err);
}

static int parse_long(struct parser *p, const char *text)
{
	size_t length = strcspn(text, "=");
	const struct option_def *option = find_option(p, text, length, 0);

	if (!option)
		return error_set(p->err, REASON_INVALID, EINVAL, "unknown option --%.*s",
				 (int)length, text);
	return take_option(p, option, text[length] ? text + length + 1 : NULL);
}

/* "-v", "-vh", "-p POD", "-pPOD", "-vpPOD"; text is what follows the dash. */
static int parse_short(struct parser *p, const char *text)
{
	while (*text) {
		const struct option_def *option = find_option(p, NULL, 0, *text);
		const char *value = NULL;
		int ret;

		if (!option)
			return error_set(p->err, REASON_INVALID, EINVAL, "unknown option -%c",
					 *text);
		text++;
		if (option->value != VALUE_NONE && *text) {
			value = text;
			text += strlen(text);
		}
		ret = take_option(p, option, value);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static bool is_option(const char *arg)
{
	return arg[0] == '-' && arg[1] != '\0';
}

/* Takes p->argv[p->next], which is_option() and not "--". */
static int parse_option(struct parser *p)
{
	const char *arg = p->argv[p->next++];

	return arg[1] == '-' ? parse_long(p, arg + 2) : parse_short(p, arg + 1);
}

int opts_parse(int argc, char **argv, const struct option_def *own, const struct option_def *common,
	       option_handler handler, void *arg, const char **operands, struct error *err)
{
	struct parser p = { argc, argv, 1, { own, common }, handler, arg, err };
	int count = 0;

	while (p.next < argc) {
		int ret;

		if (!is_option(argv[p.next])) {
			operands[count++] = argv[p.next++];
			continue;
		}
		if (!strcmp(argv[p.next], "--")) {
			p.next++;
			break;
		}
		ret = parse_option(&p);
		if (ret < 0)
			return ret;
	}
	while (p.next < argc)
		operands[count++] = argv[p.next++];
	return count;
}

int opts_parse_leading(int argc, char **argv, const struct option_def *options,
		       option_handler handler, void *arg, struct error *err)
{
	struct parser p = { argc, argv, 1, { options, NULL }, handler, arg, err };

	while (p.next < argc && is_option(argv[p.next])) {
		int ret;

		if (!strcmp(argv[p.next], "--"))
			return p.next + 1;
		ret = parse_option(&p);
		if (ret < 0)
			return ret;
	}
	return p.next;
}

void opts_print(const struct option_def *options)
{
	for (const struct option_def *o = options; o && o->name; o++) {
		int width = o->short_name ? printf("  -%c, --%s", o->short_name, o->name)
					  : printf("      --%s", o->name);

		if (o->value != VALUE_NONE)
			width += printf(" %s", o->value_name);
		if (width > HELP_COLUMN - 2) {
			putchar('\n');
			width = 0;
		}
		printf("%*s%s\n", HELP_COLUMN - width, "", o->help);
	}
}

int opts_number(const char *name, const char *value, uint64_t min, uint64_t max, uint64_t *out,
		struct error *err)
{
	uint64_t number;

	if (parse_uint(value, max, &number) < 0 || number < min)
		return error_set(err, REASON_INVALID, EINVAL,
				 "--%s: must be a number between %" PRIu64 " and %" PRIu64
				 ", got %s",
				 name, min, max, value);
	*out = number;
	return 0;
}

int stdout_flush(struct error *err)
{
	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return error_set(err, REASON_BROKEN, errno, "cannot write to standard output%s%s",
			 errno ? ": " : "", errno ? errno_text(errno) : "");
}
