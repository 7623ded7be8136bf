/* SPDX-License-Identifier: MIT */
/*
 * Connecting to a dialer: what each errno means (AF_VSOCK is never opened here: the
 * mapping is all there is to test without a VM), full backlogs, replies of a VMM, commands, and
 * cancelling at any time.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/child.h"
#include "lib/sock.h"
#include "lib/transport.h"
#include "tap.h"

static char folder[] = "/tmp/vzfwd-test-transport.XXXXXX";

static char *in_folder(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static void test_errnos(void)
{
	static const struct {
		const char *endpoint;
		int sys_errno;
		enum reason reason;
		const char *message;
	} cases[] = {
		{ "vsock://7", ECONNRESET, REASON_UNREACHABLE,
		  "nobody listens on vsock port 893 of CID 7" },
		{ "vsock://7:52", ECONNRESET, REASON_UNREACHABLE,
		  "nobody listens on vsock port 52 of CID 7" },
		{ "vsock://7", ECONNREFUSED, REASON_UNREACHABLE,
		  "nobody listens on vsock port 893 of CID 7" },
		{ "vsock://7", ENODEV, REASON_UNREACHABLE, "no virtual machine has CID 7" },
		{ "vsock://7", EAFNOSUPPORT, REASON_UNSUPPORTED, "this system has no vsock" },
		{ "vsock://7", ETIMEDOUT, REASON_TIMEOUT, "connecting to the dialer timed out" },
		{ "vsock://7", EACCES, REASON_DENIED, "permission denied" },
		{ "vsock://7", EPERM, REASON_DENIED, "operation not permitted" },
		{ "vsock://7", EMFILE, REASON_EXHAUSTED, "too many open files" },
		{ "vsock://7", ENFILE, REASON_EXHAUSTED, "too many open files in system" },
		{ "vsock://7", ENOBUFS, REASON_EXHAUSTED, "no buffer space available" },
		{ "vsock://7", ENOMEM, REASON_EXHAUSTED, "cannot allocate memory" },
		{ "vsock://7", ENETUNREACH, REASON_UNREACHABLE, "network is unreachable" },
		{ "vsock://7", EHOSTUNREACH, REASON_UNREACHABLE, "no route to host" },
		{ "vsock://7", EPIPE, REASON_UNREACHABLE, "broken pipe" },
		{ "unix:///run/x", ECONNREFUSED, REASON_UNREACHABLE, "nobody listens on /run/x" },
		{ "unix:///run/x", ECONNRESET, REASON_UNREACHABLE, "nobody listens on /run/x" },
		{ "unix:///run/x", ENOENT, REASON_UNREACHABLE, "/run/x: no such socket" },
		{ "unix:///run/x", ENOTDIR, REASON_UNREACHABLE, "/run/x: no such socket" },
		{ "unix:///run/x", EACCES, REASON_DENIED, "/run/x: permission denied" },
		{ "unix:///run/x", EAGAIN, REASON_TIMEOUT, "connecting to the dialer timed out" },
		{ "hvsock:///run/x:5", EPERM, REASON_DENIED, "/run/x: operation not permitted" },
		{ "hvsock:///run/x:5", ENOENT, REASON_UNREACHABLE, "/run/x: no such socket" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *name = errno_name(cases[i].sys_errno);
		struct endpoint ep;
		struct error err;

		is_int(endpoint_parse(&ep, cases[i].endpoint, &err), 0, "%s", cases[i].endpoint);
		ok(transport_connect_error(&ep, cases[i].sys_errno, &err) < 0, "%s: negative",
		   name);
		is_str(reason_name(err.reason), reason_name(cases[i].reason), "%s: reason", name);
		is_str(err.message, cases[i].message, "%s: text", name);
		is_int(err.sys_errno, cases[i].sys_errno == EAGAIN ? ETIMEDOUT : cases[i].sys_errno,
		       "%s: errno", name);
		endpoint_clear(&ep);
	}
}

/* One transport under test: its endpoint, and what it came to. */
struct attempt {
	struct loop loop;
	struct endpoint ep;
	struct transport *transport;
	int calls, fd;
	pid_t child;
	bool failed;
	struct error err;
};

static void attempt_done(int fd, pid_t child, const struct error *err, void *arg)
{
	struct attempt *a = arg;

	a->calls++;
	a->fd = fd;
	a->child = child;
	a->failed = err != NULL;
	if (err != NULL)
		a->err = *err;
	loop_stop(&a->loop);
}

static void attempt_start(struct attempt *a, const char *endpoint)
{
	*a = (struct attempt){ .fd = -1 };
	if (endpoint_parse(&a->ep, endpoint, NULL) < 0 || loop_init(&a->loop) < 0)
		abort();
	a->transport = transport_open(&a->loop, &a->ep, attempt_done, a);
	ok(a->calls == 0 ? a->transport != NULL : a->transport == NULL && !a->failed,
	   "%s: called back at once only if connected", endpoint);
}

