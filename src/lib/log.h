/* SPDX-License-Identifier: MIT */
/*
 * One line a message on stderr: "vzfwd: web:80 #17: connection refused", or as
 * JSON. Never blocks for long on its way out, never logs a token.
 */
#ifndef VZFWD_LOG_H
#define VZFWD_LOG_H

#include "util.h"

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_COUNT
};
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* `program` is kept: static storage. */
void log_init(const char *program, enum log_level level, enum log_format format);

/* "error", "warning", "info", "debug"; "text", "json". 0 or -ENOENT. */
int log_level_from_name(const char *name, enum log_level *out);
int log_format_from_name(const char *name, enum log_format *out);
bool log_enabled(enum log_level level);

/* Names the connection a line is about: "web:80 #17". id 0: the label alone. */
struct log_name {
	const char *label;
	uint64_t id;
};

/*
 * `name` may be NULL. The text is passed through escape_text(), so guest text may be given as it
 * is. A line that stderr does not take at once is dropped, and counted. errno is kept.
 */
void log_write(enum log_level level, const struct log_name *name, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

#define log_error(name, ...) log_write(LOG_LEVEL_ERROR, name, __VA_ARGS__)
#define log_warning(name, ...) log_write(LOG_LEVEL_WARNING, name, __VA_ARGS__)
#define log_info(name, ...) log_write(LOG_LEVEL_INFO, name, __VA_ARGS__)
#define log_debug(name, ...)                                           \
	do {                                                           \
		if (log_enabled(LOG_LEVEL_DEBUG))                      \
			log_write(LOG_LEVEL_DEBUG, name, __VA_ARGS__); \
	} while (0)

#endif
