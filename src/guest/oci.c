/* SPDX-License-Identifier: MIT */
/*
 * runc (and what follows its libcontainer) keeps ROOT/ID/state.json, crun ROOT/ID/status. Both
 * name the container's init and when it began, so that a number that was given to another
 * process since is not mistaken for it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>

#include "lib/rpc.h"
#include "netns.h"
#include "oci.h"

#define STATE_SIZE_MAX (1024u * 1024)

static const struct {
	const char *file, *pid, *start;
} layouts[] = {
	{ "state.json", "init_process_pid", "init_process_start" }, /* runc */
	{ "status", "pid", "process-start-time" },                  /* crun */
};

int oci_state_parse(const char *text, size_t length, struct oci_state *state, struct error *err)
{
	_cleanup_json_ json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	json_int_t pid = 0, start = 0;

	for (size_t i = 0; i < ARRAY_SIZE(layouts) && pid == 0; i++) {
		pid = json_integer_value(json_object_get(root, layouts[i].pid));
		start = json_integer_value(json_object_get(root, layouts[i].start));
	}
	if (root == NULL)
		return error_set(err, REASON_NOT_RUNNING, 0, "malformed state");
	if (pid <= 0 || pid != (pid_t)pid || start < 0)
		return error_set(err, REASON_NOT_RUNNING, 0, "has no process");
	state->pid = (pid_t)pid;
	state->start = (uint64_t)start;
	return 0;
}

/* All of the file, at most STATE_SIZE_MAX bytes. 0 or -errno. */
static int file_read(int fd, char **text, size_t *length)
{
	_cleanup_free_ char *buf = NULL;
	size_t have = 0, size = 0;

	for (;;) {
		ssize_t n;

		if (have == size) {
			if (size == STATE_SIZE_MAX)
				return -EFBIG;
			size = size == 0 ? 16384 : size * 2;
			buf = xrealloc(buf, size);
		}
		n = read(fd, buf + have, size - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	*text = buf;
	buf = NULL;
	*length = have;
	return 0;
}

static int state_error(struct error *err, const char *id, int sys_errno)
{
	if (sys_errno == ENOENT || sys_errno == ENOTDIR)
		return error_set(err, REASON_NOT_FOUND, sys_errno, "no such container \"%s\"", id);
	if (sys_errno == EFBIG)
		return error_set(err, REASON_NOT_RUNNING, sys_errno,
				 "container %s: malformed state", id);
	netns_error(err, sys_errno, "state");
	return error_prefix(err, "container %s", id);
}

int oci_state_read(const char *root, const char *id, struct oci_state *state, struct error *err)
{
	const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW;
	_cleanup_close_ int rootfd = open(root, O_RDONLY | O_CLOEXEC | O_DIRECTORY), dirfd = -1,
			    fd = -1;
	_cleanup_free_ char *text = NULL;
	size_t length = 0;
	int rc;

	if (rootfd >= 0)
		dirfd = openat(rootfd, id, flags | O_DIRECTORY);
	if (dirfd < 0)
		return state_error(err, id, errno);
	for (size_t i = 0; i < ARRAY_SIZE(layouts) && fd < 0; i++) {
		fd = openat(dirfd, layouts[i].file, flags);
		if (fd < 0 && errno != ENOENT)
			break;
	}
	if (fd < 0)
		return state_error(err, id, errno);
	rc = file_read(fd, &text, &length);
	if (rc < 0)
		return state_error(err, id, -rc);
	rc = oci_state_parse(text, length, state, err);
	if (rc < 0)
		error_prefix(err, "container %s", id);
	return rc;
}
