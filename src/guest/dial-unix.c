/* SPDX-License-Identifier: MIT */
/*
 * Where a path leads in a pod, may it, connect.
 *
 * DOC: Theory of Operation
 *
 * The pod's files are the pod's to arrange: any part of a path may be a symbolic link, and become one while it is
 * looked at. openat2(2) resolves the path as the pod would, with the pod's root folder for "/"
 * (RESOLVE_IN_ROOT), so that neither an absolute link nor ".." leads out of it, and refuses the links of /proc that
 * lead elsewhere without a path (RESOLVE_NO_MAGICLINKS). What comes back is the socket itself, by an O_PATH descriptor:
 * what is checked on it and what is connected to, by /proc/self/fd, is one and the same, whatever happens to its name.
 * That name is short, so the path may be longer than sun_path.
 *
 * The policy is asked twice: for the path that was asked for, before anything is looked up, so that nobody can
 * feel his way through the pod's other files; and for the one that it has led to, so that who may write into a folder
 * with an allowed name can't put a link there that leads to a socket of more power.
 *
 * connect(2) to a Unix socket comes to its end at once. Only a full backlog, for which there is no event, and a
 * file system that was changed under openat2's hands are tried again, until the deadline.
 *
 * All of this happens in the loop, which stands still for as long as a file system on the way does, with no deadline.
 * Those of FUSE, which are at the mercy of a process, don't let in who is not in the user namespace that mounted them
 * (Linux, Documentation/filesystems/fuse.rst), so a container that has one of its own can't hang it. One that may
 * mount (CAP_SYS_ADMIN and /dev/fuse) in the dialer's user namespace can, and so does a hard NFS mount without its
 * server: vzfwd-guest(8) tells.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/sock.h"
#include "dial-unix.h"

#define PAUSE_MIN_MS 10
#define PAUSE_MAX_MS 200

struct dial_unix {
	struct loop *loop;
	const struct policy *policy;
	char *path;
	int root;      /* the pod's, O_PATH */
	int64_t end;   /* now_ms() of the deadline */
	int64_t pause; /* before the next attempt, ms */
	struct loop_task again;
	dial_unix_cb cb;
	void *arg;
};

int dial_unix_allowed(const struct policy *policy, const char *path, struct error *err)
{
	if (policy_allows_unix(policy, path))
		return 0;
	return error_set(err, REASON_DENIED, 0, "%s is not allowed; see --allow-unix", path);
}

/* An errno on the way to the socket. */
static int unix_error(struct error *err, int sys_errno)
{
	enum reason reason;

	switch (sys_errno) {
	case ENOENT:
	case ENOTDIR:
	case ENOTSOCK:
	case EPROTOTYPE: /* a socket, but none of SOCK_STREAM */
		reason = REASON_REFUSED;
		break;
	case ELOOP: /* a link of /proc, or too many */
	case EXDEV:
		reason = REASON_DENIED;
		break;
	case ENAMETOOLONG:
		reason = REASON_INVALID;
		break;
	case ENOSYS: /* Linux before 5.6 */
		reason = REASON_UNSUPPORTED;
		break;
	default:
		return error_set_connect(err, sys_errno);
	}
	return error_set(err, reason, sys_errno, "%s", errno_text(sys_errno));
}

int dial_unix_check_place(const struct policy *policy, int root, int fd, const char *name,
			  const char *asked, struct error *err)
{
	_cleanup_free_ char *place = netns_place(root, fd, name, err);

	if (place == NULL)
		return -EPROTO;
	if (!policy_allows_unix(policy, place))
		return error_set(err, REASON_DENIED, 0,
				 "%s leads to %s, which is not allowed; see --allow-unix", asked,
				 place);
	return 0;
}

/* The socket, allowed (O_PATH), or a negative number with *err; -EAGAIN: try again. */
static int socket_open(const struct dial_unix *dial, struct error *err)
{
	_cleanup_close_ int fd = netns_open_in_root(dial->root, dial->path, O_PATH);
	struct stat st;

	if (fd < 0)
		return unix_error(err, -fd);
	if (fstat(fd, &st) < 0)
		return unix_error(err, errno);
	if (st.st_nlink == 0) /* removed just now: it has no path any more */
		return unix_error(err, ENOENT);
	if (dial_unix_check_place(dial->policy, dial->root, fd, NULL, dial->path, err) < 0)
		return -EPROTO;
	if (!S_ISSOCK(st.st_mode))
		return unix_error(err, ENOTSOCK);
	return steal_fd(&fd);
}

/* A connected socket, or a negative number with *err; -EAGAIN: try again. */
static int attempt(const struct dial_unix *dial, struct error *err)
{
	_cleanup_close_ int target = socket_open(dial, err), fd = -1;
	struct sockaddr_storage ss;
	socklen_t len;
	char path[32];

	if (target < 0)
		return target;
	fd = sock_new(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0)
		return error_set_connect(err, -fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	sock_unix_address(&ss, &len, path);
	if (connect(fd, (struct sockaddr *)&ss, len) < 0)
		return unix_error(err, errno);
	return steal_fd(&fd);
}

static void dial_unix_free(struct dial_unix *dial)
{
	loop_cancel(&dial->again);
	if (dial->root >= 0)
		close(dial->root);
	free(dial->path);
	free(dial);
}

static void finish(struct dial_unix *dial, int fd, const struct error *err)
{
	dial->cb(fd, fd >= 0 ? dial->path : NULL, fd >= 0 ? NULL : err, dial->arg);
	dial_unix_free(dial);
}

static void try_again(void *arg);

/* True if it is to go on; else it is over, and freed. */
static bool try(struct dial_unix *dial)
{
	struct error err;
	int fd = attempt(dial, &err);
	int64_t left = dial->end - now_ms();

	if (fd != -EAGAIN || left <= 0) {
		if (fd == -EAGAIN)
			error_set_connect(&err, ETIMEDOUT);
		finish(dial, fd < 0 ? -1 : fd, &err);
		return false;
	}
	loop_later(dial->loop, &dial->again, dial->pause < left ? dial->pause : left, try_again,
		   dial);
	dial->pause = dial->pause * 2 < PAUSE_MAX_MS ? dial->pause * 2 : PAUSE_MAX_MS;
	return true;
}

static void try_again(void *arg)
{
	try(arg);
}

struct dial_unix *dial_unix_start(struct loop *loop, struct netns *ns, const struct policy *policy,
				  const char *path, int timeout_ms, dial_unix_cb cb, void *arg)
{
	struct dial_unix *dial = xcalloc(1, sizeof(*dial));
	struct error err;

	*dial = (struct dial_unix){ .loop = loop,
				    .policy = policy,
				    .path = xstrdup(path),
				    .root = netns_open_root(ns, &err),
				    .end = now_ms() + timeout_ms,
				    .pause = PAUSE_MIN_MS,
				    .cb = cb,
				    .arg = arg };
	netns_close(ns);
	if (dial->root >= 0)
		return try(dial) ? dial : NULL;
	finish(dial, -1, &err);
	return NULL;
}

void dial_unix_cancel(struct dial_unix *dial)
{
	dial_unix_free(dial);
}
