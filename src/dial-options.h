/* SPDX-License-Identifier: MIT */
/* Options that dial and listen share: how a target in a pod is asked for. */
#ifndef VZFWD_DIAL_OPTIONS_H
#define VZFWD_DIAL_OPTIONS_H

#include "command.h"
#include "lib/capture.h"
#include "lib/policy.h"
#include "lib/retry.h"
#include "lib/rpc.h"

struct dial_options {
	const char *handle, *container; /* NULL if not given */
	struct policy policy;           /* --allow, --allow-unix */
	int timeout_ms;
	int retry_ms; /* --retry-for */
};

/* Rows of dial and listen, for struct capture_options. */
enum { CAPTURE_FILE = 0x180, CAPTURE_LIMIT };
#define CAPTURE_OPTIONS                                                                          \
	{ 0,           "capture", VALUE_FILE,                                                    \
	  "FILE",      NULL,      "write what connections carry there, for Wireshark",           \
	  CAPTURE_FILE },                                                                        \
	{                                                                                        \
		0, "capture-limit", VALUE_TEXT, "SIZE", NULL,                                    \
			"--capture: the file is no longer than this (default 1G)", CAPTURE_LIMIT \
	}

struct capture_options {
	const char *file; /* NULL: none */
	uint64_t limit;   /* 0: not given */
};
int capture_option(struct capture_options *options, int id, const char *value, struct error *err);

/* --capture: 0, and *capture is NULL if it was not given. See capture_open(). */
int capture_start(const struct capture_options *options, struct loop *loop,
		  struct capture **capture, struct error *err);

enum dial_option {
	DIAL_HANDLE = 0x100,
	DIAL_CONTAINER,
	DIAL_ALLOW,
	DIAL_ALLOW_UNIX,
	DIAL_TIMEOUT,
	DIAL_RETRY_FOR
};

/* Rows for the option tables: of all, and without those that say who is meant. */
#define DIAL_OPTIONS                                                  \
	OPTION_HANDLE(DIAL_HANDLE), OPTION_CONTAINER(DIAL_CONTAINER), \
		OPTION_ALLOW_UNIX(DIAL_ALLOW_UNIX), REACH_OPTIONS
#define REACH_OPTIONS                                                                         \
	OPTION_ALLOW(DIAL_ALLOW),                                                             \
	{                                                                                     \
		0, "timeout", VALUE_TEXT, "SECONDS", NULL,                                    \
			"how long connecting in the pod may take (0.001 to 600, default 10)", \
			DIAL_TIMEOUT                                                          \
	}

/* "10", "0.5": milliseconds of seconds with up to three decimals, 1 to TIMEOUT_MS_MAX. `name` is the option's. */
int dial_seconds(const char *name, const char *value, int *ms, struct error *err);

/* A row for commands whose clients may wait. */
#define OPTION_RETRY_FOR(ID)                                                                 \
	{                                                                                    \
		0, "retry-for", VALUE_TEXT, "SECONDS", NULL,                                 \
			"how long clients wait for a pod that is not there (0: not at all; " \
			"default 5)",                                                        \
			ID                                                                   \
	}
int retry_for_option(const char *value, int *ms, struct error *err);

/* Handles the ids above: 0 or a negative number with *err. */
int dial_option(struct dial_options *options, int id, const char *value, struct error *err);

#endif
