/* SPDX-License-Identifier: MIT */
/*
 * vzfwd: the table of commands, and main, which finds the one that was asked for.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>

#include "command.h"
#include "lib/inherit.h"

static int run_help(struct cli *cli, int argc, char **argv)
{
	_cleanup_free_ const char **operands = xcalloc((size_t)argc, sizeof(*operands));
	int count = command_parse(cli, command_find(commands, argv[0]), argc, argv, NULL, NULL,
				  operands);
	const struct command *const *table = commands;
	const struct command *cmd = NULL;
	struct error err;

	for (int i = 0; i < count; i++) {
		cmd = table ? command_find(table, operands[i]) : NULL;
		if (!cmd) {
			error_set(&err, REASON_INVALID, EINVAL, "no such command: %s", operands[i]);
			return command_fail("help", &err);
		}
		table = cmd->subcommands;
	}
	return command_help(cmd);
}

static const struct command cmd_help = {
	.name = "help",
	.synopsis = "[COMMAND]",
	.summary = "tell what a command does and takes",
	.operands = { VALUE_COMMAND },
	.run = run_help,
};

const struct command *const commands[] = {
	&cmd_dial, &cmd_listen, &cmd_proxy, &cmd_expose,   &cmd_egress,
	&cmd_run,  &cmd_up,     &cmd_serve, &cmd_ports,    &cmd_check,
	&cmd_pod,  &cmd_status, &cmd_help,  &cmd_complete, NULL,
};

static int command_missing(const struct command *group)
{
	struct error err;

	if (!group) {
		fputs("Usage: vzfwd [OPTION]... COMMAND [ARGUMENT]...\n"
		      "`vzfwd help` lists the commands.\n",
		      stderr);
		return EXIT_USAGE;
	}
	error_set(&err, REASON_INVALID, EINVAL, "a command is missing (`vzfwd help %s` lists them)",
		  group->name);
	return command_fail(group->name, &err);
}

static int command_unknown(const struct command *group, const char *word)
{
	struct error err;

	error_set(&err, REASON_INVALID, EINVAL, "unknown command %s (`vzfwd help%s%s` lists them)",
		  *word ? word : "\"\"", group ? " " : "", group ? group->name : "");
	return command_fail(group ? group->name : NULL, &err);
}

static int dispatch(struct cli *cli, int argc, char **argv)
{
	const struct command *const *table = commands;
	const struct command *cmd = NULL;

	do {
		int next = command_parse_leading(cli, cmd, argc, argv);
		const struct command *found;

		if (next >= argc)
			return command_missing(cmd);
		argc -= next;
		argv += next;
		found = command_find(table, argv[0]);
		if (!found)
			return command_unknown(cmd, argv[0]);
		cmd = found;
		table = cmd->subcommands;
	} while (table);
	return cmd->run(cli, argc, argv);
}

int main(int argc, char **argv)
{
	struct cli cli = { .log_level = LOG_LEVEL_WARNING, .log_format = LOG_FORMAT_TEXT };

	inherit_open_missing();
	inherit_ignore_signals();
	log_init("vzfwd", cli.log_level, cli.log_format);
	return dispatch(&cli, argc, argv);
}
