/* SPDX-License-Identifier: MIT */
/*
 * The registry of pods: reads, writes and lists its files, and finds the pod
 * that a command means.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "pods.h"
#include "rpc.h"
#include "trusted.h"

#define POD_FILE_MAX (64u * 1024)
#define SUFFIX ".json"
#define DEFAULT_HANDLE "default"

void pod_clear(struct pod *pod)
{
	free(pod->name);
	endpoint_clear(&pod->endpoint);
	free(pod->handle);
	free(pod->token_file);
	memset(pod, 0, sizeof(*pod));
}

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

char *pods_dir(const char *option, struct error *err)
{
	const char *dir = option ? option : environment("VZFWD_PODS_DIR");
	char *path;

	if (dir && !*dir) {
		error_set(err, REASON_INVALID, EINVAL, "--pods-dir: must not be empty");
		return NULL;
	}
	if (dir)
		return xstrdup(dir);
	path = run_path("pods", err);
	if (!path)
		error_set(err, REASON_INVALID, EINVAL,
			  "no folder for pods: XDG_RUNTIME_DIR is not set (use --pods-dir DIR)");
	return path;
}

static int check_name(const char *what, const char *name, struct error *err)
{
	if (name_is_valid(name))
		return 0;
	return error_set(err, REASON_INVALID, EINVAL,
			 "%s must be letters, digits and ._- and begin with one of the first two, "
			 "got %s",
			 what, *name ? name : "\"\"");
}

static int malformed(struct error *err, const char *path, const char *what)
{
	return error_set(err, REASON_NOT_RUNNING, EINVAL, "%s: malformed: %s", path, what);
}

/* A string member; *out stays NULL if there is none. */
static int get_string(json_t *json, const char *key, const char *path, const char **out,
		      struct error *err)
{
	json_t *value = json_object_get(json, key);
	_cleanup_free_ char *what = NULL;

	if (!value)
		return 0;
	*out = json_string_value(value);
	if (*out)
		return 0;
	what = xasprintf("%s must be a string", key);
	return malformed(err, path, what);
}

/* Who it belongs to if that is not the folder's owner. */
static int get_user(struct pod *pod, json_t *json, const char *path, struct error *err)
{
	json_t *value = json_object_get(json, "addedBy");

	if (!value)
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) >= UINT32_MAX)
		return malformed(err, path, "addedBy must be a uid");
	pod->lent = pod->endpoint.lent = true;
	pod->added_by = pod->endpoint.uid = (uid_t)json_integer_value(value);
	return 0;
}

static int fill_pod(struct pod *pod, json_t *json, const char *name, const char *path,
		    struct error *err)
{
	const char *endpoint = NULL, *handle = name, *token_file = NULL;
	struct error why;

	if (!json_is_object(json))
		return malformed(err, path, "must be a JSON object");
	if (get_string(json, "endpoint", path, &endpoint, err) < 0 ||
	    get_string(json, "handle", path, &handle, err) < 0 ||
	    get_string(json, "tokenFile", path, &token_file, err) < 0)
		return -EINVAL;
	if (!endpoint)
		return malformed(err, path, "endpoint is missing");
	if (endpoint_parse(&pod->endpoint, endpoint, &why) < 0)
		return malformed(err, path, why.message);
	if (pod->endpoint.type == ENDPOINT_FD)
		return malformed(err, path, "endpoint: fd: has a meaning to one process only");
	if (check_name("handle", handle, &why) < 0)
		return malformed(err, path, why.message);
	if (token_file && token_file[0] != '/')
		return malformed(err, path, "tokenFile must be an absolute path");
	if (get_user(pod, json, path, err) < 0)
		return -EINVAL;
	pod->name = xstrdup(name);
	pod->handle = xstrdup(handle);
	pod->token_file = token_file ? xstrdup(token_file) : NULL;
	return 0;
}

static int not_registered(const char *dir, const char *name, struct error *err)
{
	return error_set(err, REASON_NOT_FOUND, ENOENT, "no pod %s is registered in %s", name, dir);
}

