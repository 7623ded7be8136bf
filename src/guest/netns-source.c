/* SPDX-License-Identifier: MIT */
/*
 * Which netns a handle or a container ID means. A name is looked up in --netns, the folders of
 * --netns-dir and the roots of --oci-root, in this order. That goes for handles as for
 * container IDs, since the sandbox of a pod is a container of its own to runc and crun.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "netns.h"
#include "oci.h"

#define NAMES_MAX 2048 /* times 255 bytes: half an answer */

struct text_list {
	char **texts;
	size_t count;
};

struct netns_source {
	struct netns_home home;
	char *pod_path;                /* --pod-netns; NULL: by pid, or the home */
	pid_t pod_pid;                 /* 0: none */
	struct text_list names, paths; /* --netns: paths[i] is names[i]'s */
	struct text_list dirs, oci_roots;
};

static void text_list_add(struct text_list *list, char *text)
{
	list->texts = xrealloc(list->texts, (list->count + 1) * sizeof(*list->texts));
	list->texts[list->count++] = text;
}

struct netns_source *netns_source_new(void)
{
	struct netns_source *s = xcalloc(1, sizeof(*s));

	netns_home_open(&s->home);
	return s;
}

void netns_source_free(struct netns_source *s)
{
	if (s == NULL)
		return;
	netns_home_close(&s->home);
	free(s->pod_path);
	names_free(s->names.texts, s->names.count);
	names_free(s->paths.texts, s->paths.count);
	names_free(s->dirs.texts, s->dirs.count);
	names_free(s->oci_roots.texts, s->oci_roots.count);
	free(s);
}

int netns_source_set_pod(struct netns_source *s, const char *path, struct error *err)
{
	if (*path == '\0')
		return error_set(err, REASON_INVALID, 0, "empty path of a netns");
	free(s->pod_path);
	s->pod_path = xstrdup(path);
	return 0;
}

int netns_source_set_pid(struct netns_source *s, pid_t pid, struct error *err)
{
	if (pid <= 0)
		return error_set(err, REASON_INVALID, 0, "%d is not a process ID", (int)pid);
	s->pod_pid = pid;
	return 0;
}

int netns_source_add_name(struct netns_source *s, const char *name_path, struct error *err)
{
	const char *equals = strchr(name_path, '=');
	_cleanup_free_ char *name = NULL;

	if (equals == NULL || equals[1] == '\0')
		return error_set(err, REASON_INVALID, 0, "NAME=PATH is wanted, got \"%s\"",
				 name_path);
	name = xstrndup(name_path, (size_t)(equals - name_path));
	if (!name_is_valid(name))
		return error_set(err, REASON_INVALID, 0, "\"%s\" is not a valid name", name);
	for (size_t i = 0; i < s->names.count; i++) {
		if (strcmp(s->names.texts[i], name) == 0)
			return error_set(err, REASON_INVALID, 0, "\"%s\" is given twice", name);
	}
	text_list_add(&s->names, name);
	name = NULL;
	text_list_add(&s->paths, xstrdup(equals + 1));
	return 0;
}

static int dir_add(struct text_list *list, const char *dir, struct error *err)
{
	if (*dir == '\0')
		return error_set(err, REASON_INVALID, 0, "empty path of a folder");
	text_list_add(list, xstrdup(dir));
	return 0;
}

int netns_source_add_dir(struct netns_source *s, const char *dir, struct error *err)
{
	return dir_add(&s->dirs, dir, err);
}

int netns_source_add_oci_root(struct netns_source *s, const char *dir, struct error *err)
{
	return dir_add(&s->oci_roots, dir, err);
}

/* A file in an ip-netns style folder. One that was unmounted stays behind as a plain file. */
static int open_in_dir(struct netns_source *s, const char *dir, const char *name,
		       struct netns **out, struct error *err)
{
	_cleanup_close_ int dirfd = open(dir, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
	int rc;

	if (dirfd < 0)
		rc = netns_error(err, errno, dir);
	else
		rc = netns_open_path(&s->home, dirfd, name, O_NOFOLLOW, out, err);
	if (rc == -ENOENT)
		return error_set(err, REASON_NOT_FOUND, ENOENT, "no such netns \"%s\"", name);
	if (rc == -ELOOP)
		return error_set(err, REASON_DENIED, ELOOP, "%s/%s: is a symbolic link", dir, name);
	return rc;
}

static int open_in_oci_root(struct netns_source *s, const char *root, const char *id,
			    struct netns **out, struct error *err)
{
	struct oci_state state;
	int rc = oci_state_read(root, id, &state, err);

