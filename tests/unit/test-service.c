/* SPDX-License-Identifier: MIT */
/* What a service manager gives and is told, with sockets as it would make them. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "lib/log.h"
#include "lib/service.h"
#include "lib/sock.h"
#include "tests/tap.h"

#define FIRST 3 /* SD_LISTEN_FDS_START */

static char folder[] = "/tmp/test-service.XXXXXX";

static const char *in_folder(const char *name)
{
	static char path[sizeof(folder) + 32];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static char *own_pid(void)
{
	static char text[16];

	snprintf(text, sizeof(text), "%d", (int)getpid());
	return text;
}

/* NULL: not set. */
static void set_env(const char *name, const char *value)
{
	if (value != NULL)
		setenv(name, value, 1);
	else
		unsetenv(name);
}

/* As a manager hands it over: inherited, so neither close-on-exec nor non-blocking. Takes fd over. */
static void place(int fd, int at)
{
	fd_set_nonblock(fd, false);
	if (fd == at) {
		fd_set_cloexec(fd, false);
		return;
	}
	if (dup2(fd, at) != at)
		abort();
	close(fd);
}

/* Nothing at FIRST and behind. */
static void clear_places(void)
{
	for (int fd = FIRST; fd < FIRST + 16; fd++)
		close(fd);
}

struct given {
	int rc;
	int *fds;
	size_t count;
	struct error err;
};

static struct given listen_fds(const char *pid, const char *fds)
{
	struct given g = { 0 };

	set_env("LISTEN_PID", pid);
	set_env("LISTEN_FDS", fds);
	setenv("LISTEN_FDNAMES", "a:b", 1);
	setenv("LISTEN_PIDFDID", "1", 1);
	g.rc = service_listen_fds(&g.fds, &g.count, &g.err);
	return g;
}

static bool environment_is_clean(void)
{
	return getenv("LISTEN_PID") == NULL && getenv("LISTEN_FDS") == NULL &&
	       getenv("LISTEN_FDNAMES") == NULL && getenv("LISTEN_PIDFDID") == NULL;
}

static int unix_listener(const char *name)
{
	int fd = sock_listen_unix(in_folder(name), NULL);

	if (fd < 0)
		abort();
	return fd;
}

static void test_none(void)
{
	struct {
		const char *pid, *fds, *name;
	} rows[] = {
		{ NULL, NULL, "no variables" },        { NULL, "1", "no LISTEN_PID" },
		{ "1", "1", "another process" },       { own_pid(), NULL, "no LISTEN_FDS" },
		{ own_pid(), "", "LISTEN_FDS empty" }, { own_pid(), "0", "no descriptor" },
	};

	clear_places();
	place(unix_listener("none"), FIRST);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct given g = listen_fds(rows[i].pid, rows[i].fds);

		is_int(g.rc, 0, "%s: no error", rows[i].name);
		ok(g.count == 0 && g.fds == NULL, "%s: none", rows[i].name);
		ok(environment_is_clean(), "%s: the environment is clean", rows[i].name);
		is_int(fcntl(FIRST, F_GETFD), 0, "%s: the descriptor is as it was", rows[i].name);
	}
}

/* A client that connects is accepted on fd, and the manager's listener lives on. */
static void test_serves(const char *name, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len;
	_cleanup_close_ int client = sock_new(AF_UNIX, SOCK_STREAM, 0);
	_cleanup_close_ int accepted = -1;

	is_int(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC, "%s: close-on-exec", name);
	is_int(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK, "%s: non-blocking", name);
	sock_unix_address(&ss, &len, in_folder(name));
	is_int(connect(client, (struct sockaddr *)&ss, len), 0, "%s: a client connects", name);
	accepted = sock_accept(fd, NULL, NULL);
	ok(accepted >= 0, "%s: and is accepted", name);
}

static void test_given(void)
{
	int manager[2];
	struct given g;

	clear_places();
	manager[0] = fcntl(unix_listener("one"), F_DUPFD, FIRST + 8);
	manager[1] = fcntl(unix_listener("two"), F_DUPFD, FIRST + 8);
	place(fcntl(manager[0], F_DUPFD, FIRST + 8), FIRST);
	place(fcntl(manager[1], F_DUPFD, FIRST + 8), FIRST + 1);
	g = listen_fds(own_pid(), "2");
	is_int(g.rc, 0, "two sockets");
	is_int((long long)g.count, 2, "that is how many");
	ok(environment_is_clean(), "the environment is clean");
	if (g.count == 2) {
		is_int(g.fds[0], FIRST, "the first");
		is_int(g.fds[1], FIRST + 1, "the second");
		test_serves("one", g.fds[0]);
		test_serves("two", g.fds[1]);
		close(g.fds[0]);
		close(g.fds[1]);
	}
	free(g.fds);
	test_serves("one", fcntl(manager[0], F_DUPFD_CLOEXEC, FIRST));
	g = listen_fds(NULL, NULL);
	is_int((long long)g.count, 0, "they are given once");
}

