/* SPDX-License-Identifier: MIT */
/* What a service manager gives and is told: sd_listen_fds(3), sd_notify(3). */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/un.h>

#include "log.h"
#include "service.h"
#include "sock.h"

#define LISTEN_FDS_START 3 /* sd_listen_fds(3): the first one; the others follow */

/* As a number of its own; -ENOENT if it is not set, or to nothing. */
static int env_uint(const char *name, uint64_t max, uint64_t *out, struct error *err)
{
	const char *text = getenv(name);
	int rc;

	if (text == NULL || *text == '\0')
		return -ENOENT;
	rc = parse_uint(text, max, out);
	if (rc < 0)
		error_set(err, REASON_INVALID, -rc, "%s: a number is wanted, got \"%s\"", name,
			  text);
	return rc;
}

/* How many descriptors are meant for this process. */
static int listen_fds_count(uint64_t *count, struct error *err)
{
	uint64_t pid;
	int rc;

	*count = 0;
	rc = env_uint("LISTEN_PID", INT_MAX, &pid, err);
	if (rc < 0 || pid != (uint64_t)getpid())
		return rc == -ENOENT ? 0 : rc;
	rc = env_uint("LISTEN_FDS", INT_MAX - LISTEN_FDS_START, count, err);
	return rc == -ENOENT ? 0 : rc;
}

/* Whether it can be served, and prepared if so. */
static int listener_prepare(int fd, struct error *err)
{
	struct sockaddr_storage ss = { 0 };
	int type = 0, listening = 0, rc;
	socklen_t ss_len = sizeof(ss), type_len = sizeof(type), len = sizeof(listening);

	if (getsockname(fd, (struct sockaddr *)&ss, &ss_len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0)
		return error_set(err, REASON_INVALID, errno, "LISTEN_FDS: descriptor %d: %s", fd,
				 errno_text(errno));
	if (ss.ss_family != AF_UNIX || type != SOCK_STREAM || !listening)
		return error_set(err, REASON_INVALID, 0,
				 "LISTEN_FDS: descriptor %d is not a listening Unix stream socket",
				 fd);
	rc = fd_set_cloexec(fd, true);
	if (rc == 0)
		rc = fd_set_nonblock(fd, true);
	return rc < 0 ? error_set(err, REASON_INTERNAL, -rc, "LISTEN_FDS: descriptor %d: %s", fd,
				  errno_text(-rc))
		      : 0;
}

int service_listen_fds(int **fds, size_t *count, struct error *err)
{
	static const char *const names[] = { "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS",
					     "LISTEN_FDNAMES" };
	uint64_t given;
	int rc = listen_fds_count(&given, err);

	*fds = NULL;
	*count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
	/* Memory only for as many as there are, whatever number was given. */
	for (uint64_t i = 0; rc == 0 && i < given; i++)
		rc = listener_prepare(LISTEN_FDS_START + (int)i, err);
	if (rc < 0 || given == 0)
		return rc;
	*fds = xcalloc((size_t)given, sizeof(**fds));
	for (; *count < given; (*count)++)
		(*fds)[*count] = LISTEN_FDS_START + (int)*count;
	return 0;
}

/* Where the manager listens: taken from the environment once, and that is the process's. */
static struct {
	bool taken;
	struct sockaddr_storage ss;
	socklen_t len; /* 0: there is none */
} manager;

static void manager_take(void)
{
	const char *text = getenv("NOTIFY_SOCKET");
	struct sockaddr_un *sun = (struct sockaddr_un *)&manager.ss;
	bool path = text != NULL && text[0] == '/' && text[1] != '\0';
	bool abstract = text != NULL && text[0] == '@' && text[1] != '\0';

	manager.taken = true;
	if ((path || abstract) && sock_unix_address(&manager.ss, &manager.len, text) == 0) {
		if (abstract) { /* unix(7): it starts with a NUL, and its length ends it */
			sun->sun_path[0] = '\0';
			manager.len--;
		}
	} else if (text != NULL && *text != '\0') {
		log_debug(NULL, "NOTIFY_SOCKET: no address: %s", text);
	}
	unsetenv("NOTIFY_SOCKET");
}

void service_notify(const char *state)
{
	_cleanup_close_ int fd = -1;

	if (!manager.taken)
		manager_take();
	if (manager.len == 0)
		return;
	fd = sock_new(AF_UNIX, SOCK_DGRAM, 0);
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&manager.ss,
			     manager.len) < 0)
		log_debug(NULL, "the service manager can't be told %s: %s", state,
			  errno_text(fd < 0 ? -fd : errno));
}
