/* SPDX-License-Identifier: MIT */
/* Options of the commands that give pods names: which names, and whether and where they are written. */
#ifndef VZFWD_HOSTS_OPTIONS_H
#define VZFWD_HOSTS_OPTIONS_H

#include "command.h"
#include "lib/policy.h"

enum hosts_option { HOSTS_WANTED = 0x280, HOSTS_FILE, HOSTS_NAME };

/* Rows for the option tables. */
#define HOSTS_OPTIONS                                                                    \
	{ 0,           "hosts", VALUE_NONE,                                              \
	  NULL,        NULL,    "write names of the host to the pod's " HOSTS_PATH,      \
	  HOSTS_WANTED },                                                                \
		{ 0,         "hosts-file", VALUE_TEXT,                                   \
		  "PATH",    NULL,         "or to this hosts file in the pod",           \
		  HOSTS_FILE },                                                          \
	{                                                                                \
		0, "host-name", VALUE_TEXT, "NAME", NULL,                                \
			"--hosts: a name of the host, in place of host.vz.internal and " \
			"the like; may be repeated",                                     \
			HOSTS_NAME                                                       \
	}

struct hosts_options {
	const char *path; /* NULL: none is written to */
	const char **names;
	size_t name_count; /* 0: the default ones */
};

/* Handles the ids above: 0, or a negative number with *err. */
int hosts_option(struct hosts_options *options, int id, const char *value, struct error *err);
/* Once all are read: REASON_INVALID for what does not go together. */
int hosts_options_check(const struct hosts_options *options, struct error *err);
void hosts_options_clear(struct hosts_options *options);

/*
 * The tag of the block, "expose-5432-web-192.168.127.254" of "5432" for the pod web: the same for one command line, so that a block that
 * was left behind is replaced when it is run again, and another for those that may run beside it, since several pods may have one
 * file. As long as HOSTS_TAG_PART bytes of each text tell them apart. Fresh memory.
 */
#define HOSTS_TAG_PART 40
struct hosts_tagged {
	const char *command, *operand, *pod, *handle,
		*container; /* operand and after pod: may be NULL */
	const struct address *alias;
};
char *hosts_tag(const struct hosts_tagged *what);

#endif
