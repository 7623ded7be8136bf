/* SPDX-License-Identifier: MIT */
/* Log lines as text and as JSON, whatever bytes they are about, and a stderr that is full. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>

#include "lib/log.h"
#include "tests/tap.h"

static int pipe_fds[2], real_stderr;
static char lines[65536];

/* Everything that was logged since the last call. */
static const char *logged(void)
{
	size_t length = 0;
	ssize_t n;

	while ((n = read(pipe_fds[0], lines + length, sizeof(lines) - 1 - length)) > 0)
		length += (size_t)n;
	lines[length] = '\0';
	return lines;
}

static void test_text(void)
{
	static const struct log_name name = { "web:80", 17 }, label = { "web", 0 };

	log_init("vzfwd", LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
	log_error(NULL, "no %s", "pod");
	is_str(logged(), "vzfwd: no pod\n", "an error");
	log_info(&name, "connected");
	is_str(logged(), "vzfwd: web:80 #17: connected\n", "names its connection");
	log_warning(&label, "slow");
	is_str(logged(), "vzfwd: warning: web: slow\n", "a warning, a label without an id");
	log_debug(&name, "x");
	is_str(logged(), "vzfwd: debug: web:80 #17: x\n", "a debug line");
	log_error(&(struct log_name){ "a\nb", 0 }, "c\x1b\n\xff");
	is_str(logged(), "vzfwd: a\\x0ab: c\\x1b\\x0a\\xff\n", "untrusted text is escaped");
}

/* A stderr that can't be written, and only that. */
static void test_errno(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	dup2(fd, STDERR_FILENO);
	close(fd);
	errno = EXDEV;
	log_error(NULL, "x");
	is_int(errno, EXDEV, "errno is kept");
	dup2(pipe_fds[1], STDERR_FILENO);
	log_error(NULL, "y");
	is_str(logged(), "vzfwd: warning: lines dropped, since stderr took no more: 1\nvzfwd: y\n",
	       "what could not be written is counted");
}

static void test_levels(void)
{
	enum log_level level = LOG_LEVEL_COUNT;
	enum log_format format = LOG_FORMAT_TEXT;

	log_init("vzfwd-guest", LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	ok(log_enabled(LOG_LEVEL_ERROR) && log_enabled(LOG_LEVEL_WARNING) &&
		   !log_enabled(LOG_LEVEL_INFO),
	   "levels up to the one asked for");
	log_info(NULL, "unheard");
	log_debug(NULL, "unheard");
	log_warning(NULL, "heard");
	is_str(logged(), "vzfwd-guest: warning: heard\n", "only those are written");
	is_int(log_level_from_name("debug", &level), 0, "a level's name");
	is_int(level, LOG_LEVEL_DEBUG, "is that level");
	is_int(log_level_from_name("loud", &level), -ENOENT, "an unknown level");
	is_int(log_format_from_name("json", &format), 0, "a format's name");
	is_int(format, LOG_FORMAT_JSON, "is that format");
	is_int(log_format_from_name("xml", &format), -ENOENT, "an unknown format");
}

static const char *member(json_t *line, const char *name)
{
	return json_string_value(json_object_get(line, name));
}

static void test_json(void)
{
	char all[256], times[32];
	json_t *line;
	int year, fields;

	for (size_t i = 0; i < 255; i++)
		all[i] = (char)(255 - i);
	all[255] = '\0';
	log_init("vzfwd", LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
	log_warning((&(struct log_name){ "we\"b\\:80", 17 }), "say \"hi\" \\ %s", all);
	line = json_loads(logged(), JSON_REJECT_DUPLICATES, NULL);
	ok(line, "any bytes make a JSON line");
	is_str(member(line, "level"), "warning", "level");
	is_str(member(line, "program"), "vzfwd", "program");
	is_str(member(line, "connection"), "we\"b\\:80 #17", "connection");
	ok(member(line, "message") && !strncmp(member(line, "message"), "say \"hi\" \\ \\xff", 15),
	   "message");
	snprintf(times, sizeof(times), "%s", member(line, "time"));
	fields = sscanf(times, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3d", &year);
	ok(fields == 1 && year > 2000 && strlen(times) == 24 && times[23] == 'Z', "time %s", times);
	json_decref(line);

	log_error(NULL, "x");
	line = json_loads(logged(), 0, NULL);
	ok(line && !json_object_get(line, "connection"), "no connection, no member");
	json_decref(line);
}

/* The longest lines there can be: they stay whole lines, and JSON stays JSON. */
static void test_bounds(void)
{
	char quotes[8192];
	json_t *line;

	memset(quotes, '"', sizeof(quotes));
	quotes[sizeof(quotes) - 1] = '\0';
	log_error((&(struct log_name){ quotes, UINT64_MAX }), "%s", quotes);
	line = json_loads(logged(), 0, NULL);
	ok(line && strlen(lines) < 4096, "a long line is cut to %zu bytes", strlen(lines));
	ok(strstr(lines, " #18446744073709551615\""), "the connection's number is not cut");
	json_decref(line);
	log_init("vzfwd", LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
	log_error((&(struct log_name){ quotes, 1 }), "%s", quotes);
	logged();
	ok(strchr(lines, '\n') == lines + strlen(lines) - 1 && strlen(lines) < 1536,
	   "a long text line is cut to %zu bytes", strlen(lines));
}

/* The pipe is a blocking one: were a line not dropped, the test would hang. */
static void test_full(void)
{
	char told[128];
	int count = 0;

	for (int i = 0; i < 5000; i++)
		log_info(NULL, "line %04d of many that nobody reads", i);
	logged();
	for (const char *p = lines; (p = strchr(p, '\n')); p++)
		count++;
	ok(count > 10 && count < 5000, "%d lines fit into the pipe", count);
	log_info(NULL, "next");
	logged();
	snprintf(told, sizeof(told),
		 "vzfwd: warning: lines dropped, since stderr took no more: %d\n"
		 "vzfwd: next\n",
		 5000 - count);
	is_str(lines, told, "the dropped lines are told later");
	log_info(NULL, "last");
	is_str(logged(), "vzfwd: last\n", "once");
}

int main(void)
{
	real_stderr = dup(STDERR_FILENO);
	if (pipe2(pipe_fds, O_CLOEXEC) < 0 || fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK) < 0 ||
	    dup2(pipe_fds[1], STDERR_FILENO) < 0)
		return 1;
	test_text();
	test_errno();
	test_levels();
	test_json();
	test_bounds();
	test_full();
	dup2(real_stderr, STDERR_FILENO);
	return done_testing();
}
