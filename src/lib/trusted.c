/* SPDX-License-Identifier: MIT */
/*
 * Opens folders and files that others can't have written.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "trusted.h"

char *run_path(const char *name, struct error *err)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		return xasprintf("/run/vzfwd/%s", name);
	if (runtime != NULL && runtime[0] == '/')
		return xasprintf("%s/vzfwd/%s", runtime, name);
	error_set(err, REASON_INVALID, EINVAL, "XDG_RUNTIME_DIR is not set");
	return NULL;
}

/* Parents need not be readable, where the system can open them without. */
#ifdef O_PATH
#define DIR_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#else
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#endif

int trusted_error(struct error *err, int sys_errno, const char *path)
{
	return error_set(err, reason_of_file(sys_errno), sys_errno, "%s: %s", path,
			 sys_errno == ELOOP /* O_NOFOLLOW met one */
				 ? "is a symbolic link, which is not followed"
				 : errno_text(sys_errno));
}

bool trusted_owner(const struct stat *st, const char *path, struct error *err)
{
	if (st->st_uid == 0 || st->st_uid == geteuid())
		return true;
	error_set(err, REASON_DENIED, EPERM, "%s: belongs to uid %ju, neither root nor you", path,
		  (uintmax_t)st->st_uid);
	return false;
}

/* In a sticky folder, nobody can replace what isn't theirs. */
static bool is_trusted(const struct stat *st, const char *path, struct error *err)
{
	if (!trusted_owner(st, path, err))
		return false;
	if (!(st->st_mode & (S_IWGRP | S_IWOTH)) || (S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX))
		return true;
	error_set(err, REASON_DENIED, EPERM, "%s: is writable by others (mode %04o)", path,
		  (unsigned)st->st_mode & 07777);
	return false;
}

static bool is_symlink(int parent, const char *name)
{
	struct stat st;

	return fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
}

/* Opens one folder of the walk; makes it with `mode` unless that is 0. `path` leads to it. */
static int open_component(int parent, const char *name, mode_t mode, const char *path,
			  struct error *err)
{
	int fd = openat(parent, name, DIR_FLAGS);
	struct stat st;

	if (fd < 0 && errno == ENOENT && mode) {
		if (mkdirat(parent, name, mode) < 0 && errno != EEXIST)
			return trusted_error(err, errno, path);
		fd = openat(parent, name, DIR_FLAGS);
	}
	if (fd < 0) {
		int sys_errno = errno;

		if (sys_errno == ENOTDIR && is_symlink(parent, name))
			sys_errno = ELOOP;
		return trusted_error(err, sys_errno, path);
	}
	if (fstat(fd, &st) < 0) {
		trusted_error(err, errno, path);
	} else if (is_trusted(&st, path, err)) {
		return fd;
	}
	close(fd);
	return -EPERM;
}

/* The path from /, with a '/' behind it; NULL with *err. */
static char *absolute_path(const char *path, struct error *err)
{
	_cleanup_free_ char *cwd = NULL;

	if (path[0] == '/')
		return xasprintf("%s/", path);
	cwd = getcwd(NULL, 0);
	if (!cwd || cwd[0] != '/') {
		error_set(err, REASON_NOT_FOUND, cwd ? ENOENT : errno, "the current folder: %s",
			  errno_text(cwd ? ENOENT : errno));
		return NULL;
	}
	return xasprintf("%s/%s/", cwd, path);
}

int trusted_open_dir(const char *path, bool create, struct error *err)
{
	_cleanup_free_ char *whole = absolute_path(path, err);
	_cleanup_close_ int fd = -1;
	char *name, *end;
	int readable;

	if (!whole)
		return -ENOENT;
	fd = open_component(AT_FDCWD, "/", 0, "/", err);
	if (fd < 0)
		return fd;
	for (name = whole; *(name += strspn(name, "/")); name = end) {
		_cleanup_free_ char *component = NULL;
		mode_t mode = 0;
		int next;

		end = name + strcspn(name, "/");
		component = xstrndup(name, (size_t)(end - name));
		if (create)
			mode = end[strspn(end, "/")] ? 0755 : 0700;
		*end = '\0';
		next = open_component(fd, component, mode, whole, err);
		*end = '/';
		if (next < 0)
			return next;
		close(fd);
		fd = next;
	}
	readable = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return readable < 0 ? trusted_error(err, errno, path) : readable;
}

int trusted_read_fd(int fd, const char *path, size_t max, char **data, size_t *length,
		    struct error *err)
{
	char *buffer = xmalloc(max + 2);
	size_t have = 0;

	while (have <= max) {
		ssize_t n = read(fd, buffer + have, max + 1 - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int sys_errno = errno;

			free(buffer);
			return trusted_error(err, sys_errno, path);
		}
		if (n == 0)
			break;
		have += (size_t)n;
	}
	buffer[have] = '\0';
	*data = buffer;
	*length = have;
	return 0;
}

int trusted_read(int dir, const char *name, const char *path, size_t max, char **data,
		 size_t *length, struct error *err)
{
	/* Without O_NONBLOCK, opening a FIFO would wait for a writer. */
	_cleanup_close_ int fd =
		openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return trusted_error(err, errno, path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, REASON_DENIED, EPERM, "%s: is not a regular file", path);
	if (!is_trusted(&st, path, err))
		return -EPERM;
	return trusted_read_fd(fd, path, max, data, length, err);
}
