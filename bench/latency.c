/* SPDX-License-Identifier: MIT */
/*
 * How long one byte takes: there and back on an open connection, and from exec to the answer of
 * a program that connects its stdin and stdout.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define SAMPLES_MAX (1u << 20)
#define WARM_UP 20

extern char **environ;

struct beside {
	uint16_t port;
	struct bulk_request request;
	struct bulk_result result;
};

static void *beside_thread(void *arg)
{
	struct beside *beside = arg;

	beside->result = bulk_client(beside->port, 1, &beside->request);
	return NULL;
}

static uint64_t ping(int fd)
{
	char byte = LOAD_ECHO;
	uint64_t start = now_ns();

	write_all(fd, &byte, 1);
	read_all(fd, &byte, 1);
	return now_ns() - start;
}

static uint64_t *samples_new(size_t count)
{
	uint64_t *ns = calloc(count, sizeof(*ns));

	if (ns == NULL)
		die("out of memory");
	return ns;
}

int ping_main(uint16_t port, uint32_t ms, const struct bulk_request *under)
{
	struct timeval limit = { .tv_sec = GRACE_MS / 1000 };
	uint64_t *ns = samples_new(SAMPLES_MAX), deadline;
	struct beside beside = { .port = port };
	int fd = tcp_connect(port);
	pthread_t thread;
	size_t count = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	for (int i = 0; i < WARM_UP; i++)
		ping(fd);
	if (under != NULL) {
		beside.request = *under;
		if (pthread_create(&thread, NULL, beside_thread, &beside) != 0)
			die("no thread");
	}
	deadline = now_ns() + ms * 1000000ull;
	do
		ns[count++] = ping(fd);
	while (count < SAMPLES_MAX && now_ns() < deadline);
	printf("{");
	print_times(ns, count);
	if (under != NULL) {
		pthread_join(thread, NULL);
		printf(",\"up\":%llu,\"down\":%llu,\"seconds\":%.6f",
		       (unsigned long long)beside.result.up, (unsigned long long)beside.result.down,
		       beside.result.seconds);
	}
	printf("}\n");
	close(fd);
	free(ns);
	return 0;
}

static pid_t spawn(char **command, int in, int out)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int rc;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	rc = posix_spawnp(&pid, command[0], &actions, NULL, command, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (rc != 0)
		die("%s: %s", command[0], strerror(rc));
	return pid;
}

static uint64_t startup(char **command)
{
	int in[2], out[2];
	char byte = LOAD_ECHO;
	struct pollfd pfd;
	uint64_t start, took;
	pid_t pid;

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		die("pipe: %s", strerror(errno));
	pfd = (struct pollfd){ .fd = out[0], .events = POLLIN };
	if (write(in[1], &byte, 1) != 1)
		die("pipe: %s", strerror(errno));
	start = now_ns();
	pid = spawn(command, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	if (poll(&pfd, 1, GRACE_MS) != 1 || read(out[0], &byte, 1) != 1)
		die("%s: no answer", command[0]);
	took = now_ns() - start;
	close(in[1]);
	close(out[0]);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	return took;
}

int startup_main(unsigned count, char **command)
{
	uint64_t *ns = samples_new(count);

	for (unsigned i = 0; i < count; i++)
		ns[i] = startup(command);
	printf("{");
	print_times(ns, count);
	printf("}\n");
	free(ns);
	return 0;
}
