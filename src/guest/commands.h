/* SPDX-License-Identifier: MIT */
/*
 * What vzfwd-guest does beside dialing: its commands, and the options that these and the dialer share.
 */
#ifndef VZFWD_GUEST_COMMANDS_H
#define VZFWD_GUEST_COMMANDS_H

#include "log.h"
#include "opts.h"

struct guest_command {
	const char *name;
	const char *synopsis; /* what follows the name */
	const char *summary;  /* one line for vzfwd-guest's own --help */
	const char *details;  /* paragraphs under the synopsis */
	const struct option_def *options;
	/* argv[0] is the command's name. Returns the exit code. */
	int (*run)(int argc, char **argv);
};

extern const struct guest_command guest_nat, guest_exec;

/* The command that `word` names, or NULL. */
const struct guest_command *guest_command_find(const char *word);
void guest_commands_print(void); /* for --help, on stdout */

/* Options that every table has, as its last rows. */
#define COMMON_OPTIONS                                                                              \
	{ 0,                                                                                        \
	  "log-level",                                                                              \
	  VALUE_WORDS,                                                                              \
	  "LEVEL",                                                                                  \
	  "error warning info debug",                                                               \
	  "error, warning, info or debug",                                                          \
	  COMMON_LOG_LEVEL },                                                                       \
		{ 0,           "log-format",   VALUE_WORDS,      "FORMAT",                          \
		  "text json", "text or json", COMMON_LOG_FORMAT },                                 \
		{ 'v', "verbose", VALUE_NONE, NULL, NULL, "as --log-level debug", COMMON_VERBOSE }, \
		{ 'h', "help", VALUE_NONE, NULL, NULL, "print this help", COMMON_HELP },            \
		{ 'V', "version", VALUE_NONE, NULL, NULL, "print the version", COMMON_VERSION },    \
	{                                                                                           \
		0                                                                                   \
	}

/* Their ids, above those of any table. */
enum common_id {
	COMMON_LOG_LEVEL = 1000,
	COMMON_LOG_FORMAT,
	COMMON_VERBOSE,
	COMMON_HELP,
	COMMON_VERSION
};

struct common_options {
	enum log_level log_level;
	enum log_format log_format;
	bool help, version; /* asked for; the rest is not complete then */
};

/* 1 if the id is none of these, else 0 or a negative number with *err. */
int common_option(struct common_options *o, int id, const char *value, struct error *err);

/*
 * Initialises the log, with INFO as the level or what was asked for, and then ends the program where the
 * options were all: with one line about *err if rc, which parsing has returned, is negative; by
 * --help and --version, which are printed on stdout.
 */
void guest_command_start(const struct guest_command *command, const struct common_options *o,
			 int rc, const struct error *err);

/* What --help and --version have printed is out: 0, or the exit code for what could not be written. */
int guest_command_printed(void);

/* Prints the error's line; returns the exit code. */
int guest_command_fail(const struct error *err);

#endif
