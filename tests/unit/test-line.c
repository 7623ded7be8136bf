/* SPDX-License-Identifier: MIT */
/* Reading of the handshake's lines: to the newline and not a byte further, however the bytes come. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "line.h"
#include "sock.h"
#include "tap.h"

/* Both ends of a socket, or of a pipe; [0] is read. */
static void make(bool pipes, int fd[2])
{
	if (pipes ? pipe2(fd, O_NONBLOCK | O_CLOEXEC) < 0 : sock_pair(fd) < 0)
		abort();
}

static void put(int fd, const char *text, size_t size)
{
	if (write(fd, text, size) != (ssize_t)size)
		abort();
}

/* What is left in fd for who comes after the line. */
static void is_left(int fd, const char *want, const char *name)
{
	char buf[64];
	ssize_t n = read(fd, buf, sizeof(buf));

	is_mem(buf, n > 0 ? (size_t)n : 0, want, strlen(want), "%s: the rest is still there", name);
}

static void test_kind(bool pipes, const char *kind)
{
	struct line line = { .max = 8 };
	int fd[2];

	make(pipes, fd);
	is_int(line_read(&line, fd[0]), -EAGAIN, "%s: nothing yet", kind);
	put(fd[1], "ab", 2);
	is_int(line_read(&line, fd[0]), -EAGAIN, "%s: a part", kind);
	is_int(line_read(&line, fd[0]), -EAGAIN, "%s: no more", kind);
	put(fd[1], "c\n", 2);
	is_int(line_read(&line, fd[0]), 1, "%s: whole", kind);
	is_mem(line.text, line.length, "abc\n", 4, "%s: all of it", kind);
	is_int(line.alone, !pipes, "%s: nothing behind it, as far as can be told", kind);
	put(fd[1], "\nx\nstream", 9);
	is_int(line_read(&line, fd[0]), 1, "%s: an empty line", kind);
	is_mem(line.text, line.length, "\n", 1, "%s: the newline alone", kind);
	ok(!line.alone, "%s: something behind it", kind);
	is_int(line_read(&line, fd[0]), 1, "%s: the next line", kind);
	is_mem(line.text, line.length, "x\n", 2, "%s: begins anew", kind);
	is_left(fd[0], "stream", kind);
	put(fd[1], "1234567\nx", 9);
	is_int(line_read(&line, fd[0]), 1, "%s: as long as may be", kind);
	ok(!line.alone, "%s: what is behind that was not looked at", kind);
	is_left(fd[0], "x", kind);
	put(fd[1], "a\0b\n", 4);
	is_int(line_read(&line, fd[0]), 1, "%s: a NUL", kind);
	is_mem(line.text, line.length, "a\0b\n", 4, "%s: is kept", kind);
	is_int(line.text[line.length], '\0', "%s: terminated", kind);
	put(fd[1], "12345678\n", 9);
	is_int(line_read(&line, fd[0]), -EMSGSIZE, "%s: too long", kind);
	ok(line.length <= line.max, "%s: no more is kept", kind);
	line_clear(&line);
	close(fd[0]);
	close(fd[1]);
}

static void test_ends(bool pipes, const char *kind)
{
	struct line line = { .max = 100 };
	int fd[2];

	make(pipes, fd);
	put(fd[1], "half", 4);
	close(fd[1]);
	is_int(line_read(&line, fd[0]), 0, "%s: ended", kind);
	is_int(line_read(&line, fd[0]), 0, "%s: still ended", kind);
	is_mem(line.text, line.length, "half", 4, "%s: an unfinished line", kind);
	line_clear(&line);
	close(fd[0]);

	make(pipes, fd);
	close(fd[1]);
	is_int(line_read(&line, fd[0]), 0, "%s: ended before anything", kind);
	is_int((long long)line.length, 0, "%s: nothing", kind);
	line_clear(&line);
	close(fd[0]);
}

/* A line that is longer than what is read at once, and one that comes byte by byte. */
static void test_portions(void)
{
	struct line line = { .max = 10000 };
	char text[9001];
	int fd[2], rc = -EAGAIN;

	memset(text, 'x', sizeof(text));
	text[8999] = '\n';
	text[9000] = 'y';
	make(false, fd);
	put(fd[1], text, sizeof(text));
	is_int(line_read(&line, fd[0]), 1, "long: whole");
	is_mem(line.text, line.length, text, 9000, "long: all of it");
	is_left(fd[0], "y", "long");
	for (int i = 0; i < 9000; i++) {
		if (i > 0 && rc != -EAGAIN)
			break;
		put(fd[1], text + i, 1);
		rc = line_read(&line, fd[0]);
	}
	is_int(rc, 1, "byte by byte: whole, and not before");
	is_mem(line.text, line.length, text, 9000, "byte by byte: all of it");
	line_clear(&line);
	close(fd[0]);
	close(fd[1]);
}

static void test_errors(void)
{
	struct line line = { .max = 10 };
	int fd[2];

	make(false, fd);
	/* Closed with something unread: that is an error here. */
	put(fd[0], "unread", 6);
	close(fd[1]);
	is_int(line_read(&line, fd[0]), -ECONNRESET, "a reset");
	close(fd[0]);
	is_int(line_read(&line, fd[0]), -EBADF, "a bad descriptor");
	fd[0] = open("/", O_RDONLY | O_CLOEXEC);
	is_int(line_read(&line, fd[0]), -EISDIR, "a folder");
	close(fd[0]);
	line_clear(&line);
}

int main(void)
{
	test_kind(false, "socket");
	test_kind(true, "pipe");
	test_ends(false, "socket");
	test_ends(true, "pipe");
	test_portions();
	test_errors();
	return done_testing();
}
