/* SPDX-License-Identifier: MIT */
/*
 * usage: tcp-server PORT [COMMAND...]
 *
 * Listens on 127.0.0.1 and runs the command for each connection, which is its stdin and stdout; without one it sends
 * back what comes, until its end, in a thread. Static, for VMs that have little else.
 */
#include "config.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *echo(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char buf[16384];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		for (ssize_t sent = 0, more; sent < n; sent += more) {
			more = send(fd, buf + sent, (size_t)(n - sent), MSG_NOSIGNAL);
			if (more < 0)
				goto out;
		}
	}
out:
	close(fd);
	return NULL;
}

static void echo_start(int fd)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, echo, (void *)(intptr_t)fd) != 0)
		die("thread");
}

static void command_start(int fd, char **command)
{
	switch (fork()) {
	case -1:
		die("fork");
	case 0:
		signal(SIGCHLD, SIG_DFL);
		dup2(fd, STDIN_FILENO);
		dup2(fd, STDOUT_FILENO);
		close(fd);
		execvp(command[0], command);
		die(command[0]);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (argc < 2)
		return 64;
	sin.sin_port = htons((uint16_t)atoi(argv[1]));
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	signal(SIGCHLD, SIG_IGN); /* no zombies */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 || listen(fd, 4096) < 0)
		die("tcp-server");
	for (;;) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0)
			die("accept");
		if (argc > 2)
			command_start(client, argv + 2);
		else
			echo_start(client);
	}
}
