/* SPDX-License-Identifier: MIT */
/*
 * DOC: Theory of Operation
 *
 * What the terminal sends (^C, ^\, a new size, its hang-up) it sends to the whole process group in the foreground, so
 * that the program has it already; what somebody sends by kill(2) to our pid, the program has not. The kernel says
 * which it is in si_code (sigaction(2): SI_KERNEL), hence a handler of our own and not libevent's. A signal
 * that somebody sends to the whole group comes to the program twice; nothing tells that apart.
 *
 * SIGCHLD only wakes: every time that something comes, the program is asked for. So a full pipe, which
 * drops signals, does not lose its end.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "lib/inherit.h"
#include "lib/sock.h"
#include "foreground.h"
#include "signals.h"

static const int numbers[] = {
	SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH
};
static_assert(ARRAY_SIZE(numbers) == FOREGROUND_SIGNALS, "what was there before, for each");

struct caught {
	int number;
	bool terminal; /* it was sent to our process group */
};

/* The handler's side of the pipe: all that a handler can reach. */
static volatile sig_atomic_t handler_fd = -1;

static void on_signal(int number, siginfo_t *info, void *context)
{
	struct caught caught = { .number = number };
	int before = errno;

	(void)context;
#ifdef SI_KERNEL
	caught.terminal = info->si_code == SI_KERNEL;
#else
	caught.terminal = info->si_pid == 0;
#endif
	if (write(handler_fd, &caught, sizeof(caught)) < 0)
		errno = before;
}

static void look_for_end(struct foreground *fg)
{
	int status;

	if (fg->pid == 0 || waitpid(fg->pid, &status, WNOHANG) != fg->pid)
		return;
	fg->pid = 0;
	fg->status = status;
	fg->gone(fg->arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct foreground *fg = arg;
	struct caught caught;

	(void)what;
	while (read(fd, &caught, sizeof(caught)) == (ssize_t)sizeof(caught)) {
		if (caught.number == SIGCHLD)
			continue;
		if (fg->pid == 0)
			fg->signalled(fg->arg);
		else if (!caught.terminal)
			kill(fg->pid, caught.number);
	}
	look_for_end(fg);
}

int foreground_init(struct foreground *fg, struct loop *loop, void (*gone)(void *arg),
		    void (*signalled)(void *arg), void *arg, struct error *err)
{
	struct sigaction action = { .sa_sigaction = on_signal,
				    .sa_flags = SA_SIGINFO | SA_RESTART };

	fg->gone = gone;
	fg->signalled = signalled;
	fg->arg = arg;
	fg->loop = loop;
	if (pipe(fg->pipe) < 0)
		return error_set(err, REASON_EXHAUSTED, errno, "%s", errno_text(errno));
	for (int i = 0; i < 2; i++) {
		fd_set_cloexec(fg->pipe[i], true);
		fd_set_nonblock(fg->pipe[i], true);
	}
	fg->event = event_new(loop->base, fg->pipe[0], EV_READ | EV_PERSIST, on_readable, fg);
	if (fg->event == NULL || event_add(fg->event, NULL) < 0)
		return error_set(err, REASON_EXHAUSTED, ENOMEM, "%s", errno_text(ENOMEM));
	handler_fd = fg->pipe[1];
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < FOREGROUND_SIGNALS; i++) {
		sigaction(numbers[i], NULL, &fg->before[i]);
		/* A SIGCHLD that is ignored would have the program reaped by nobody. */
		if (fg->before[i].sa_handler != SIG_IGN || numbers[i] == SIGCHLD)
			sigaction(numbers[i], &action, NULL);
	}
	return 0;
}

static void signals_restore(const struct foreground *fg)
{
	for (size_t i = 0; i < FOREGROUND_SIGNALS; i++)
		sigaction(numbers[i], &fg->before[i], NULL);
}

/* In the child, all signals blocked: only async-signal-safe calls. */
static _Noreturn void start(const struct foreground *fg, char *const *argv, const sigset_t *mask,
			    int report)
{
	int rc;

	signals_restore(fg);
	inherit_restore_signals();
	fd_limit_restore();
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(argv[0], argv);
	rc = errno;
	if (write(report, &rc, sizeof(rc)) < 0)
		_exit(126);
	_exit(127);
}

int foreground_start(struct foreground *fg, char *const *argv)
{
	int report[2], rc = 0;
	sigset_t all, mask;
	ssize_t n;

	if (pipe(report) < 0)
		return -errno;
	fd_set_cloexec(report[0], true);
	fd_set_cloexec(report[1], true);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &mask);
	fg->pid = fork();
	if (fg->pid == 0)
		start(fg, argv, &mask, report[1]);
	if (fg->pid < 0) {
		rc = errno;
		fg->pid = 0;
	}
	sigprocmask(SIG_SETMASK, &mask, NULL);
	close(report[1]);
	if (rc == 0) {
		/* A successful exec closes it, and a program that dies before that. */
		do
			n = read(report[0], &rc, sizeof(rc));
		while (n < 0 && errno == EINTR);
		if (n == (ssize_t)sizeof(rc)) {
			waitpid(fg->pid, NULL, 0);
			fg->pid = 0;
		} else {
			rc = 0;
		}
	}
	close(report[0]);
	return -rc;
}

int foreground_follow(const struct foreground *fg)
{
	const struct rlimit no_core = { 0 };

	if (!WIFSIGNALED(fg->status))
		return WEXITSTATUS(fg->status);
	/* It has left a core file of its own, if any. */
	setrlimit(RLIMIT_CORE, &no_core);
#ifdef __linux__
	prctl(PR_SET_DUMPABLE, 0);
#endif
	signals_die(WTERMSIG(fg->status));
	return 128 + WTERMSIG(fg->status); /* the first process of a PID namespace doesn't die */
}

void foreground_clear(struct foreground *fg)
{
	if (fg->event == NULL)
		return;
	signals_restore(fg);
	handler_fd = -1;
	event_free(fg->event);
	fg->event = NULL;
	close(fg->pipe[0]);
	close(fg->pipe[1]);
}
