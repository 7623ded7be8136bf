/* SPDX-License-Identifier: MIT */
/*
 * Tokens: the secret that both sides of a link know, from a file.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>

#include "pods.h"
#include "sock.h"
#include "trusted.h"

/* In a JSON string, and read by C: no NUL, and UTF-8. */
static bool is_text(const char *data, size_t length)
{
	json_t *json = memchr(data, '\0', length) ? NULL : json_stringn(data, length);

	json_decref(json);
	return json != NULL;
}

int secret_read(const char *path, size_t max, char **data, size_t *length, struct error *err)
{
	/* Links are followed: secrets are mounted as such. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return trusted_error(err, errno, path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, REASON_DENIED, EPERM, "%s: is not a regular file", path);
	if (!trusted_owner(&st, path, err))
		return -EPERM;
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return error_set(err, REASON_DENIED, EPERM,
				 "%s: group and others must have no access (mode %04o, chmod 600)",
				 path, (unsigned)st.st_mode & 07777);
	return trusted_read_fd(fd, path, max, data, length, err);
}

int token_read(const char *path, char **token, struct error *err)
{
	_cleanup_free_ char *data = NULL;
	size_t length;
	int ret = secret_read(path, TOKEN_MAX + 1, &data, &length, err);

	if (ret < 0)
		return ret;
	if (length > 0 && data[length - 1] == '\n')
		data[--length] = '\0';
	if (length < TOKEN_MIN || length > TOKEN_MAX || !is_text(data, length))
		return error_set(err, REASON_INVALID, EINVAL,
				 "%s: a token is %d to %d bytes of UTF-8 text", path, TOKEN_MIN,
				 TOKEN_MAX);
	*token = data;
	data = NULL;
	return 0;
}

/* A token goes to nobody but root and us, where the system tells who listens. */
static int check_peer(int fd, struct error *err)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	uid_t uid;

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0 || ss.ss_family != AF_UNIX)
		return 0;
	if (sock_peer_uid(fd, &uid) < 0)
		return error_set(err, REASON_DENIED, EACCES,
				 "can't tell who listens on the endpoint");
	if (uid != 0 && uid != geteuid())
		return error_set(err, REASON_DENIED, EACCES,
				 "the endpoint belongs to uid %u: the token is not sent there",
				 (unsigned)uid);
	return 0;
}

int token_read_for(const char *path, int fd, char **token, struct error *err)
{
	int rc;

	*token = NULL;
	rc = token_read(path, token, err);
	if (rc == 0 && fd >= 0)
		rc = check_peer(fd, err);
	if (rc < 0) {
		free(*token);
		*token = NULL;
	}
	return rc;
}

bool token_equal(const char *a, const char *b)
{
	volatile unsigned char difference = 0;
	size_t length = a && b ? strlen(a) : 0;

	if (!a || !b || strlen(b) != length)
		return false;
	for (size_t i = 0; i < length; i++)
		difference |= (unsigned char)(a[i] ^ b[i]);
	return difference == 0;
}