static void test_numbers(void)
{
	static const char *const junk[] = { "x",
					    "1x",
					    "-1",
					    "+1",
					    " 1",
					    "1 ",
					    "0x1",
					    "1.0",
					    "1:2",
					    "2147483648",
					    "18446744073709551617" };

	clear_places();
	place(unix_listener("numbers"), FIRST);
	for (size_t i = 0; i < ARRAY_SIZE(junk); i++) {
		struct given g = listen_fds(junk[i], "1");

		ok(g.rc < 0 && g.count == 0 && g.fds == NULL, "LISTEN_PID=%s", junk[i]);
		is_int(g.err.reason, REASON_INVALID, "LISTEN_PID=%s: the reason", junk[i]);
		ok(environment_is_clean(), "LISTEN_PID=%s: the environment is clean", junk[i]);
		g = listen_fds(own_pid(), junk[i]);
		ok(g.rc < 0 && g.count == 0 && g.fds == NULL, "LISTEN_FDS=%s", junk[i]);
		is_int(g.err.reason, REASON_INVALID, "LISTEN_FDS=%s: the reason", junk[i]);
		ok(environment_is_clean(), "LISTEN_FDS=%s: the environment is clean", junk[i]);
	}
}

static int bound_socket(int family, int type, bool listening)
{
	struct sockaddr_storage ss = { .ss_family = (sa_family_t)family };
	socklen_t len = sizeof(struct sockaddr_in);
	int fd = sock_new(family, type, 0);

	if (family == AF_UNIX)
		sock_unix_address(&ss, &len, in_folder(type == SOCK_DGRAM ? "dgram" : "packet"));
	if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0 || (listening && listen(fd, 1) < 0))
		abort();
	return fd;
}

static int pipe_end(void)
{
	int fds[2];

	if (pipe(fds) < 0)
		abort();
	close(fds[1]);
	return fds[0];
}

static int pair_end(void)
{
	int sv[2];

	if (sock_pair(sv) < 0)
		abort();
	close(sv[1]);
	return sv[0];
}

/* One of these behind a good one: nothing is given. Takes fd over; -1: there is none. */
static void test_one_unfit(int fd, const char *name, const char *message)
{
	struct given g;

	if (fd >= 0)
		place(fd, FIRST + 1);
	g = listen_fds(own_pid(), "2");
	ok(g.rc < 0 && g.count == 0 && g.fds == NULL, "%s: nothing is given", name);
	is_int(g.err.reason, REASON_INVALID, "%s: the reason", name);
	is_str(g.err.message, message, "%s: what is said", name);
	ok(environment_is_clean(), "%s: the environment is clean", name);
	close(FIRST + 1);
}

static void test_unfit(void)
{
	static const char unfit[] =
		"LISTEN_FDS: descriptor 4 is not a listening Unix stream socket";
	static const char no_socket[] = "LISTEN_FDS: descriptor 4: socket operation on non-socket";
	struct given g;

	clear_places();
	place(unix_listener("unfit"), FIRST);
	test_one_unfit(-1, "closed", "LISTEN_FDS: descriptor 4: bad file descriptor");
	test_one_unfit(pipe_end(), "a pipe", no_socket);
	test_one_unfit(open("/dev/null", O_RDWR), "a device", no_socket);
	test_one_unfit(pair_end(), "connected", unfit);
	test_one_unfit(sock_new(AF_UNIX, SOCK_STREAM, 0), "not listening", unfit);
	test_one_unfit(bound_socket(AF_UNIX, SOCK_DGRAM, false), "datagrams", unfit);
	test_one_unfit(bound_socket(AF_UNIX, SOCK_SEQPACKET, true), "packets", unfit);
	test_one_unfit(bound_socket(AF_INET, SOCK_STREAM, true), "TCP", unfit);
	g = listen_fds(own_pid(), "2147483644");
	ok(g.rc < 0 && g.count == 0, "more than there can be");
	is_str(g.err.message, "LISTEN_FDS: descriptor 4: bad file descriptor", "and which is not");
}

/* The manager's socket; in the abstract namespace its name is the folder's. */
static int manager_open(const char *notify_socket)
{
	struct sockaddr_storage ss;
	struct sockaddr_un *sun = (struct sockaddr_un *)&ss;
	socklen_t len;
	int fd = sock_new(AF_UNIX, SOCK_DGRAM, 0);

	sock_unix_address(&ss, &len, notify_socket);
	if (*notify_socket == '@') {
		sun->sun_path[0] = '\0';
		len--;
	}
	if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0)
		abort();
	return fd;
}

