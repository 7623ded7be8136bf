/* SPDX-License-Identifier: MIT */
/* Sockets: their flags, Unix listeners and what is in their place, descriptors that are sent. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lib/sock.h"
#include "tap.h"

static char folder[] = "/tmp/vzfwd-test-sock.XXXXXX";

static const char *in_folder(const char *name)
{
	static char path[sizeof(folder) + 32];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void is_prepared(int fd, const char *what)
{
	ok(fd >= 0, "%s: is open", what);
	is_int(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC, "%s: close-on-exec", what);
	is_int(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK, "%s: non-blocking", what);
}

static void test_flags(void)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int sv[2], fd, listener, client;

	fd = sock_new(AF_INET, SOCK_STREAM, 0);
	is_prepared(fd, "sock_new");
	close(fd);
	is_int(sock_new(AF_INET, SOCK_STREAM, IPPROTO_UDP), -EPROTONOSUPPORT, "sock_new: -errno");

	is_int(sock_pair(sv), 0, "sock_pair");
	is_prepared(sv[0], "sock_pair, one");
	is_prepared(sv[1], "sock_pair, other");
	is_int(fd_set_nonblock(sv[0], false), 0, "fd_set_nonblock off");
	is_int(fcntl(sv[0], F_GETFL) & O_NONBLOCK, 0, "fd_set_nonblock off: it is");
	is_int(fd_set_cloexec(sv[0], false), 0, "fd_set_cloexec off");
	is_int(fcntl(sv[0], F_GETFD), 0, "fd_set_cloexec off: it is");
	close(sv[0]);
	close(sv[1]);
	is_int(fd_set_nonblock(sv[0], true), -EBADF, "fd_set_nonblock: -errno");
	is_int(fd_set_cloexec(sv[0], true), -EBADF, "fd_set_cloexec: -errno");

	listener = sock_listen_unix(in_folder("accept"), NULL);
	is_int(sock_accept(listener, &ss, &len), -EAGAIN, "sock_accept: nobody is there");
	client = sock_new(AF_UNIX, SOCK_STREAM, 0);
	len = sizeof(ss);
	is_int(sock_unix_address(&ss, &len, in_folder("accept")), 0, "sock_unix_address");
	is_int(connect(client, (struct sockaddr *)&ss, len), 0, "connect");
	len = sizeof(ss);
	fd = sock_accept(listener, &ss, &len);
	is_prepared(fd, "sock_accept");
	close(fd);
	close(client);
	close(listener);
}

static void test_unix_address(void)
{
	struct sockaddr_storage ss;
	const struct sockaddr_un *sun = (struct sockaddr_un *)&ss;
	char path[sizeof(sun->sun_path) + 1];
	socklen_t len = 0;

	memset(path, 'x', sizeof(path));
	path[sizeof(sun->sun_path) - 1] = '\0';
	is_int(sock_unix_address(&ss, &len, path), 0, "the longest path");
	is_str(sun->sun_path, path, "the longest path: is there");
	is_int(len, sizeof(*sun), "the longest path: length");
	path[sizeof(sun->sun_path) - 1] = 'x';
	path[sizeof(sun->sun_path)] = '\0';
	is_int(sock_unix_address(&ss, &len, path), -ENAMETOOLONG, "one byte more");
}

static void listen_fails(const char *path, enum reason reason, int sys_errno, const char *what)
{
	struct error err = { 0 };

	ok(sock_listen_unix(path, &err) < 0, "%s: fails", what);
	is_str(reason_name(err.reason), reason_name(reason), "%s: reason", what);
	is_int(err.sys_errno, sys_errno, "%s: errno", what);
	ok(strstr(err.message, path) != NULL, "%s: names the path", what);
}

/* A listener that stops removes its own file, and not that of who came after it. */
static void test_file_unlink(void)
{
	int first = sock_listen_unix(in_folder("two"), NULL), second;
	struct sock_file file = sock_file_of(in_folder("two"));

	is_int(unlink(in_folder("two")), 0, "its file is removed");
	second = sock_listen_unix(in_folder("two"), NULL);
	sock_file_unlink(&file, in_folder("two"));
	is_int(access(in_folder("two"), F_OK), 0, "another listener's file is left alone");
	file = sock_file_of(in_folder("two"));
	sock_file_unlink(&file, in_folder("two"));
	ok(access(in_folder("two"), F_OK) < 0, "its own is removed");
	close(first);
	close(second);
}

