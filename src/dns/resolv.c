/* SPDX-License-Identifier: MIT */
/* The host's resolv.conf. */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "dns/resolv.h"

#define BLANK " \t\r"
/*
 * Unless the file says otherwise, less than the 5 s of resolv.conf(5): that is how long the pod's own resolver
 * waits for us, and it should get an answer of the second server within that time, or hear that there is none.
 */
#define TIMEOUT_S 2
#define ATTEMPTS 2
/* Where glibc caps them. */
#define TIMEOUT_MAX_S 30
#define ATTEMPTS_MAX 5

static void add_server(struct resolv *resolv, char *text, uint16_t port)
{
	struct resolv_server server = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&server.ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&server.ss;
	char *scope;

	if (resolv->count == RESOLV_SERVERS_MAX)
		return;
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		server.len = sizeof(*v4);
		resolv->servers[resolv->count++] = server;
		return;
	}
	scope = strchr(text, '%');
	if (scope != NULL)
		*scope++ = '\0';
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
		return;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	v6->sin6_scope_id = scope != NULL ? if_nametoindex(scope) : 0;
	server.len = sizeof(*v6);
	resolv->servers[resolv->count++] = server;
}

/* The number behind `name` in an option of that name; 0 if it is another one. */
static uint64_t option_value(const char *option, const char *name, uint64_t max)
{
	size_t size = strlen(name);
	uint64_t n;

	if (strncmp(option, name, size) != 0)
		return 0;
	switch (parse_uint(option + size, max, &n)) {
	case 0:
		return n > 0 ? n : 1;
	case -ERANGE:
		return max;
	default:
		return 0;
	}
}

static void parse_line(struct resolv *resolv, char *line, uint16_t port)
{
	char *rest, *word = strtok_r(line, BLANK, &rest);
	bool options = word != NULL && strcmp(word, "options") == 0;

	if (word != NULL && strcmp(word, "nameserver") == 0) {
		word = strtok_r(NULL, BLANK, &rest);
		if (word != NULL)
			add_server(resolv, word, port);
	}
	while (options && (word = strtok_r(NULL, BLANK, &rest)) != NULL) {
		uint64_t timeout = option_value(word, "timeout:", TIMEOUT_MAX_S);
		uint64_t attempts = option_value(word, "attempts:", ATTEMPTS_MAX);

		if (timeout > 0)
			resolv->timeout_ms = (int64_t)timeout * 1000;
		if (attempts > 0)
			resolv->attempts = (unsigned)attempts;
	}
}

void resolv_parse(struct resolv *resolv, const char *text, uint16_t port)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *rest = copy, *line;
	char loopback[] = "127.0.0.1";

	*resolv = (struct resolv){ .attempts = ATTEMPTS, .timeout_ms = TIMEOUT_S * 1000 };
	while ((line = strsep(&rest, "\n")) != NULL)
		parse_line(resolv, line, port);
	if (resolv->count == 0)
		add_server(resolv, loopback, port);
}

/* A second has many file versions. */
#ifdef __APPLE__
#define CHANGED_NS(st) ((st)->st_ctimespec.tv_nsec)
#else
#define CHANGED_NS(st) ((st)->st_ctim.tv_nsec)
#endif

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtime == b->st_mtime && a->st_ctime == b->st_ctime &&
	       CHANGED_NS(a) == CHANGED_NS(b);
}

bool resolv_file_read(struct resolv_file *file)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	struct stat st = { 0 };
	ssize_t n = 0;

	if (stat(file->path, &st) < 0)
		st = (struct stat){ 0 };
	if (file->resolv.count > 0 && same_file(&st, &file->read))
		return false;
	file->read = st;
	text = xcalloc(1, RESOLV_CONF_MAX + 1);
	fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0)
		n = read(fd, text, RESOLV_CONF_MAX);
	text[n > 0 ? n : 0] = '\0';
	resolv_parse(&file->resolv, text, file->port);
	return true;
}