static void attempt_run(struct attempt *a)
{
	if (a->calls == 0)
		loop_run(&a->loop);
}

static void attempt_clear(struct attempt *a)
{
	if (a->fd >= 0)
		close(a->fd);
	child_end(&a->loop, a->child);
	is_int(loop_run(&a->loop), 0, "nothing is left in the loop");
	endpoint_clear(&a->ep);
	loop_clear(&a->loop);
}

static void is_failure(const struct attempt *a, enum reason reason, const char *what)
{
	is_int(a->calls, 1, "%s: called back once", what);
	ok(a->failed && a->fd == -1 && a->child == 0, "%s: failed, nothing is given", what);
	if (a->failed)
		is_str(reason_name(a->err.reason), reason_name(reason), "%s: reason", what);
}

struct acceptance {
	struct loop_task task;
	int listener;
	int accepted[3];
	const char *says;
};

/* Lets all in that wait, and says something to each. */
static void accept_all(void *arg)
{
	struct acceptance *acceptance = arg;

	for (size_t i = 0; i < ARRAY_SIZE(acceptance->accepted); i++) {
		int *fd = &acceptance->accepted[i];

		if (*fd < 0)
			*fd = accept(acceptance->listener, NULL, NULL);
		if (*fd >= 0 &&
		    send(*fd, acceptance->says, strlen(acceptance->says), MSG_NOSIGNAL) < 0)
			diag("send: %s", strerror(errno));
	}
}

static void acceptance_clear(struct acceptance *acceptance)
{
	for (size_t i = 0; i < ARRAY_SIZE(acceptance->accepted); i++) {
		if (acceptance->accepted[i] >= 0)
			close(acceptance->accepted[i]);
	}
	close(acceptance->listener);
}

static void stop(void *arg)
{
	loop_stop(arg);
}

static struct acceptance listen_on(const char *path, int backlog, const char *says)
{
	struct acceptance acceptance = { .listener = sock_listen_unix(path, NULL),
					 .accepted = { -1, -1, -1 },
					 .says = says };

	if (acceptance.listener < 0 || listen(acceptance.listener, backlog) < 0)
		abort();
	return acceptance;
}

/* A connection that waits in the backlog. */
static int crowd(const char *path)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd = sock_new(AF_UNIX, SOCK_STREAM, 0);

	sock_unix_address(&ss, &len, path);
	if (connect(fd, (struct sockaddr *)&ss, len) == 0)
		return fd;
	close(fd);
	return -errno;
}

static void test_backlog(void)
{
	_cleanup_free_ char *path = in_folder("backlog"), *endpoint = xasprintf("unix://%s", path);
	struct acceptance acceptance = listen_on(path, 0, "hello");
	int first = crowd(path);
	struct attempt a;
	int64_t begin;
	char buf[8];

	ok(first >= 0, "the backlog takes one");
	is_int(crowd(path), -EAGAIN, "and no other");
	begin = now_ms();
	attempt_start(&a, endpoint);
	loop_later(&a.loop, &acceptance.task, 150, accept_all, &acceptance);
	attempt_run(&a);
	ok(!a.failed && a.fd >= 0, "connected as soon as there is room");
	ok(now_ms() - begin >= 150, "and not before");
	fd_set_nonblock(acceptance.listener, true);
	accept_all(&acceptance);
	is_int(recv(a.fd, buf, sizeof(buf), MSG_DONTWAIT), 5, "to the one who listens");
	attempt_clear(&a);
	close(first);
	acceptance_clear(&acceptance);
	unlink(path);
}

static void test_hvsock(void)
{
	static const struct {
		const char *says;
		bool good;
		enum reason reason;
		const char *behind;
	} cases[] = {
		{ "OK 5\n", true, 0, "" },
		{ "OK 4294967295\nbehind\nit", true, 0, "behind\nit" },
		{ "OK 0\nOK 1\n", true, 0, "OK 1\n" },
		{ "OK\n", false, REASON_INTERNAL, NULL },
		{ "OK 4294967296\n", false, REASON_INTERNAL, NULL },
		{ "OK 1 2\n", false, REASON_INTERNAL, NULL },
		{ "\n", false, REASON_INTERNAL, NULL },
		{ "no\n", false, REASON_INTERNAL, NULL },
	};
	_cleanup_free_ char *path = in_folder("hvsock"),
			    *endpoint = xasprintf("hvsock://%s:52", path);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct acceptance acceptance = listen_on(path, 8, cases[i].says);
		struct attempt a;
		char buf[32] = "";

		fd_set_nonblock(acceptance.listener, true);
		attempt_start(&a, endpoint);
		loop_later(&a.loop, &acceptance.task, 1, accept_all, &acceptance);
		attempt_run(&a);
		if (cases[i].good) {
			ok(!a.failed && a.fd >= 0, "%zu: connected", i);
			if (recv(a.fd, buf, sizeof(buf) - 1, MSG_DONTWAIT) < 0)
				is_int(errno, EAGAIN, "%zu: nothing is behind it", i);
			is_str(buf, cases[i].behind, "%zu: what is behind it is still there", i);
		} else {
			is_failure(&a, cases[i].reason, cases[i].says);
		}
		memset(buf, 0, sizeof(buf));
		is_int(recv(acceptance.accepted[0], buf, sizeof(buf) - 1, MSG_DONTWAIT), 11,
		       "%zu: the request", i);
		is_str(buf, "CONNECT 52\n", "%zu: the request", i);
		attempt_clear(&a);
		acceptance_clear(&acceptance);
	}
	unlink(path);
}

