/* SPDX-License-Identifier: MIT */
/*
 * One line a message on stderr, in one write(2). A stderr that nobody reads costs
 * lines, never time: what can't be written at once is dropped and counted, and the
 * count is told when lines pass again.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "log.h"

#define MESSAGE_MAX 1024
#define LABEL_MAX 256
/* All of it may need a backslash in JSON; below PIPE_BUF, so that processes' lines don't mix. */
#define LINE_SIZE (2 * (MESSAGE_MAX + LABEL_MAX) + 256)

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};
static_assert(ARRAY_SIZE(level_names) == LOG_LEVEL_COUNT, "a name for each level");

static const char *const format_names[] = {
	[LOG_FORMAT_TEXT] = "text",
	[LOG_FORMAT_JSON] = "json",
};
static_assert(ARRAY_SIZE(format_names) == LOG_FORMAT_JSON + 1, "a name for each format");

/* The process has one stderr, so there is one of this. */
static struct {
	const char *program;
	enum log_level level;
	enum log_format format;
	atomic_ulong dropped; /* lines, since the last that was written */
} logger = { "vzfwd", LOG_LEVEL_INFO, LOG_FORMAT_TEXT, 0 };

void log_init(const char *program, enum log_level level, enum log_format format)
{
	logger.program = program;
	logger.level = level;
	logger.format = format;
}

int log_level_from_name(const char *name, enum log_level *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (strcmp(level_names[i], name) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -ENOENT;
}

int log_format_from_name(const char *name, enum log_format *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(format_names); i++) {
		if (strcmp(format_names[i], name) == 0) {
			*out = (enum log_format)i;
			return 0;
		}
	}
	return -ENOENT;
}

bool log_enabled(enum log_level level)
{
	return level <= logger.level;
}

/* Puts a backslash before each '"' and '\' of escaped text, in place: that makes it JSON. */
static void quote_json(char *text, size_t size)
{
	size_t length = strlen(text), extra = 0;

	for (size_t i = 0; i < length; i++)
		extra += text[i] == '"' || text[i] == '\\';
	assert(length + extra < size);
	text[length + extra] = '\0';
	for (size_t i = length; extra > 0; i--) {
		char c = text[i - 1];

		text[i - 1 + extra] = c;
		if (c == '"' || c == '\\')
			text[i - 1 + --extra] = '\\';
	}
}

/* Formats one line with its \n; `name` and `message` are escaped, with room to be quoted. */
static size_t format_line(char line[LINE_SIZE], enum log_level level, char *name, size_t name_size,
			  char *message, size_t message_size)
{
	char time_text[TIME_TEXT_MAX];
	int length;

	if (logger.format == LOG_FORMAT_TEXT) {
		bool told = level == LOG_LEVEL_WARNING || level == LOG_LEVEL_DEBUG;

		length = snprintf(line, LINE_SIZE, "%s: %s%s%s%s%s\n", logger.program,
				  told ? level_names[level] : "", told ? ": " : "", name,
				  *name ? ": " : "", message);
		assert(length < LINE_SIZE);
		return (size_t)length;
	}
	quote_json(name, name_size);
	quote_json(message, message_size);
	length = snprintf(line, LINE_SIZE,
			  "{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"%s\"%s%s%s,"
			  "\"message\":\"%s\"}\n",
			  format_time(time_text), level_names[level], logger.program,
			  *name ? ",\"connection\":\"" : "", name, *name ? "\"" : "", message);
	assert(length < LINE_SIZE);
	return (size_t)length;
}

/* True if the line was written whole; false at once where that would have to wait. */
static bool write_line(const char *line, size_t length)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the room is for one */
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };
	bool written;

	pthread_mutex_lock(&lock);
	written = poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLOUT) &&
		  write(STDERR_FILENO, line, length) == (ssize_t)length;
	pthread_mutex_unlock(&lock);
	return written;
}

static bool emit(enum log_level level, const struct log_name *name, const char *text)
{
	char line[LINE_SIZE], message[2 * MESSAGE_MAX], label[2 * LABEL_MAX] = "";
	size_t length;

	escape_text(message, MESSAGE_MAX, text);
	if (name) {
		escape_text(label, LABEL_MAX - 24, name->label);
		length = strlen(label);
		if (name->id)
			snprintf(label + length, LABEL_MAX - length, " #%" PRIu64, name->id);
	}
	length = format_line(line, level, label, sizeof(label), message, sizeof(message));
	return write_line(line, length);
}

void log_write(enum log_level level, const struct log_name *name, const char *fmt, ...)
{
	int saved_errno = errno;
	char text[MESSAGE_MAX];
	va_list ap;

	if (!log_enabled(level))
		return;
	if (logger.dropped > 0) {
		snprintf(text, sizeof(text), "lines dropped, since stderr took no more: %lu",
			 logger.dropped);
		if (emit(LOG_LEVEL_WARNING, NULL, text))
			logger.dropped = 0;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!emit(level, name, text))
		logger.dropped++;
	errno = saved_errno;
}
