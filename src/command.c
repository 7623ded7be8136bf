/* SPDX-License-Identifier: MIT */
/*
 * What all commands share: the global options, help, the last line of a
 * command that failed, and the pod that it means.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "call.h"
#include "command.h"

/* Above all ids that commands give their own options. */
enum global_option {
	GLOBAL_PODS_DIR = 0x1000,
	GLOBAL_LOG_LEVEL,
	GLOBAL_LOG_FORMAT,
	GLOBAL_VERBOSE,
	GLOBAL_HELP,
	GLOBAL_VERSION,
};

const struct option_def global_options[] = {
	{ 0, "pods-dir", VALUE_DIR, "DIR", NULL, "the folder of registered pods", GLOBAL_PODS_DIR },
	{ 0, "log-level", VALUE_WORDS, "LEVEL", "error warning info debug",
	  "what is logged on stderr (default: warning)", GLOBAL_LOG_LEVEL },
	{ 0, "log-format", VALUE_WORDS, "FORMAT", "text json", "how it is logged (default: text)",
	  GLOBAL_LOG_FORMAT },
	{ 'v', "verbose", VALUE_NONE, NULL, NULL, "the same as --log-level debug", GLOBAL_VERBOSE },
	{ 'h', "help", VALUE_NONE, NULL, NULL, "print this help and exit", GLOBAL_HELP },
	{ 'V', "version", VALUE_NONE, NULL, NULL, "print the version and exit", GLOBAL_VERSION },
	{ 0 },
};

int command_fail(const char *what, const struct error *err)
{
	log_error(NULL, "%s%s%s", what ? what : "", what ? ": " : "", err->message);
	return reason_exit_code(err->reason);
}

void command_say(char *line)
{
	struct pollfd pfd = { .fd = STDOUT_FILENO, .events = POLLOUT };

	if (poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLOUT) &&
	    write(STDOUT_FILENO, line, strlen(line)) < 0)
		log_debug(NULL, "stdout: %s", errno_text(errno));
	free(line);
}

/* Flushes stdout; the exit code. */
static int finish_stdout(void)
{
	struct error err;

	return stdout_flush(&err) < 0 ? command_fail(NULL, &err) : 0;
}

const char *command_word(const struct command *cmd)
{
	const char *space = strrchr(cmd->name, ' ');

	return space ? space + 1 : cmd->name;
}

const struct command *command_find(const struct command *const *table, const char *word)
{
	for (; *table; table++) {
		if (!strcmp(command_word(*table), word))
			return *table;
	}
	return NULL;
}

static void print_table(const struct command *const *table)
{
	puts("\nCommands:");
	for (; *table; table++) {
		if ((*table)->summary)
			printf("  %-12s%s\n", command_word(*table), (*table)->summary);
	}
}

int command_help(const struct command *cmd)
{
	const char *synopsis = cmd && cmd->synopsis ? cmd->synopsis : "";

	if (!cmd) {
		puts("Usage: vzfwd [OPTION]... COMMAND [ARGUMENT]...\n\n"
		     "Opens connections to any port of a running pod, on demand.");
		print_table(commands);
		puts("\n`vzfwd COMMAND --help` tells more of each.");
	} else {
		printf("Usage: vzfwd %s%s%s%s\n", cmd->name, cmd->options ? " [OPTION]..." : "",
		       *synopsis ? " " : "", synopsis);
		if (cmd->summary)
			printf("\n%c%s.\n", toupper((unsigned char)cmd->summary[0]),
			       cmd->summary + 1);
		if (cmd->details)
			printf("\n%s\n", cmd->details);
		if (cmd->subcommands)
			print_table(cmd->subcommands);
		if (cmd->options) {
			puts("\nOptions:");
			opts_print(cmd->options);
		}
	}
	puts("\nGlobal options:");
	opts_print(global_options);
	return finish_stdout();
}

struct parsing {
	struct cli *cli;
	const struct command *cmd; /* what --help is about; NULL: vzfwd */
	option_handler handler;    /* of the command's own options */
	void *arg;
};

static int handle_option(int id, const char *value, void *arg, struct error *err)
{
	struct parsing *p = arg;
	struct cli *cli = p->cli;

	if (id < GLOBAL_PODS_DIR)
		return p->handler(id, value, p->arg, err);
	switch ((enum global_option)id) {
	case GLOBAL_PODS_DIR:
		cli->pods_dir = value;
		break;
	case GLOBAL_LOG_LEVEL:
		if (log_level_from_name(value, &cli->log_level) < 0)
			return error_set(
				err, REASON_INVALID, EINVAL,
				"--log-level: must be error, warning, info or debug, got %s",
				value);
		break;
	case GLOBAL_LOG_FORMAT:
		if (log_format_from_name(value, &cli->log_format) < 0)
			return error_set(err, REASON_INVALID, EINVAL,
					 "--log-format: must be text or json, got %s", value);
		break;
	case GLOBAL_VERBOSE:
		cli->log_level = LOG_LEVEL_DEBUG;
		break;
	case GLOBAL_HELP:
		exit(command_help(p->cmd));
	case GLOBAL_VERSION:
		puts("vzfwd " PACKAGE_VERSION);
		exit(finish_stdout());
	}
	log_init("vzfwd", cli->log_level, cli->log_format);
	return 0;
}

int command_parse(struct cli *cli, const struct command *cmd, int argc, char **argv,
		  option_handler handler, void *arg, const char **operands)
{
	struct parsing p = { cli, cmd, handler, arg };
	struct error err;
	int count = opts_parse(argc, argv, cmd->options, global_options, handle_option, &p,
			       operands, &err);

	if (count < 0)
		exit(command_fail(cmd->name, &err));
	return count;
}

int command_parse_leading(struct cli *cli, const struct command *group, int argc, char **argv)
{
	struct parsing p = { cli, group, NULL, NULL };
	struct error err;
	int next = opts_parse_leading(argc, argv, global_options, handle_option, &p, &err);

	if (next < 0)
		exit(command_fail(group ? group->name : NULL, &err));
	return next;
}

int command_pod(const struct cli *cli, const char *pod_arg, const char *handle, struct pod *pod,
		struct error *err)
{
	_cleanup_free_ char *dir = NULL;
	int ret;

	memset(pod, 0, sizeof(*pod));
	if (handle && !name_is_valid(handle))
		return error_set(err, REASON_INVALID, EINVAL, "--handle: not a valid handle: %s",
				 handle);
	if (cli->pods_dir) {
		dir = pods_dir(cli->pods_dir, err);
		if (!dir)
			return -EINVAL;
	}
	ret = pods_resolve(dir, pod_arg, pod, err);
	if (ret == 0 && handle) {
		free(pod->handle);
		pod->handle = xstrdup(handle);
	}
	return ret;
}
