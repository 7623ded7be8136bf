/* SPDX-License-Identifier: MIT */
/* Mounts of a sandbox: mount_namespaces(7). */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "mounts.h"

#define RESOLVER "/etc/resolv.conf"
#define FOLDER "/etc" /* the one that it is in */

static int failed(struct error *err, const char *what)
{
	int sys_errno = errno;

	return error_set(
		err, sys_errno == EPERM || sys_errno == EACCES ? REASON_DENIED : REASON_INTERNAL,
		sys_errno, "%s: %s", what, errno_text(sys_errno));
}

int mounts_unshare(struct error *err)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return failed(err, "cannot make a mount namespace");
	return 0;
}

static int remount_read_only(const char *path)
{
	return mount(NULL, path, NULL,
		     MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

int mounts_protect_sysctls(struct error *err)
{
	static const char path[] = "/proc/sys";

	if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0)
		return errno == ENOENT ? 0 : failed(err, "cannot protect /proc/sys");
	return remount_read_only(path) < 0 ? failed(err, "cannot protect /proc/sys") : 0;
}

/* The text of the file. Without "search ." glibc searches the domain that the machine's name may have. */
static int resolver_write(int fd, const struct address *servers, size_t count)
{
	char text[INET6_ADDRSTRLEN];

	for (size_t i = 0; i < count; i++) {
		inet_ntop(servers[i].family, &servers[i].v4, text, sizeof(text));
		if (dprintf(fd, "nameserver %s\n", text) < 0)
			return -1;
	}
	return dprintf(fd, "search .\n");
}

/* /etc/resolv.conf itself, and not what it leads to. */
static int place_open(void)
{
	int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, fd = open(RESOLVER, flags);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	fd = open(RESOLVER, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return fd;
	close(fd);
	return open(RESOLVER, flags);
}

/* With a tmpfs over /etc for a moment: writes the file there and mounts it in the place beneath. */
static int resolver_mount(const char *place, const struct address *servers, size_t count)
{
	_cleanup_close_ int fd = open(RESOLVER, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	/* Whatever the umask is. */
	if (fd < 0 || fchmod(fd, 0644) < 0 || resolver_write(fd, servers, count) < 0)
		return -1;
	return mount(RESOLVER, place, NULL, MS_BIND, NULL);
}

int mounts_resolver(const struct address *servers, size_t count, struct error *err)
{
	_cleanup_close_ int place = place_open();
	char path[40];
	int rc, saved;

	if (place < 0)
		return failed(err, "--dns: " RESOLVER);
	/* By its descriptor it can be mounted on also if it is a link. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", place);
	if (mount("tmpfs", FOLDER, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "mode=0755,size=64k") < 0)
		return failed(err, "--dns: cannot mount a tmpfs");
	rc = resolver_mount(path, servers, count);
	saved = errno;
	if (umount2(FOLDER, MNT_DETACH) < 0)
		return failed(err, "--dns: cannot unmount the tmpfs");
	errno = saved;
	if (rc < 0 || remount_read_only(RESOLVER) < 0)
		return failed(err, "--dns: cannot mount " RESOLVER);
	return 0;
}
