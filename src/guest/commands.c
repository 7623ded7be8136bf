/* SPDX-License-Identifier: MIT */
/* The table of vzfwd-guest's commands, and what their command lines have in common. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"

static const struct guest_command *const commands[] = { &guest_nat, &guest_exec };

const struct guest_command *guest_command_find(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i]->name, word) == 0)
			return commands[i];
	}
	return NULL;
}

void guest_commands_print(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-6s%s\n", commands[i]->name, commands[i]->summary);
}

int common_option(struct common_options *o, int id, const char *value, struct error *err)
{
	switch (id) {
	case COMMON_LOG_LEVEL:
		if (log_level_from_name(value, &o->log_level) < 0)
			return error_set(
				err, REASON_INVALID, EINVAL,
				"--log-level: must be error, warning, info or debug, got %s",
				value);
		return 0;
	case COMMON_LOG_FORMAT:
		if (log_format_from_name(value, &o->log_format) < 0)
			return error_set(err, REASON_INVALID, EINVAL,
					 "--log-format: must be text or json, got %s", value);
		return 0;
	case COMMON_VERBOSE:
		o->log_level = LOG_LEVEL_DEBUG;
		return 0;
	case COMMON_HELP:
		o->help = true;
		return 0;
	case COMMON_VERSION:
		o->version = true;
		return 0;
	}
	return 1;
}

int guest_command_printed(void)
{
	struct error err;

	return stdout_flush(&err) < 0 ? guest_command_fail(&err) : 0;
}

void guest_command_start(const struct guest_command *command, const struct common_options *o,
			 int rc, const struct error *err)
{
	log_init("vzfwd-guest", o->log_level, o->log_format);
	if (o->help) {
		printf("usage: vzfwd-guest %s %s\n\n%s\n\nOptions:\n", command->name,
		       command->synopsis, command->details);
		opts_print(command->options);
		exit(guest_command_printed());
	}
	if (o->version) {
		puts("vzfwd-guest " PACKAGE_VERSION);
		exit(guest_command_printed());
	}
	if (rc < 0)
		exit(guest_command_fail(err));
}

int guest_command_fail(const struct error *err)
{
	log_error(NULL, "%s", err->message);
	return reason_exit_code(err->reason);
}
