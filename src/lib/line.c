/* SPDX-License-Identifier: MIT */
/*
 * Byte-exact line reading: look with MSG_PEEK, take up to the \n. What was seen of an
 * unfinished line is taken at once, so that all was read up to EAGAIN, as edge-triggered watches want it.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "line.h"

static int line_add(struct line *line, const char *data, size_t n)
{
	line->text = xrealloc(line->text, line->length + n + 1);
	memcpy(line->text + line->length, data, n);
	line->length += n;
	line->text[line->length] = '\0';
	line->whole = data[n - 1] == '\n';
	line->alone = false;
	if (line->whole)
		return 1;
	return line->length < line->max ? -EAGAIN : -EMSGSIZE;
}

/* For pipes: a read(2) a byte. Only vzfwd-guest --stdio comes here, once a process. */
static int line_read_bytes(struct line *line, int fd)
{
	char c;

	for (;;) {
		ssize_t n = read(fd, &c, 1);
		int rc;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		rc = line_add(line, &c, 1);
		if (rc != -EAGAIN)
			return rc;
	}
}

int line_read(struct line *line, int fd)
{
	char buf[4096];

	if (line->whole) {
		line->length = 0;
		line->whole = false;
	}
	for (;;) {
		size_t want = line->max - line->length;
		const char *end;
		bool alone;
		ssize_t n;
		int rc;

		n = recv(fd, buf, want < sizeof(buf) ? want : sizeof(buf), MSG_PEEK | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOTSOCK)
			return line_read_bytes(line, fd);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		end = memchr(buf, '\n', (size_t)n);
		alone = end == buf + n - 1 && (size_t)n < sizeof(buf) && (size_t)n < want;
		if (end != NULL)
			n = end + 1 - buf;
		n = recv(fd, buf, (size_t)n, MSG_DONTWAIT);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		rc = line_add(line, buf, (size_t)n);
		if (rc == 1)
			line->alone = alone;
		if (rc != -EAGAIN)
			return rc;
	}
}

void line_clear(struct line *line)
{
	free(line->text);
	line->text = NULL;
	line->length = 0;
	line->whole = line->alone = false;
}