#define NOTIFIES_MS 5000 /* a call that waits for a reader would wait for ever */

/*
 * In a process of its own, since the address is taken once: tells READY=1 and STOPPING=1 with NOTIFY_SOCKET
 * set to that. True if it returns, leaves no descriptor open and the variable not set. What it
 * logged is in `log`.
 */
static bool notifies(const char *notify_socket, enum log_level level, char log[512])
{
	size_t length = 0;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe(fds) < 0)
		abort();
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		size_t before;

		alarm(NOTIFIES_MS / 1000);
		dup2(fds[1], STDERR_FILENO);
		log_init("test", level, LOG_FORMAT_TEXT);
		set_env("NOTIFY_SOCKET", notify_socket);
		before = fd_count();
		service_notify("READY=1");
		if (getenv("NOTIFY_SOCKET") != NULL)
			_exit(1);
		service_notify("STOPPING=1");
		_exit(fd_count() == before ? 0 : 2);
	}
	close(fds[1]);
	while ((n = read(fds[0], log + length, 511 - length)) > 0)
		length += (size_t)n;
	log[length] = '\0';
	close(fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	if (status != 0)
		diag("status %d", status);
	return status == 0;
}

static const char *received(int fd)
{
	static char text[64];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n < 0)
		return NULL;
	text[n] = '\0';
	return text;
}

static void test_notify(void)
{
	char path[sizeof(folder) + 32], abstract[sizeof(folder) + 32], log[512];
	const char *addresses[] = { path, abstract };

	snprintf(path, sizeof(path), "%s", in_folder("notify"));
	snprintf(abstract, sizeof(abstract), "@%s", folder);
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		int fd = manager_open(addresses[i]);

		ok(notifies(addresses[i], LOG_LEVEL_DEBUG, log), "%s: told", addresses[i]);
		is_str(log, "", "%s: nothing is logged", addresses[i]);
		is_str(received(fd), "READY=1", "%s: ready", addresses[i]);
		is_str(received(fd), "STOPPING=1", "%s: stopping", addresses[i]);
		is_str(received(fd), NULL, "%s: no more", addresses[i]);
		close(fd);
	}
}

/* Nobody there, or no address: harmless, and told of at debug level only. */
static void test_not_told(void)
{
	static const struct {
		const char *address, *log;
	} rows[] = {
		{ NULL, "" },
		{ "", "" },
		{ "/nosuch/notify",
		  "test: debug: the service manager can't be told READY=1: no such file "
		  "or directory\ntest: debug: the service manager can't be told "
		  "STOPPING=1: no such file or directory\n" },
		{ "/", "test: debug: NOTIFY_SOCKET: no address: /\n" },
		{ "@", "test: debug: NOTIFY_SOCKET: no address: @\n" },
		{ "notify", "test: debug: NOTIFY_SOCKET: no address: notify\n" },
		{ "vsock:2:1234", "test: debug: NOTIFY_SOCKET: no address: vsock:2:1234\n" },
	};
	char log[512], *longest = xmalloc(300);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *name = rows[i].address != NULL ? rows[i].address : "none";

		ok(notifies(rows[i].address, LOG_LEVEL_INFO, log), "%s: harmless", name);
		is_str(log, "", "%s: silent", name);
		notifies(rows[i].address, LOG_LEVEL_DEBUG, log);
		is_str(log, rows[i].log, "%s: for who looks closer", name);
	}
	memset(longest, 'x', 299);
	longest[0] = '/';
	longest[299] = '\0';
	ok(notifies(longest, LOG_LEVEL_INFO, log), "a path that is too long");
	is_str(log, "", "is silent too");
	free(longest);
}

static void test_full(void)
{
	struct sockaddr_storage ss;
	socklen_t len;
	const char *path = in_folder("full");
	int fd = manager_open(path), sender = sock_new(AF_UNIX, SOCK_DGRAM, 0), sent = 0;
	char log[512];

	sock_unix_address(&ss, &len, path);
	while (sendto(sender, "x", 1, 0, (struct sockaddr *)&ss, len) == 1)
		sent++;
	ok(sent > 0 && errno == EAGAIN, "the manager does not read: %d datagrams fit", sent);
	ok(notifies(path, LOG_LEVEL_INFO, log), "nobody waits for it");
	is_str(log, "", "silently");
	close(sender);
	close(fd);
}

int main(void)
{
	char command[64];

	if (mkdtemp(folder) == NULL)
		abort();
	log_init("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	test_none();
	test_given();
	test_numbers();
	test_unfit();
	test_notify();
	test_not_told();
	test_full();
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) == 0 ? done_testing() : 1;
}
