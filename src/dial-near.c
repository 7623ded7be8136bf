/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <unistd.h>

#include "dial-near.h"
#include "lib/inherit.h"

static int inherit(int fd, bool writes, const char *name, int *own, struct error *err)
{
	int rc = inherit_open(fd, writes);

	*own = rc;
	if (rc >= 0)
		return 0;
	return error_set(err, rc == -EMFILE || rc == -ENFILE ? REASON_EXHAUSTED : REASON_INVALID,
			 -rc, "%s: %s", name, errno_text(-rc));
}

int near_open(struct relay_end_config *near, int stream_fd, struct error *err)
{
	int rc;

	if (stream_fd >= 0) {
		rc = inherit(stream_fd, false, "--stream-fd", &near->rfd, err);
		near->wfd = near->rfd;
		return rc;
	}
	rc = inherit(STDIN_FILENO, false, "stdin", &near->rfd, err);
	return rc < 0 ? rc : inherit(STDOUT_FILENO, true, "stdout", &near->wfd, err);
}

void near_close(struct relay_end_config *near)
{
	if (near->wfd >= 0 && near->wfd != near->rfd)
		close(near->wfd);
	if (near->rfd >= 0)
		close(near->rfd);
}
