/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "policy.h"
#include "rpc-hosts.h"

struct lines {
	char *text;
	size_t length, count;
};

static int check_path(const char *path, struct error *err)
{
	const char *name = strrchr(path, '/');

	if (*path != '/')
		return error_set(err, REASON_INVALID, EINVAL,
				 METHOD_HOSTS ": path must be absolute, got \"%.64s\"", path);
	if (strlen(path) >= PATH_MAX)
		return error_set(err, REASON_INVALID, ENAMETOOLONG, METHOD_HOSTS ": path: %s",
				 errno_text(ENAMETOOLONG));
	if (strcmp(name, "/") == 0 || strcmp(name, "/.") == 0 || strcmp(name, "/..") == 0)
		return error_set(err, REASON_INVALID, EISDIR, METHOD_HOSTS ": %.64s is a folder",
				 path);
	return 0;
}

/* As inet_ntop(3) writes it: what inet_pton(3) takes has more than one form. */
static bool get_address(const json_t *json, char out[INET6_ADDRSTRLEN])
{
	const char *text = rpc_string(json);
	int family = text != NULL && strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
	struct in6_addr addr;

	return text != NULL && inet_pton(family, text, &addr) == 1 &&
	       inet_ntop(family, &addr, out, INET6_ADDRSTRLEN) != NULL;
}

static int add_line(struct lines *lines, const char *address, const json_t *json, struct error *err)
{
	const char *name = rpc_string(json);
	_cleanup_free_ char *line = NULL;
	size_t length;

	if (name == NULL || !host_name_is_valid(name))
		return error_set(err, REASON_INVALID, EINVAL,
				 METHOD_HOSTS ": \"%.64s\" is not a host name",
				 name != NULL ? name : "");
	if (lines->count++ == HOSTS_NAMES_MAX)
		return error_set(err, REASON_INVALID, EINVAL, METHOD_HOSTS ": more than %d names",
				 HOSTS_NAMES_MAX);
	line = xasprintf("%s %s\n", address, name);
	length = strlen(line);
	lines->text = xrealloc(lines->text, lines->length + length + 1);
	memcpy(lines->text + lines->length, line, length + 1);
	lines->length += length;
	return 0;
}

static int add_entry(struct lines *lines, const json_t *entry, struct error *err)
{
	const json_t *names = json_object_get(entry, "names");
	char address[INET6_ADDRSTRLEN];

	if (!get_address(json_object_get(entry, "address"), address))
		return error_set(err, REASON_INVALID, EINVAL,
				 METHOD_HOSTS ": an entry's address must be an IP address");
	if (json_array_size(names) == 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 METHOD_HOSTS ": an entry's names must be an array of names");
	for (size_t i = 0; i < json_array_size(names); i++) {
		if (add_line(lines, address, json_array_get(names, i), err) < 0)
			return -EPROTO;
	}
	return 0;
}

int rpc_get_hosts(const struct rpc_params *params, struct hosts_request *request, struct error *err)
{
	const json_t *entries = json_object_get(params->json, "entries");
	struct lines lines = { 0 };

	*request = (struct hosts_request){ 0 };
	if (rpc_get_string(METHOD_HOSTS, params, "path", false, &request->path, err) < 0)
		return -EPROTO;
	if (request->path == NULL)
		request->path = HOSTS_PATH;
	if (check_path(request->path, err) < 0 ||
	    rpc_get_string(METHOD_HOSTS, params, "tag", true, &request->tag, err) < 0)
		return -EPROTO;
	if (!name_is_valid(request->tag))
		return error_set(err, REASON_INVALID, EINVAL,
				 METHOD_HOSTS ": tag \"%.64s\" is not a valid name", request->tag);
	if (json_array_size(entries) == 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 METHOD_HOSTS ": entries must be an array of entries");
	for (size_t i = 0; i < json_array_size(entries); i++) {
		if (add_entry(&lines, json_array_get(entries, i), err) < 0) {
			free(lines.text);
			return -EPROTO;
		}
	}
	request->lines = lines.text;
	return 0;
}

json_t *rpc_hosts_params(const char *handle, const char *container_id, const char *path,
			 const char *tag, json_t *entries)
{
	return xcheck(json_pack("{s:o, s:o*, s:o, s:s, s:o}", "handle", rpc_system_string(handle),
				"containerID",
				container_id != NULL ? rpc_system_string(container_id) : NULL,
				"path", rpc_system_string(path), "tag", tag, "entries", entries));
}

json_t *rpc_hosts_written(const char *path)
{
	return xcheck(json_pack("{s:b, s:o}", "written", 1, "path", rpc_system_string(path)));
}

int rpc_check_hosts_written(json_t *result, struct error *err)
{
	if (!json_is_true(json_object_get(result, "written")))
		return rpc_not_an_answer(err, "the names were not written");
	return 0;
}
