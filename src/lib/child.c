/* SPDX-License-Identifier: MIT */
/* Starting and ending the command of an exec: endpoint. */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "sock.h"

/* How long the end of its stdin may take to end it; and how long SIGTERM may. */
#define EOF_MS 100
#define TERM_MS 200

#ifndef HAVE_CLOSEFROM
#define FD_MOST 65536 /* that are closed one by one: more would take long */
#endif

/* All but stdin, stdout and stderr, by system calls alone. */
static void descriptors_close(void)
{
#ifdef HAVE_CLOSEFROM
	closefrom(STDERR_FILENO + 1);
#else
	struct rlimit limit = { .rlim_cur = FD_MOST };

#ifdef SYS_close_range
	if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, 0) == 0)
		return;
#endif
	getrlimit(RLIMIT_NOFILE, &limit);
	for (int fd = STDERR_FILENO + 1; fd < FD_MOST && (rlim_t)fd < limit.rlim_cur; fd++)
		close(fd);
#endif
}

/* In the child of vfork(2), all signals blocked: only system calls, and nothing of ours is written to. */
static _Noreturn void child_exec(const char *command, int fd, const sigset_t *mask)
{
	/* Ours are handlers that wake the parent's loop, and SIGPIPE and SIGXFSZ are ignored. */
	static const int signals[] = { SIGPIPE, SIGXFSZ, SIGINT, SIGTERM, SIGHUP, SIGCHLD };

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	setpgid(0, 0);
	if (dup2(fd, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0)
		_exit(126);
	/*
	 * Also those of ours: close-on-exec closes them too late, since vfork(2) ends before, and what the parent gives back
	 * then, as a port, would be in use for a moment more.
	 */
	descriptors_close();
	fd_limit_restore();
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

int child_start(const char *command, pid_t *group, struct error *err)
{
	sigset_t all, old;
	int sv[2], rc;
	pid_t pid;

	rc = sock_pair(sv);
	if (rc < 0)
		return error_set(err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
	fd_set_nonblock(sv[1], false);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	/* Not fork(2): until a child of that execs, it would keep what we close meanwhile. */
	pid = vfork();
	rc = errno;
	if (pid == 0)
		child_exec(command, sv[1], &old);
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(sv[1]);
	if (pid < 0) {
		close(sv[0]);
		return error_set(err, REASON_EXHAUSTED, rc, "%s", errno_text(rc));
	}
	setpgid(pid, pid); /* in both, whoever comes first */
	*group = pid;
	return sv[0];
}

struct reaper {
	struct loop *loop;
	struct loop_task task;
	pid_t group;
	bool reaped;     /* its first process, which is our child */
	bool terminated; /* SIGTERM was sent */
	int64_t limit;
};

/*
 * True when nobody of the group is left. While any process is in it, its number is not given
 * to another one, so that it is safe to ask for it also after the first process was reaped.
 */
static bool group_is_gone(struct reaper *reaper)
{
	if (!reaper->reaped)
		reaper->reaped = waitpid(reaper->group, NULL, WNOHANG) != 0;
	return reaper->reaped && kill(-reaper->group, 0) < 0 && errno == ESRCH;
}

/* True when nothing more can be done: killed, or it may not be, having become another user. */
static bool group_is_told(struct reaper *reaper)
{
	if (now_ms() < reaper->limit)
		return false;
	if (reaper->terminated)
		/* Others than our own child may take their time to be reaped, by whoever does that. */
		return kill(-reaper->group, SIGKILL) < 0 || reaper->reaped;
	reaper->terminated = true;
	reaper->limit = now_ms() + TERM_MS;
	return kill(-reaper->group, SIGTERM) < 0;
}

static void reaper_run(void *arg)
{
	struct reaper *reaper = arg;

	if (group_is_gone(reaper) || group_is_told(reaper))
		free(reaper);
	else
		loop_later(reaper->loop, &reaper->task, LOOP_SWEEP_MS, reaper_run, reaper);
}

void child_end(struct loop *loop, pid_t group)
{
	struct reaper *reaper;

	if (group <= 0)
		return;
	reaper = xcalloc(1, sizeof(*reaper));
	*reaper = (struct reaper){ .loop = loop, .group = group, .limit = now_ms() + EOF_MS };
	reaper_run(reaper);
}