static void test_listen_unix(void)
{
	mode_t old = umask(0);
	struct error err;
	struct stat st;
	int fd, file;

	fd = sock_listen_unix(in_folder("one"), &err);
	is_prepared(fd, "a listener");
	is_int(stat(in_folder("one"), &st), 0, "a listener: its file");
	is_int(st.st_mode, S_IFSOCK | 0600, "a listener: mode 0600, whatever the umask");
	is_int(umask(old), 0, "the umask is as it was");
	listen_fails(in_folder("one"), REASON_EXHAUSTED, EADDRINUSE, "in use");
	is_int(stat(in_folder("one"), &st), 0, "in use: the file is left alone");

	close(fd);
	fd = sock_listen_unix(in_folder("one"), &err);
	ok(fd >= 0, "a stale socket is replaced");
	close(fd);

	file = open(in_folder("file"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(file);
	listen_fails(in_folder("file"), REASON_EXHAUSTED, EEXIST, "a file");
	is_int(stat(in_folder("file"), &st), 0, "a file is left alone");
	test_file_unlink();
	listen_fails(in_folder("none/one"), REASON_NOT_FOUND, ENOENT, "no folder");
	listen_fails(in_folder("file/one"), REASON_NOT_FOUND, ENOTDIR, "a file for a folder");
}

static void test_send_fd(void)
{
	int sv[2], got, pipefd[2];
	char c = 'x';

	is_int(sock_pair(sv), 0, "sock_pair");
	is_int(pipe(pipefd), 0, "pipe");
	is_int(sock_send_fd(sv[0], pipefd[1]), 0, "sock_send_fd");
	got = sock_recv_fd(sv[1]);
	ok(got >= 0, "sock_recv_fd");
	is_int(fcntl(got, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC, "what came is close-on-exec");
	close(pipefd[1]);
	is_int(write(got, "y", 1), 1, "and the same pipe");
	is_int(read(pipefd[0], &c, 1), 1, "as comes out at its other end");
	is_int(c, 'y', "byte for byte");
	close(got);
	close(pipefd[0]);

	is_int(sock_recv_fd(sv[1]), -EAGAIN, "nothing was sent");
	is_int(write(sv[0], "x", 1), 1, "a byte alone");
	is_int(sock_recv_fd(sv[1]), -EPROTO, "is no descriptor");
	close(sv[0]);
	is_int(sock_recv_fd(sv[1]), -EPROTO, "nor is an end");
	is_int(sock_send_fd(sv[1], STDOUT_FILENO), -EPIPE, "nobody is there to get one");
	close(sv[1]);
}

/* A connected pair of TCP sockets on loopback. */
static void tcp_pair(int tcp[2])
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (struct sockaddr *)&sin, len) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&sin, &len) < 0)
		abort();
	tcp[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(tcp[0], (struct sockaddr *)&sin, len) < 0)
		abort();
	tcp[1] = accept(listener, NULL, NULL);
	close(listener);
}

static void test_tcp(void)
{
	static char much[1 << 16];
	int tcp[2], on = 0;
	socklen_t len = sizeof(on);
	char c;

	tcp_pair(tcp);
	sock_tune_tcp(tcp[0]);
	getsockopt(tcp[0], IPPROTO_TCP, TCP_NODELAY, &on, &len);
	is_int(on, 1, "TCP_NODELAY");
	getsockopt(tcp[0], SOL_SOCKET, SO_KEEPALIVE, &on, &len);
	is_int(on, 1, "keepalive");
	is_int(sock_unsent(tcp[0]), 0, "nothing unsent");
	is_int(sock_take_error(tcp[1]), 0, "no error");
	sock_close_reset(tcp[0]);
	is_int(read(tcp[1], &c, 1), -1, "a reset is an error");
	is_int(errno, ECONNRESET, "namely ECONNRESET");
	close(tcp[1]);

	tcp_pair(tcp);
	sock_close_reset(tcp[0]);
	is_int(sock_take_error(tcp[1]), ECONNRESET, "sock_take_error");
	is_int(sock_take_error(tcp[1]), 0, "takes it");
	close(tcp[1]);

	tcp_pair(tcp);
	fd_set_nonblock(tcp[0], true);
	while (write(tcp[0], much, sizeof(much)) > 0)
		;
	ok(sock_unsent(tcp[0]) > 0, "unsent, since nobody reads");
	close(tcp[0]);
	close(tcp[1]);
}

static void test_peer_and_count(void)
{
	uid_t uid = (uid_t)-1;
	size_t before = fd_count();
	struct rlimit limit;
	int sv[2];

	is_int(sock_pair(sv), 0, "sock_pair");
	is_int((long long)fd_count(), (long long)before + 2, "fd_count");
	is_int(sock_peer_uid(sv[0], &uid), 0, "sock_peer_uid");
	is_int(uid, geteuid(), "sock_peer_uid: it is us");
	is_int(sock_unsent(sv[0]), 0, "nothing unsent on a Unix socket");
	is_int(write(sv[0], "hello", 5), 5, "write");
	ok(sock_unsent(sv[0]) > 0, "unread is unsent there");
	close(sv[0]);
	close(sv[1]);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max / 2;
	setrlimit(RLIMIT_NOFILE, &limit);
	is_int((long long)fd_limit_raise(), (long long)limit.rlim_max, "fd_limit_raise");
	is_int((long long)fd_limit_raise(), (long long)limit.rlim_max, "twice is the same");
	fd_limit_restore();
	getrlimit(RLIMIT_NOFILE, &limit);
	is_int((long long)limit.rlim_cur, (long long)limit.rlim_max / 2, "fd_limit_restore");
}

int main(void)
{
	if (mkdtemp(folder) == NULL)
		return 1;
	test_flags();
	test_unix_address();
	test_listen_unix();
	test_send_fd();
	test_tcp();
	test_peer_and_count();
	unlink(in_folder("accept"));
	unlink(in_folder("one"));
	unlink(in_folder("file"));
	rmdir(folder);
	return done_testing();
}
