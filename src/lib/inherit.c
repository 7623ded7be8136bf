/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that can be used without blocking although somebody else shares
 * their open file descriptions (fcntl(2): O_NONBLOCK belongs to the description).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "sock.h"
#include "inherit.h"

/*
 * Which of stdin and stdout had to be made non-blocking, and what signals were set to. The only state of this file: what
 * was changed for the whole process, and others beyond, is put back at its end.
 */
static volatile int changed[2] = { -1, -1 };
static const int ignored[] = { SIGPIPE, SIGXFSZ };
static void (*before[ARRAY_SIZE(ignored)])(int);

static int reopen(int fd, bool write)
{
	char path[32];
	int got;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	got = open(path, (write ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	return got >= 0 ? got : -errno;
}

/* Puts /dev/null in fd's place: the copy alone holds the stream, so closing it is its end. */
static int leave(int fd, int copy)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, fd);
		fd_set_cloexec(fd, fd > STDERR_FILENO);
		close(null);
	}
	return copy;
}

int inherit_open(int fd, bool write)
{
	struct stat st;
	int flags, copy;

	if (fstat(fd, &st) < 0)
		return -errno;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0)
		return -errno;
	if ((flags & O_ACCMODE) == (write ? O_RDONLY : O_WRONLY))
		return -EBADF;
	if (S_ISFIFO(st.st_mode) || (S_ISCHR(st.st_mode) && isatty(fd))) {
		copy = reopen(fd, write);
		if (copy >= 0)
			return leave(fd, copy);
		if (!(flags & O_NONBLOCK)) {
			if (fd_set_nonblock(fd, true) < 0)
				return -errno;
			changed[write] = fd;
		}
	}
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return -errno;
	if (changed[write] != fd)
		return leave(fd, copy);
	/* It stays, to be put back: for us, and not for a command that we start. */
	fd_set_cloexec(fd, fd > STDERR_FILENO);
	return copy;
}

void inherit_restore(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(changed); i++) {
		if (changed[i] >= 0)
			fd_set_nonblock(changed[i], false);
		changed[i] = -1;
	}
}

void inherit_open_missing(void)
{
	static const int flags[] = { O_RDONLY, O_RDONLY, O_WRONLY };

	for (int fd = 0; fd < (int)ARRAY_SIZE(flags); fd++) {
		/* The lowest free descriptor is the one that is missing. */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", flags[fd]) < 0)
			abort();
	}
}

void inherit_ignore_signals(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		before[i] = signal(ignored[i], SIG_IGN);
}

void inherit_restore_signals(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], before[i]);
}