static void test_failures(void)
{
	_cleanup_free_ char *path = in_folder("nothing"), *endpoint = xasprintf("unix://%s", path);
	struct attempt a;

	attempt_start(&a, endpoint);
	attempt_run(&a);
	is_failure(&a, REASON_UNREACHABLE, "no socket");
	attempt_clear(&a);

	attempt_start(&a, "fd:9999");
	attempt_run(&a);
	is_failure(&a, REASON_INVALID, "no descriptor");
	attempt_clear(&a);
}

static void test_inherited(void)
{
	_cleanup_free_ char *endpoint = NULL;
	struct attempt a;
	char buf[8];
	int sv[2];

	if (sock_pair(sv) < 0)
		abort();
	endpoint = xasprintf("fd:%d", sv[1]);
	attempt_start(&a, endpoint);
	attempt_run(&a);
	ok(!a.failed && a.fd >= 0 && a.fd != sv[1], "a descriptor of its own");
	is_int(send(sv[0], "hello", 5, 0), 5, "which is the same socket:");
	is_int(recv(a.fd, buf, sizeof(buf), MSG_DONTWAIT), 5, "it gets what is sent");
	attempt_clear(&a);
	is_int(recv(sv[0], buf, sizeof(buf), MSG_DONTWAIT), 0,
	       "and the number that was given holds it no more");
	close(sv[0]);
	close(sv[1]);
}

static void test_command(void)
{
	struct attempt a;
	char buf[8] = "";
	pid_t child;

	attempt_start(&a, "exec:trap '' TERM; read line; echo \"$line\"; exec sleep 1000");
	attempt_run(&a);
	ok(!a.failed && a.fd >= 0 && a.child > 0, "a command is started");
	child = a.child;
	is_int(getpgid(child), child, "in a process group of its own");
	fd_set_nonblock(a.fd, false);
	is_int(send(a.fd, "hello\n", 6, 0), 6, "it is written to");
	is_int(recv(a.fd, buf, 6, MSG_WAITALL), 6, "and answers");
	is_str(buf, "hello\n", "what it was told");
	attempt_clear(&a);
	is_int(kill(-child, 0), -1, "it is gone, although it minds no SIGTERM");
	is_int(errno, ESRCH, "and was reaped");
}

/* Also where something is under way; a sanitizer tells what is left behind. */
static void test_cancel(void)
{
	_cleanup_free_ char *path = in_folder("cancel"), *plain = xasprintf("unix://%s", path),
			    *hvsock = xasprintf("hvsock://%s", path);
	struct acceptance acceptance = listen_on(path, 0, "");
	struct attempt a;
	int first;

	attempt_start(&a, hvsock);
	transport_cancel(a.transport);
	attempt_clear(&a);
	is_int(a.calls, 0, "cancelled before the loop runs");
	attempt_start(&a, "fd:9999");
	transport_cancel(a.transport);
	attempt_clear(&a);
	is_int(a.calls, 0, "cancelled before the failure is told");
	attempt_start(&a, hvsock);
	loop_later(&a.loop, &acceptance.task, 60, stop, &a.loop);
	loop_run(&a.loop);
	transport_cancel(a.transport);
	attempt_clear(&a);
	is_int(a.calls, 0, "cancelled while the VMM is silent");
	first = crowd(path);
	attempt_start(&a, plain);
	loop_later(&a.loop, &acceptance.task, 60, stop, &a.loop);
	loop_run(&a.loop);
	transport_cancel(a.transport);
	attempt_clear(&a);
	is_int(a.calls, 0, "cancelled while the backlog is full");
	if (first >= 0)
		close(first);
	acceptance_clear(&acceptance);
	unlink(path);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	if (mkdtemp(folder) == NULL)
		return 1;
	test_errnos();
	test_backlog();
	test_hvsock();
	test_failures();
	test_inherited();
	test_command();
	test_cancel();
	rmdir(folder);
	return done_testing();
}