	if (rc < 0)
		return rc;
	rc = netns_open_pid(&s->home, state.pid, state.start, out, err);
	if (rc < 0)
		error_prefix(err, "container %s", id);
	return rc;
}

/* A name that the options lead somewhere. `kind` is for the text: "pod" or "container". */
static int open_by_name(struct netns_source *s, const char *kind, const char *name,
			struct netns **out, struct error *err)
{
	struct error own;
	int rc;

	for (size_t i = 0; i < s->names.count; i++) {
		if (strcmp(s->names.texts[i], name) == 0)
			return netns_open_path(&s->home, AT_FDCWD, s->paths.texts[i], 0, out, err);
	}
	for (size_t i = 0; i < s->dirs.count + s->oci_roots.count; i++) {
		if (i < s->dirs.count)
			rc = open_in_dir(s, s->dirs.texts[i], name, out, &own);
		else
			rc = open_in_oci_root(s, s->oci_roots.texts[i - s->dirs.count], name, out,
					      &own);
		if (rc < 0 && own.reason == REASON_NOT_FOUND)
			continue;
		if (rc < 0 && err != NULL)
			*err = own;
		return rc;
	}
	return error_set(err, REASON_NOT_FOUND, 0, "no such %s \"%s\"", kind, name);
}

bool netns_source_has_one(const struct netns_source *s)
{
	return s->names.count + s->dirs.count + s->oci_roots.count == 0;
}

/* What a handle means where there is no container ID. */
static int open_by_handle(struct netns_source *s, const char *handle, struct netns **out,
			  struct error *err)
{
	if (!netns_source_has_one(s))
		return open_by_name(s, "pod", handle, out, err);
	if (s->pod_path != NULL)
		return netns_open_path(&s->home, AT_FDCWD, s->pod_path, 0, out, err);
	if (s->pod_pid != 0)
		return netns_open_pid(&s->home, s->pod_pid, 0, out, err);
	netns_open_home(&s->home, out);
	return 0;
}

int netns_open(struct netns_source *s, const char *handle, const char *container_id,
	       struct netns **out, struct error *err)
{
	struct netns *pod = NULL;
	struct error own;
	int rc;

	if (!name_is_valid(handle))
		return error_set(err, REASON_INVALID, 0, "handle \"%s\" is not a valid name",
				 handle);
	if (container_id == NULL)
		return open_by_handle(s, handle, out, err);
	/*
	 * The handle has to name a pod; whether that one's own netns is still there does not
	 * matter.
	 */
	rc = open_by_handle(s, handle, &pod, &own);
	netns_close(pod);
	if (rc < 0 && own.reason == REASON_NOT_FOUND) {
		if (err != NULL)
			*err = own;
		return rc;
	}
	if (!name_is_valid(container_id))
		return error_set(err, REASON_INVALID, 0, "containerID \"%s\" is not a valid name",
				 container_id);
	return open_by_name(s, "container", container_id, out, err);
}

static void names_add_dir(struct text_list *list, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (dir == NULL)
		return;
	while (list->count < NAMES_MAX && (entry = readdir(dir)) != NULL) {
		if (name_is_valid(entry->d_name))
			text_list_add(list, xstrdup(entry->d_name));
	}
	closedir(dir);
}

static int names_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int netns_source_names(struct netns_source *s, char ***names, size_t *count)
{
	struct text_list list = { 0 };
	size_t kept = 0;

	for (size_t i = 0; i < s->names.count && i < NAMES_MAX; i++)
		text_list_add(&list, xstrdup(s->names.texts[i]));
	for (size_t i = 0; i < s->dirs.count; i++)
		names_add_dir(&list, s->dirs.texts[i]);
	for (size_t i = 0; i < s->oci_roots.count; i++)
		names_add_dir(&list, s->oci_roots.texts[i]);
	if (list.count > 0)
		qsort(list.texts, list.count, sizeof(*list.texts), names_compare);
	for (size_t i = 0; i < list.count; i++) {
		if (kept > 0 && strcmp(list.texts[kept - 1], list.texts[i]) == 0)
			free(list.texts[i]);
		else
			list.texts[kept++] = list.texts[i];
	}
	*names = list.texts;
	*count = kept;
	return 0;
}

void names_free(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}