/* `path` is the folder's; *pod is all zeros. */
static int load_at(int dir, const char *path, const char *name, struct pod *pod, struct error *err)
{
	_cleanup_free_ char *file = xasprintf("%s" SUFFIX, name);
	_cleanup_free_ char *whole = xasprintf("%s/%s", path, file);
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *json = NULL;
	json_error_t where;
	size_t length;
	int ret;

	ret = trusted_read(dir, file, whole, POD_FILE_MAX, &text, &length, err);
	/* The longest valid names have no file: ".json" does not fit behind them. */
	if (ret == -ENOENT || ret == -ENAMETOOLONG)
		return not_registered(path, name, err);
	if (ret < 0)
		return ret;
	if (length > POD_FILE_MAX)
		return malformed(err, whole, "larger than 64 KiB");
	json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
	if (!json)
		return error_set(err, REASON_NOT_RUNNING, EINVAL, "%s:%d:%d: malformed: %s", whole,
				 where.line, where.column, where.text);
	ret = fill_pod(pod, json, name, whole, err);
	if (ret < 0)
		pod_clear(pod);
	return ret;
}

int pods_load(const char *dir, const char *name, struct pod *pod, struct error *err)
{
	_cleanup_close_ int fd = -1;

	memset(pod, 0, sizeof(*pod));
	if (check_name("a pod's name", name, err) < 0)
		return -EINVAL;
	fd = trusted_open_dir(dir, false, err);
	if (fd == -ENOENT)
		return not_registered(dir, name, err);
	if (fd < 0)
		return fd;
	return load_at(fd, dir, name, pod, err);
}

struct names {
	char **text;
	size_t count;
};

static void names_clear(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->text[i]);
	free(names->text);
}
#define _cleanup_names_ __attribute__((cleanup(names_clear)))

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What the folder's files are named, without their suffix, sorted; hidden ones are left out. */
static int names_read(int dir, const char *path, struct names *names, struct error *err)
{
	int copy = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	DIR *stream = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (!stream) {
		int sys_errno = errno;

		if (copy >= 0)
			close(copy);
		return trusted_error(err, sys_errno, path);
	}
	while ((entry = readdir(stream))) {
		size_t length = strlen(entry->d_name), suffix = strlen(SUFFIX);

		if (entry->d_name[0] == '.' || length <= suffix ||
		    strcmp(entry->d_name + length - suffix, SUFFIX) != 0)
			continue;
		names->text = xrealloc(names->text, (names->count + 1) * sizeof(*names->text));
		names->text[names->count++] = xstrndup(entry->d_name, length - suffix);
	}
	closedir(stream);
	if (names->count > 0)
		qsort(names->text, names->count, sizeof(*names->text), compare_names);
	return 0;
}

int pods_list(const char *dir, struct pod **pods, size_t *count,
	      void (*bad)(const char *name, const struct error *err, void *arg), void *arg,
	      struct error *err)
{
	_cleanup_names_ struct names names = { 0 };
	_cleanup_close_ int fd = trusted_open_dir(dir, false, err);
	int ret;

	*pods = NULL;
	*count = 0;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	ret = names_read(fd, dir, &names, err);
	if (ret < 0)
		return ret;
	*pods = xcalloc(names.count + 1, sizeof(**pods));
	for (size_t i = 0; i < names.count; i++) {
		struct error why;

		if (!name_is_valid(names.text[i]))
			ret = error_set(&why, REASON_NOT_RUNNING, EINVAL,
					"%s/%s" SUFFIX ": is not named as a pod can be", dir,
					names.text[i]);
		else
			ret = load_at(fd, dir, names.text[i], &(*pods)[*count], &why);
		if (ret == 0)
			(*count)++;
		else if (ret != -ENOENT && bad) /* ENOENT: removed since it was listed */
			bad(names.text[i], &why, arg);
	}
	return 0;
}

