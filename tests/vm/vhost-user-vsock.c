/* SPDX-License-Identifier: MIT */
/*
 * usage: vhost-user-vsock VHOST-SOCKET HOST-SOCKET CID [SOCKET PORT]...
 *
 * A virtio-vsock device for the tests' virtual machines (vsock-device.h). One VMM at a time is served on
 * VHOST-SOCKET; when it has gone another one may come. Who connects to a further SOCKET is connected to that PORT of the
 * guest without a word. Takes commands on stdin, one a line, and answers each
 * on stdout with the same line:
 *
 *	plain                   behaves
 *	merge                   makes an end of both directions out of one, as Firecracker does
 *	split                   sends "OK" byte by byte
 *	delay MS                so long before "OK"
 *	pause, resume           does nothing meanwhile
 *	reset                   resets every connection
 *	count                   answers "count N": how many there are
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vsock-device.h"

/* What epoll tells of beside connections, whose numbers are their slots. */
enum {
	SOURCE_VMM = CONNECTIONS_MAX,
	SOURCE_VMM_LISTENER,
	SOURCE_HOST_LISTENER,
	SOURCE_COMMANDS,
	SOURCE_KICKS,
	SOURCE_PORTS = SOURCE_KICKS + QUEUE_COUNT
};

#define PORTS_MAX 16

/* A host's socket that leads to one port of the guest; 0: to the one that is asked for. */
struct host_listener {
	int fd;
	uint32_t port;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "vhost-user-vsock: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void add_source(int epoll, int fd, uint32_t source)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = source };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 && errno != EEXIST)
		die("epoll");
}

static int listen_at(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(path) >= sizeof(sun.sun_path)) {
		errno = ENAMETOOLONG;
		die(path);
	}
	strcpy(sun.sun_path, path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, 4096) < 0)
		die(path);
	return fd;
}

static void accept_vmm(struct device *d, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (d->vhost.fd >= 0) {
		close(fd);
		return;
	}
	vhost_user_start(&d->vhost, fd);
	add_source(d->epoll, fd, SOURCE_VMM);
}

static void accept_host(struct device *d, const struct host_listener *listener)
{
	int fd;

	while ((fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		if (d->vhost.fd >= 0)
			device_accept(d, fd, listener->port);
		else
			close(fd); /* there is no VM */
	}
}

static void vmm_event(struct device *d)
{
	if (vhost_user_handle(&d->vhost) < 0) {
		vhost_user_stop(&d->vhost);
		device_clear(d);
		return;
	}
	for (uint32_t i = 0; i < QUEUE_COUNT; i++) {
		if (d->vhost.queues[i].kick >= 0)
			add_source(d->epoll, d->vhost.queues[i].kick, SOURCE_KICKS + i);
	}
}

static void kick_event(struct device *d, uint32_t queue)
{
	uint64_t count;

	/* It may be another one by now, or none: that is no matter. */
	if (d->vhost.fd >= 0 && d->vhost.queues[queue].kick >= 0 &&
	    read(d->vhost.queues[queue].kick, &count, sizeof(count)) < 0 && errno != EAGAIN)
		die("kick");
}

static void command(struct device *d, char *line)
{
	line[strcspn(line, "\n")] = '\0';
	if (strcmp(line, "plain") == 0) {
		d->merge = d->split = false;
		d->delay = 0;
	} else if (strcmp(line, "merge") == 0) {
		d->merge = true;
	} else if (strcmp(line, "split") == 0) {
		d->split = true;
	} else if (strncmp(line, "delay ", 6) == 0) {
		d->delay = atoi(line + 6) * INT64_C(1000);
	} else if (strcmp(line, "pause") == 0 || strcmp(line, "resume") == 0) {
		d->paused = line[0] == 'p';
	} else if (strcmp(line, "reset") == 0) {
		device_reset(d);
	} else if (strcmp(line, "count") == 0) {
		printf("count %zu\n", d->count);
		return;
	} else {
		errno = EINVAL;
		die(line);
	}
	puts(line);
}

static void handle(struct device *d, const struct epoll_event *event, int vmm_listener,
		   const struct host_listener *listeners)
{
	uint32_t source = (uint32_t)event->data.u64;
	char line[64];

	switch (source) {
	case SOURCE_VMM:
		vmm_event(d);
		break;
	case SOURCE_VMM_LISTENER:
		accept_vmm(d, vmm_listener);
		break;
	case SOURCE_HOST_LISTENER:
		accept_host(d, &listeners[0]);
		break;
	case SOURCE_COMMANDS:
		if (fgets(line, sizeof(line), stdin) == NULL)
			exit(0);
		command(d, line);
		break;
	default:
		if (source >= SOURCE_PORTS)
			accept_host(d, &listeners[1 + source - SOURCE_PORTS]);
		else if (source >= SOURCE_KICKS)
			kick_event(d, source - SOURCE_KICKS);
		else
			device_event(d, source, event->events);
	}
}

/* Until one is there or the time is over: us, or -1. epoll_wait() counts in milliseconds. */
static int wait_for_events(int epoll, struct epoll_event *events, int count, int64_t us)
{
	struct pollfd pfd = { .fd = epoll, .events = POLLIN };
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	if (us > 0)
		ppoll(&pfd, 1, &ts, NULL);
	return epoll_wait(epoll, events, count, us < 0 ? -1 : 0);
}

int main(int argc, char **argv)
{
	static struct device d;
	struct epoll_event events[256];
	struct rlimit files;
	struct host_listener listeners[1 + PORTS_MAX];
	int epoll = epoll_create1(EPOLL_CLOEXEC), vmm_listener, ports = (argc - 4) / 2;

	if (argc < 4 || argc % 2 != 0 || ports > PORTS_MAX) {
		fputs("usage: vhost-user-vsock VHOST-SOCKET HOST-SOCKET CID [SOCKET PORT]...\n",
		      stderr);
		return 64;
	}
	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	setvbuf(stdin, NULL, _IONBF, 0); /* so that epoll knows of each line */
	setvbuf(stdout, NULL, _IOLBF, 0);
	device_init(&d, strtoull(argv[3], NULL, 10), epoll);
	vmm_listener = listen_at(argv[1]);
	add_source(epoll, vmm_listener, SOURCE_VMM_LISTENER);
	listeners[0] = (struct host_listener){ .fd = listen_at(argv[2]) };
	add_source(epoll, listeners[0].fd, SOURCE_HOST_LISTENER);
	for (int i = 0; i < ports; i++) {
		listeners[1 + i].fd = listen_at(argv[4 + 2 * i]);
		listeners[1 + i].port = (uint32_t)strtoul(argv[5 + 2 * i], NULL, 10);
		add_source(epoll, listeners[1 + i].fd, SOURCE_PORTS + (uint32_t)i);
	}
	add_source(epoll, STDIN_FILENO, SOURCE_COMMANDS);
	for (;;) {
		int n = wait_for_events(epoll, events, 256, device_run(&d));

		if (n < 0 && errno != EINTR)
			die("epoll");
		for (int i = 0; i < n; i++)
			handle(&d, &events[i], vmm_listener, listeners);
	}
}
