/* SPDX-License-Identifier: MIT */
/*
 * Command lines from tables: the same `struct option_def` rows parse the
 * arguments, print --help and feed the completions, so that they can't drift.
 */
#ifndef VZFWD_OPTS_H
#define VZFWD_OPTS_H

#include "error.h"

/* What an option's or operand's value is, for the completions. */
enum value_kind {
	VALUE_NONE, /* a flag */
	VALUE_TEXT,
	VALUE_NUMBER,
	VALUE_FILE,
	VALUE_DIR,
	VALUE_PROGRAM,
	VALUE_POD,
	VALUE_NETWORK,
	VALUE_ADDRESS, /* a port that listens in the pod */
	VALUE_FORWARD,
	VALUE_ENDPOINT,
	VALUE_WORDS, /* one of option_def.words */
	VALUE_COMMAND
};

struct option_def {
	char short_name;  /* 0: none */
	const char *name; /* "pods-dir" */
	enum value_kind value;
	const char *value_name; /* "DIR", in --help */
	const char *words;      /* VALUE_WORDS: "text json" */
	const char *help;       /* one line, lower case, no full stop */
	int id;                 /* what the handler gets */
};

/* A table ends with a row whose name is NULL. */
typedef int (*option_handler)(int id, const char *value, void *arg, struct error *err);

/*
 * Parses argv[1..argc-1]: options of up to two tables (the second may be NULL), anywhere
 * before "--"; operands are gathered into operands[] (argv's strings, in order; size argc). Accepts
 * --name VALUE, --name=VALUE, -n VALUE, -nVALUE, bundled flags; no abbreviations. Unknown options,
 * missing or unwanted values: REASON_INVALID. A negative number from the handler ends it.
 * Returns the number of operands.
 */
int opts_parse(int argc, char **argv, const struct option_def *own, const struct option_def *common,
	       option_handler handler, void *arg, const char **operands, struct error *err);

/*
 * Parses the options that stand before the first operand. Returns the index of that operand in
 * argv (argc if there is none): where a command's name stands.
 */
int opts_parse_leading(int argc, char **argv, const struct option_def *options,
		       option_handler handler, void *arg, struct error *err);

/* Prints the options of a table on stdout as --help does, aligned. */
void opts_print(const struct option_def *options);

/* Flushes stdout. 0, or REASON_BROKEN if anything printed so far could not be written. */
int stdout_flush(struct error *err);

/* Value helpers for handlers: REASON_INVALID with "--name: ..." texts. */
int opts_number(const char *name, const char *value, uint64_t min, uint64_t max, uint64_t *out,
		struct error *err);

#endif