int pods_count(const char *dir, size_t *count, struct error *err)
{
	_cleanup_names_ struct names names = { 0 };
	_cleanup_close_ int fd = trusted_open_dir(dir, false, err);
	int ret = fd;

	if (fd >= 0)
		ret = names_read(fd, dir, &names, err);
	*count = names.count;
	return ret == -ENOENT ? 0 : ret < 0 ? ret : 0;
}

void pods_list_free(struct pod *pods, size_t count)
{
	for (size_t i = 0; i < count; i++)
		pod_clear(&pods[i]);
	free(pods);
}

json_t *pod_to_json(const struct pod *pod)
{
	_cleanup_free_ char *endpoint = endpoint_format(&pod->endpoint);
	json_t *json = json_pack("{s:s, s:s, s:s}", "name", pod->name, "endpoint", endpoint,
				 "handle", pod->handle);

	if (pod->token_file)
		json_object_set_new(json, "tokenFile", json_string(pod->token_file));
	if (pod->lent)
		json_object_set_new(json, "addedBy", json_integer(pod->added_by));
	return json;
}

/* The file's text, owned by the caller, or NULL with *err. */
static char *format_pod(const struct pod *pod, struct error *err)
{
	_cleanup_free_ char *endpoint = endpoint_format(&pod->endpoint);
	const char *handle = pod->handle ? pod->handle : pod->name;
	_cleanup_json_ json_t *json = json_object();
	_cleanup_free_ char *text = NULL;

	if (pod->endpoint.type == ENDPOINT_FD) {
		error_set(
			err, REASON_INVALID, EINVAL,
			"a fd: endpoint has a meaning to one process only: it can't be registered");
		return NULL;
	}
	if (check_name("a pod's name", pod->name, err) < 0 || check_name("handle", handle, err) < 0)
		return NULL;
	if (pod->token_file && pod->token_file[0] != '/') {
		error_set(err, REASON_INVALID, EINVAL, "the token file's path must be absolute");
		return NULL;
	}
	if (json_object_set_new(json, "endpoint", json_string(endpoint)) < 0 ||
	    json_object_set_new(json, "handle", json_string(handle)) < 0 ||
	    (pod->token_file &&
	     json_object_set_new(json, "tokenFile", json_string(pod->token_file)) < 0) ||
	    (pod->lent && json_object_set_new(json, "addedBy", json_integer(pod->added_by)) < 0)) {
		error_set(err, REASON_INVALID, EILSEQ, "endpoint and token file must be UTF-8");
		return NULL;
	}
	text = json_dumps(json, JSON_COMPACT);
	if (!text || strlen(text) >= POD_FILE_MAX) {
		error_set(err, REASON_INVALID, EFBIG, "a pod's file must be below 64 KiB");
		return NULL;
	}
	return xasprintf("%s\n", text);
}

static int write_all(int fd, const char *text)
{
	for (size_t left = strlen(text); left > 0;) {
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			left -= (size_t)n;
		}
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* Writes the text into a new hidden file of the folder; puts its name into temp. 0 or -errno. */
static int write_temporary(int dir, const char *text, char *temp, size_t size)
{
	_cleanup_close_ int fd = -1;
	int ret;

	for (unsigned i = 0; fd < 0; i++) {
		snprintf(temp, size, ".tmp-%jd-%u", (intmax_t)getpid(), i);
		fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0 && errno != EEXIST)
			return -errno;
	}
	ret = write_all(fd, text);
	if (ret < 0)
		unlinkat(dir, temp, 0);
	return ret;
}

/* Gives the temporary file its name; without `replace`, of two who try at once one wins. */
static int publish(int dir, const char *temp, const char *file, bool replace)
{
	int ret;

	if (replace) {
		ret = renameat(dir, temp, dir, file) < 0 ? -errno : 0;
		if (ret == 0)
			return 0;
	} else {
		ret = linkat(dir, temp, dir, file, 0) < 0 ? -errno : 0;
	}
	unlinkat(dir, temp, 0);
	return ret;
}

