/* SPDX-License-Identifier: MIT */
/*
 * The folder is looked up as the pod would (see dial-unix.c, for the policy too), and what is done in it goes by its
 * descriptor, so that nothing that the pod does to the path meanwhile leads elsewhere.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "accept-unix.h"
#include "dial-unix.h"

#define MODE 0666 /* as a port, it is there for all of the pod */

static int listen_error(struct error *err, enum reason reason, int sys_errno, const char *path)
{
	/* A pod that has no such folder has not gone. */
	if (reason == REASON_NOT_FOUND)
		reason = REASON_REFUSED;
	return error_set(err, reason, sys_errno, "cannot listen on %s in the pod: %s", path,
			 errno_text(sys_errno));
}

/* The folder that the path's last name is in. */
static int open_folder(struct netns *ns, const struct policy *policy, const char *path,
		       const char *name, struct error *err)
{
	_cleanup_close_ int root = netns_open_root(ns, err), folder = -1;
	_cleanup_free_ char *above = xstrndup(path, (size_t)(name - path));

	if (root < 0)
		return root;
	folder = netns_open_in_root(root, above, O_PATH | O_DIRECTORY);
	if (folder < 0)
		return listen_error(err, REASON_REFUSED, -folder, path);
	if (dial_unix_check_place(policy, root, folder, name, path, err) < 0)
		return -EPROTO;
	return steal_fd(&folder);
}

int accept_unix_root(struct netns *ns, struct netns_id *root, struct error *err)
{
	_cleanup_close_ int fd = netns_open_root(ns, err);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) == 0)
		*root = (struct netns_id){ st.st_dev, st.st_ino };
	return 0;
}

/* By a descriptor: the pod may put a link in its place, to a file that is none of its own. */
static void make_public(const struct accept_unix *place, const char *name)
{
	_cleanup_close_ int fd = openat(place->folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
		chmod(path, MODE);
}

int accept_unix_open(struct accept_unix *place, struct netns *ns, const struct policy *policy,
		     const char *path, struct error *err)
{
	const char *name = strrchr(path, '/') + 1;
	int fd;

	place->folder = -1;
	if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return error_set(err, REASON_INVALID, EISDIR, "%s: is a folder", path);
	if (dial_unix_allowed(policy, path, err) < 0)
		return -EPROTO;
	place->folder = open_folder(ns, policy, path, name, err);
	if (place->folder < 0)
		return -EPROTO;
	place->path = xasprintf("/proc/self/fd/%d/%s", place->folder, name);
	fd = sock_listen_unix(place->path, err);
	if (fd < 0)
		return listen_error(err, err->reason, err->sys_errno, path);
	place->file = sock_file_of(place->path);
	make_public(place, name);
	return fd;
}

void accept_unix_close(struct accept_unix *place)
{
	if (place->path != NULL)
		sock_file_unlink(&place->file, place->path);
	if (place->path != NULL && place->folder >= 0)
		close(place->folder);
	free(place->path);
	place->path = NULL;
}
