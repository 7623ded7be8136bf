/* SPDX-License-Identifier: MIT */
/* What the tests of the registry share: making registries and files in them. */
#ifndef VZFWD_TEST_PODS_H
#define VZFWD_TEST_PODS_H

#include <fcntl.h>
#include <sys/stat.h>

#include "lib/pods.h"
#include "tests/tap.h"

#define OTHER_UID 12345

static char *tmp; /* a folder of this test's own */

PRINTF_LIKE(1, 2) static inline void run(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	if (system(command) != 0)
		abort();
}

static inline void write_file(const char *path, const void *data, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, data, length) != (ssize_t)length)
		abort();
	close(fd);
}

/* An empty registry of the name; the path is the caller's. */
static inline char *new_dir(const char *name)
{
	char *dir = xasprintf("%s/%s", tmp, name);

	if (mkdir(dir, 0700) < 0)
		abort();
	return dir;
}

static inline void write_pod(const char *dir, const char *name, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/%s.json", dir, name);

	write_file(path, text, strlen(text));
}

static inline int add(const char *dir, const char *name, const char *endpoint, const char *handle,
		      const char *token_file, bool replace, struct error *err)
{
	struct pod pod = { .name = (char *)name,
			   .handle = (char *)handle,
			   .token_file = (char *)token_file };
	int ret = endpoint_parse(&pod.endpoint, endpoint, err);

	if (ret == 0)
		ret = pods_add(dir, &pod, replace, err);
	endpoint_clear(&pod.endpoint);
	return ret;
}

/* Loads a pod that must not load, and checks the reason; the message is in *err. */
static inline void refused(const char *dir, const char *name, enum reason reason, struct error *err,
			   const char *why)
{
	struct pod pod;

	err->reason = REASON_COUNT;
	ok(pods_load(dir, name, &pod, err) < 0, "%s: refused", why);
	is_str(err->reason == REASON_COUNT ? "none" : reason_name(err->reason), reason_name(reason),
	       "%s: the reason", why);
	ok(!pod.name && !pod.handle && !pod.endpoint.text, "%s: nothing is left behind", why);
}

/* Makes tmp; false if that can't be. It is for the caller to remove. */
static inline bool make_tmp(void)
{
	static char template[] = "/tmp/vzfwd-test-pods.XXXXXX";

	tmp = mkdtemp(template);
	umask(022);
	return tmp != NULL;
}

#endif