int pods_add(const char *dir, const struct pod *pod, bool replace, struct error *err)
{
	_cleanup_free_ char *text = format_pod(pod, err);
	_cleanup_free_ char *file = NULL, *whole = NULL;
	_cleanup_close_ int fd = -1;
	char temp[64];
	int ret;

	if (!text)
		return -EINVAL;
	fd = trusted_open_dir(dir, true, err);
	if (fd < 0)
		return fd;
	file = xasprintf("%s" SUFFIX, pod->name);
	whole = xasprintf("%s/%s", dir, file);
	ret = write_temporary(fd, text, temp, sizeof(temp));
	if (ret == 0)
		ret = publish(fd, temp, file, replace);
	if (ret == 0 && fsync(fd) < 0)
		ret = -errno;
	if (ret == -EEXIST)
		return error_set(err, REASON_EXHAUSTED, EEXIST,
				 "pod %s is registered already (--replace replaces it)", pod->name);
	return ret < 0 ? trusted_error(err, -ret, whole) : 0;
}

int pods_remove(const char *dir, const char *name, struct error *err)
{
	_cleanup_free_ char *file = xasprintf("%s" SUFFIX, name);
	_cleanup_free_ char *whole = xasprintf("%s/%s", dir, file);
	_cleanup_close_ int fd = -1;
	int ret = 0;

	if (check_name("a pod's name", name, err) < 0)
		return -EINVAL;
	fd = trusted_open_dir(dir, false, err);
	if (fd < 0 && fd != -ENOENT)
		return fd;
	if (fd < 0)
		ret = fd;
	else if (unlinkat(fd, file, 0) < 0 || fsync(fd) < 0)
		ret = -errno;
	if (ret == -ENOENT || ret == -ENAMETOOLONG)
		return not_registered(dir, name, err);
	return ret < 0 ? trusted_error(err, -ret, whole) : 0;
}

/* REASON_INVALID that lists the pods, as far as there is room. */
static int ambiguous(const struct names *names, struct error *err)
{
	_cleanup_free_ char *list = xstrdup("");

	for (size_t i = 0; i < names->count; i++) {
		bool full = strlen(list) + strlen(names->text[i]) > ERROR_MESSAGE_MAX - 100;
		char *longer =
			xasprintf("%s%s%s", list, i > 0 ? ", " : "", full ? "..." : names->text[i]);

		free(list);
		list = longer;
		if (full)
			break;
	}
	return error_set(err, REASON_INVALID, EINVAL,
			 "no pod was named (-p or VZFWD_POD), and several are registered: %s",
			 list);
}

/* The name of the only pod that is registered, owned by the caller; NULL with *err. */
static char *only_pod(const char *dir, struct error *err)
{
	_cleanup_names_ struct names names = { 0 };
	_cleanup_close_ int fd = trusted_open_dir(dir, false, err);

	if (fd < 0 && fd != -ENOENT)
		return NULL;
	if (fd >= 0 && names_read(fd, dir, &names, err) < 0)
		return NULL;
	if (names.count == 1)
		return xstrdup(names.text[0]);
	if (names.count > 1)
		ambiguous(&names, err);
	else
		error_set(err, REASON_INVALID, EINVAL,
			  "no pod was named, and none is registered in %s "
			  "(vzfwd pod add NAME ENDPOINT)",
			  dir);
	return NULL;
}

int pods_resolve(const char *dir, const char *pod_arg, struct pod *pod, struct error *err)
{
	_cleanup_free_ char *default_dir = NULL, *only = NULL;

	memset(pod, 0, sizeof(*pod));
	if (!pod_arg)
		pod_arg = environment("VZFWD_POD");
	if (pod_arg && endpoint_is_endpoint(pod_arg)) {
		int ret = endpoint_parse(&pod->endpoint, pod_arg, err);

		if (ret == 0)
			pod->handle = xstrdup(DEFAULT_HANDLE);
		return ret;
	}
	if (!dir) {
		default_dir = pods_dir(NULL, err);
		if (!default_dir)
			return -EINVAL;
		dir = default_dir;
	}
	if (!pod_arg) {
		only = only_pod(dir, err);
		if (!only)
			return -EINVAL;
		pod_arg = only;
	}
	return pods_load(dir, pod_arg, pod, err);
}
