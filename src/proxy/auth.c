/* SPDX-License-Identifier: MIT */
/* Users and passwords, from a file. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "lib/pods.h"
#include "auth.h"

static bool is_entry(const char *line)
{
	const char *colon = strchr(line, ':');

	return colon != NULL && colon > line && colon - line <= AUTH_TEXT_MAX &&
	       strlen(colon + 1) <= AUTH_TEXT_MAX;
}

static int add_line(struct auth *auth, const char *line, const char *path, size_t number,
		    struct error *err)
{
	/* The line itself may be a password that lacks its user. */
	if (!is_entry(line))
		return error_set(err, REASON_INVALID, EINVAL,
				 "%s: line %zu is not USER:PASSWORD, each of at most %d bytes",
				 path, number, AUTH_TEXT_MAX);
	auth->users = xrealloc(auth->users, (auth->count + 1) * sizeof(char *));
	auth->users[auth->count++] = xstrdup(line);
	return 0;
}

int auth_read(struct auth *auth, const char *path, struct error *err)
{
	_cleanup_free_ char *data = NULL;
	size_t length, number = 0;
	char *rest, *line;
	int rc = secret_read(path, AUTH_FILE_MAX, &data, &length, err);

	if (rc < 0)
		return rc;
	if (length > AUTH_FILE_MAX || strlen(data) != length)
		return error_set(err, REASON_INVALID, EINVAL, "%s: not a file of users", path);
	rest = data;
	while (rc == 0 && (line = strsep(&rest, "\n")) != NULL) {
		number++;
		if (*line != '\0')
			rc = add_line(auth, line, path, number, err);
	}
	if (rc == 0 && auth->count == 0)
		rc = error_set(err, REASON_INVALID, EINVAL, "%s: no USER:PASSWORD in it", path);
	explicit_bzero(data, length);
	return rc;
}

bool auth_allows(const struct auth *auth, const char *credentials)
{
	bool allowed = false;

	for (size_t i = 0; i < auth->count; i++)
		allowed |= token_equal(auth->users[i], credentials);
	return allowed;
}

void auth_clear(struct auth *auth)
{
	for (size_t i = 0; i < auth->count; i++)
		free(auth->users[i]);
	free(auth->users);
	*auth = (struct auth){ 0 };
}
