/* SPDX-License-Identifier: MIT */
/*
 * The table of vzfwd's commands. Each cmd-NAME.c owns one entry; vzfwd.c
 * dispatches, prints --help and completes from them.
 */
#ifndef VZFWD_COMMAND_H
#define VZFWD_COMMAND_H

#include "lib/log.h"
#include "lib/opts.h"
#include "lib/pods.h"

/* What the global options said. */
struct cli {
	const char *pods_dir; /* --pods-dir, or NULL */
	enum log_level log_level;
	enum log_format log_format;
};

struct command {
	const char *name;
	const char *synopsis;             /* "[-p POD] FORWARD...": what follows the name */
	const char *summary;              /* one line for `vzfwd --help` */
	const char *details;              /* paragraphs under the synopsis; may be NULL */
	const struct option_def *options; /* the command's own; NULL if none */
	enum value_kind operands
		[4]; /* what operand 1, 2, … is, for completion; ends at VALUE_NONE; the last repeats */
	enum value_kind behind_dashes[2]; /* the same for those behind "--", if they are others */
	/* argv[0] is the command's name. Returns the exit code. */
	int (*run)(struct cli *cli, int argc, char **argv);
	/* Instead of run: the commands of a group, NULL-terminated, named in full ("pod add"). */
	const struct command *const *subcommands;
};

/* All of them, NULL-terminated; what has no summary is not shown. In vzfwd.c. */
extern const struct command *const commands[];

extern const struct command cmd_dial, cmd_expose, cmd_egress, cmd_listen, cmd_proxy, cmd_run,
	cmd_serve, cmd_ports, cmd_check, cmd_pod, cmd_status, cmd_up, cmd_complete;

/*
 * Options that every command takes, before or after its name: --pods-dir DIR, --log-level,
 * --log-format, -v/--verbose, -h/--help, -V/--version.
 */
extern const struct option_def global_options[];

/*
 * opts_parse() with the command's own options and the global ones (which go to *cli and log_init()). --help prints the command's help and
 * --version the version, both on stdout, then exit(0). On an error prints one line and exit(64)s. Returns
 * the number of operands.
 */
int command_parse(struct cli *cli, const struct command *cmd, int argc, char **argv,
		  option_handler handler, void *arg, const char **operands);

/*
 * The same for the global options before a command's name: returns its index in argv (argc if
 * there is none). `group` is the command whose subcommand is looked for, NULL at the top.
 */
int command_parse_leading(struct cli *cli, const struct command *group, int argc, char **argv);

/* The command of a table that `word` names, or NULL. */
const struct command *command_find(const struct command *const *table, const char *word);
const char *command_word(const struct command *cmd); /* "add" of "pod add" */

/* What --help prints on stdout; NULL: vzfwd's own. Returns the exit code. */
int command_help(const struct command *cmd);

/* The exit code of a usage error: command_parse() and main() use it too (REASON_INVALID's). */
#define EXIT_USAGE 64

/* Rows for commands that take a POD (after their own operand, or -p where it is optional). */
#define OPTION_POD(ID)                                                                           \
	{                                                                                        \
		'p', "pod", VALUE_POD, "POD", NULL, "the pod: a registered name or an endpoint", \
			ID                                                                       \
	}
#define OPTION_HANDLE(ID)                                                                 \
	{                                                                                 \
		0, "handle", VALUE_TEXT, "HANDLE", NULL, "the pod's name on the wire", ID \
	}
#define OPTION_CONTAINER(ID)                                                 \
	{                                                                    \
		0, "container", VALUE_TEXT, "ID", NULL,                      \
			"a container in the pod with a netns of its own", ID \
	}
#define OPTION_EVENTS(ID)                                                                         \
	{                                                                                         \
		0, "events", VALUE_FILE, "FILE|fd:N", NULL,                                       \
			"write what becomes of connections there, as JSON, one object a line", ID \
	}
#define OPTION_ALLOW(ID)                                                          \
	{                                                                         \
		0, "allow", VALUE_TEXT, "CIDR[:PORT[-PORT]]", NULL,               \
			"allow other targets too (netns: and pid: endpoints)", ID \
	}

#define OPTION_ALLOW_UNIX(ID)                                                                 \
	{                                                                                     \
		0, "allow-unix", VALUE_TEXT, "PATTERN", NULL,                                 \
			"allow Unix sockets of this path too (netns: and pid: endpoints)", ID \
	}

/*
 * Prints "vzfwd: MESSAGE" on stderr, escaped, and returns the exit code of err's reason.
 * `what` ("dial web tcp 127.0.0.1:80") stands before the message when it isn't NULL.
 */
int command_fail(const char *what, const struct error *err);

/*
 * Prints a line on stdout (owned, freed here), unless nobody reads there: that must not hold up a
 * connection.
 */
void command_say(char *line);

/* pods_resolve() with --pods-dir and an optional --handle. */
int command_pod(const struct cli *cli, const char *pod_arg, const char *handle, struct pod *pod,
		struct error *err);

#endif
