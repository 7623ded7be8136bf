/* SPDX-License-Identifier: MIT */
/*
 * Forwarding, on and off. One write to ip_forward sets `forwarding` of every interface, and
 * accept_redirects of all; writing it back sets them all to what they are by default on a host, whatever
 * they were. So those that may differ from that are remembered too, and written behind it.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "log.h"
#include "sysctl.h"

#define ROOT "/proc/sys/net/"
#define VALUE_MAX 16 /* a number, and its newline */

struct sysctl_saved {
	char *path;
	char was[VALUE_MAX];
	const char *set; /* what we have written; NULL: the kernel did */
};

/* Without the newline. 0 or -errno. */
static int value_read(const char *path, char value[VALUE_MAX])
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, value, VALUE_MAX - 1);
	if (n < 0)
		return -errno;
	value[n] = '\0';
	value[strcspn(value, "\n")] = '\0';
	return 0;
}

static int value_write(const char *path, const char *value)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return -errno;
	return 0;
}

/* Takes the path over. */
static void save(struct sysctls *s, char *path, const char *was, const char *set)
{
	struct sysctl_saved *saved;

	s->saved = xrealloc(s->saved, (s->count + 1) * sizeof(*s->saved));
	saved = &s->saved[s->count++];
	*saved = (struct sysctl_saved){ .path = path, .set = set };
	strcpy(saved->was, was);
}

/*
 * Remembers DIR/ITEM/NAME of each interface, and of "default", where it is `was`; and writes `set` there
 * unless that is NULL.
 */
static int each_interface(struct sysctls *s, const char *dir, const char *name, const char *was,
			  const char *set)
{
	DIR *items = opendir(dir);
	const struct dirent *item;
	char value[VALUE_MAX];
	int rc = 0;

	if (items == NULL)
		return -errno;
	while (rc == 0 && (item = readdir(items)) != NULL) {
		char *path;

		/* "all" goes with the write that this is done for. */
		if (item->d_name[0] == '.' || strcmp(item->d_name, "all") == 0)
			continue;
		path = xasprintf("%s/%s/%s", dir, item->d_name, name);
		if (value_read(path, value) < 0 || strcmp(value, was) != 0) {
			free(path);
			continue;
		}
		save(s, path, was, set);
		rc = set != NULL ? value_write(path, set) : 0;
		if (rc == -ENOENT) /* the interface has just gone */
			rc = 0;
	}
	closedir(items);
	return rc;
}

/* The one that is put back last is remembered first. */
static int forward_v4(struct sysctls *s)
{
	static const char redirects[] = ROOT "ipv4/conf/all/accept_redirects";
	char value[VALUE_MAX];
	int rc = value_read(redirects, value);

	if (rc == 0) {
		save(s, xstrdup(redirects), value, NULL);
		rc = each_interface(s, ROOT "ipv4/conf", "forwarding", "1", NULL);
	}
	return rc;
}

static int forward_v6(struct sysctls *s)
{
	int rc = each_interface(s, ROOT "ipv6/conf", "forwarding", "1", NULL);

	/* 2: also where we forward. The routes that were learned stay then. */
	return rc == 0 ? each_interface(s, ROOT "ipv6/conf", "accept_ra", "1", "2") : rc;
}

int sysctls_forward(struct sysctls *s, int family, struct error *err)
{
	const char *path =
		family == AF_INET ? ROOT "ipv4/ip_forward" : ROOT "ipv6/conf/all/forwarding";
	char value[VALUE_MAX];
	int rc = value_read(path, value);

	if (rc == 0 && strcmp(value, "0") != 0)
		return 0;
	if (rc == 0)
		rc = family == AF_INET ? forward_v4(s) : forward_v6(s);
	if (rc == 0)
		rc = value_write(path, "1");
	if (rc < 0)
		return error_set(err,
				 rc == -ENOENT ? REASON_UNSUPPORTED
				 : rc == -EPERM || rc == -EACCES || rc == -EROFS ? REASON_DENIED
										 : REASON_INTERNAL,
				 -rc, "cannot turn forwarding on: %s: %s", path, errno_text(-rc));
	save(s, xstrdup(path), value, "1");
	log_debug(NULL, "%s: on", path);
	return 0;
}

void sysctls_restore(struct sysctls *s)
{
	char value[VALUE_MAX];

	while (s->count > 0) {
		struct sysctl_saved *saved = &s->saved[--s->count];
		int rc = value_read(saved->path, value);

		if (rc == 0 && strcmp(value, saved->was) != 0 &&
		    (saved->set == NULL || strcmp(value, saved->set) == 0))
			rc = value_write(saved->path, saved->was);
		if (rc < 0 && rc != -ENOENT)
			log_warning(NULL, "%s: cannot be put back to %s: %s", saved->path,
				    saved->was, errno_text(-rc));
		free(saved->path);
	}
	free(s->saved);
	*s = (struct sysctls){ 0 };
}
