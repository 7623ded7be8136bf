/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "inherit.h"
#include "log.h"
#include "sink.h"
#include "sock.h"

struct sink {
	struct loop *loop;
	char *path; /* NULL: fd:N */
	int fd;     /* -1: its reader is gone */
	bool is_socket;
	struct event *room; /* it can be written to again; NULL: a file, which always can */
	char *rest;         /* of a line that was taken in part; else NULL */
	size_t length, sent;
	uint64_t dropped;
	bool failing; /* that was told */
	sink_dropped_cb tell_dropped;
};

static void sink_shut(struct sink *s)
{
	if (s->room != NULL)
		event_free(s->room);
	s->room = NULL;
	if (s->fd >= 0)
		close(steal_fd(&s->fd));
	free(s->rest);
	s->rest = NULL;
}

/* How much was taken: 0 to `size`. */
static size_t sink_write(struct sink *s, const char *data, size_t size)
{
	ssize_t n;

	do
		n = s->is_socket ? send(s->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
				 : write(s->fd, data, size);
	while (n < 0 && errno == EINTR);
	if (n >= 0) {
		s->failing = false;
		return (size_t)n;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return 0;
	if (!s->failing)
		log_warning(NULL, "events: %s%s%s", s->path != NULL ? s->path : "",
			    s->path != NULL ? ": " : "", errno_text(errno));
	s->failing = true;
	/* Nobody will ever read there again. A file may have room another time. */
	if (s->room != NULL)
		sink_shut(s);
	return 0;
}

static bool send_rest(struct sink *s)
{
	if (s->rest == NULL)
		return true;
	s->sent += sink_write(s, s->rest + s->sent, s->length - s->sent);
	if (s->rest == NULL || s->sent < s->length)
		return false;
	free(s->rest);
	s->rest = NULL;
	return true;
}

/* True if the line is out, or the rest of it will be. */
static bool send_line(struct sink *s, const char *line)
{
	size_t length = strlen(line), n;

	if (!send_rest(s))
		return false;
	n = sink_write(s, line, length);
	if (n > 0 && n < length) {
		s->rest = xstrdup(line + n);
		s->length = length - n;
		s->sent = 0;
	}
	return n > 0;
}

/* What has to go out first. */
static bool catch_up(struct sink *s)
{
	_cleanup_free_ char *line = NULL;

	if (s->dropped == 0)
		return send_rest(s);
	line = s->tell_dropped(s->dropped);
	if (!send_line(s, line))
		return false;
	s->dropped = 0;
	return true;
}

static void await_room(struct sink *s)
{
	if (s->room != NULL && (s->rest != NULL || s->dropped > 0))
		event_add(s->room, NULL);
}

static void on_room(evutil_socket_t fd, short what, void *arg)
{
	struct sink *s = arg;

	(void)fd;
	(void)what;
	catch_up(s);
	await_room(s);
}

void sink_put(struct sink *s, const char *line)
{
	if (s->fd < 0)
		return;
	if (!catch_up(s) || !send_line(s, line))
		s->dropped++;
	await_room(s);
}

/* Takes fd over. */
static int sink_take(struct sink *s, int fd, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || S_ISDIR(st.st_mode)) {
		close(fd);
		return error_set(err, REASON_INVALID, EISDIR, "%s", errno_text(EISDIR));
	}
	sink_shut(s);
	s->fd = fd;
	s->is_socket = S_ISSOCK(st.st_mode);
	if (!S_ISREG(st.st_mode))
		s->room = xcheck(event_new(s->loop->base, fd, EV_WRITE, on_room, s));
	return 0;
}

/*
 * A symbolic link of somebody else's is not followed: it may lead to any file of ours.
 * O_NONBLOCK: a FIFO without a reader is an error, and one that is full nothing to wait for.
 */
static int open_path(struct sink *s, struct error *err)
{
	int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, fd;
	struct stat st;

	if (lstat(s->path, &st) < 0 || !S_ISLNK(st.st_mode))
		flags |= O_NOFOLLOW;
	else if (st.st_uid != 0 && st.st_uid != geteuid())
		return error_set(err, REASON_DENIED, ELOOP,
				 "is a symbolic link of uid %ju's, neither root nor you",
				 (uintmax_t)st.st_uid);
	fd = open(s->path, flags, 0600);
	if (fd >= 0)
		return sink_take(s, fd, err);
	/* ENXIO: a FIFO that nobody reads, a Unix socket. */
	return error_set(err, errno == ENXIO ? REASON_UNREACHABLE : reason_of_file(errno), errno,
			 "%s", errno_text(errno));
}

static int open_inherited(struct sink *s, const char *number, struct error *err)
{
	uint64_t n;
	int fd;

	if (parse_uint(number, INT32_MAX, &n) < 0)
		return error_set(err, REASON_INVALID, EINVAL, "not a descriptor");
	fd = inherit_open((int)n, true);
	if (fd < 0)
		return error_set(err, REASON_INVALID, -fd, "%s", errno_text(-fd));
	return sink_take(s, fd, err);
}

struct sink *sink_open(struct loop *loop, const char *where, sink_dropped_cb dropped,
		       struct error *err)
{
	struct sink *s = xcalloc(1, sizeof(*s));
	int rc;

	s->loop = loop;
	s->fd = -1;
	s->tell_dropped = dropped;
	if (strncmp(where, "fd:", 3) == 0) {
		rc = open_inherited(s, where + 3, err);
	} else {
		s->path = xstrdup(where);
		rc = open_path(s, err);
	}
	if (rc == 0)
		return s;
	error_prefix(err, "%s", where);
	sink_close(s);
	return NULL;
}

void sink_reopen(struct sink *s)
{
	struct error err;

	if (s->path == NULL)
		return;
	if (s->fd >= 0)
		catch_up(s);
	if (open_path(s, &err) < 0)
		log_warning(NULL, "events: %s: %s", s->path, err.message);
}

void sink_end(struct sink *s)
{
	if (s->fd >= 0)
		catch_up(s);
	if (s->path == NULL)
		inherit_restore();
	sink_shut(s);
}

void sink_close(struct sink *s)
{
	if (s == NULL)
		return;
	sink_end(s);
	free(s->path);
	free(s);
}
