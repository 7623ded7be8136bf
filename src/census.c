/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "census.h"
#include "lib/link.h"

#define LIMIT_MS 2000
#define SUFFIX ".sock"

/* One of those that are asked. */
struct asked {
	TAILQ_ENTRY(asked) next;
	struct census *census;
	pid_t pid; /* by the socket's name; 0: serve */
	char *path;
	struct link *link;
	json_t *result; /* NULL: none yet, or never */
	bool over;
};

struct census {
	struct loop *loop;
	census_cb cb;
	void *arg;
	TAILQ_HEAD(, asked) asked; /* by pid */
	size_t waiting;
	bool serve_wanted;
	struct loop_task end; /* the limit; or, when all have answered, now */
};

static void asked_free(struct asked *asked)
{
	TAILQ_REMOVE(&asked->census->asked, asked, next);
	link_free(asked->link);
	json_decref(asked->result);
	free(asked->path);
	free(asked);
}

void census_cancel(struct census *census)
{
	struct asked *asked;

	if (census == NULL)
		return;
	while ((asked = TAILQ_FIRST(&census->asked)) != NULL)
		asked_free(asked);
	loop_cancel(&census->end);
	free(census);
}

/* True if it is what forward.list answers. Each forward gets its process. */
static bool gather(json_t *forwards, json_t *result)
{
	json_t *process = json_object_get(result, "process");
	json_t *theirs = json_object_get(result, "forwards"), *forward;
	size_t i;

	if (!json_is_array(theirs) || !json_is_object(process))
		return false;
	json_array_foreach (theirs, i, forward) {
		if (!json_is_object(forward))
			return false;
		json_object_set(forward, "process", process);
	}
	json_array_extend(forwards, theirs);
	return true;
}

static void census_end(void *arg)
{
	struct census *census = arg;
	_cleanup_json_ json_t *forwards = json_array();
	census_cb cb = census->cb;
	void *cb_arg = census->arg;
	struct asked *asked;

	TAILQ_FOREACH (asked, &census->asked, next) {
		if (!asked->over)
			log_warning(NULL, "%s: no answer within %d s", asked->path,
				    LIMIT_MS / 1000);
		else if (asked->result != NULL && !gather(forwards, asked->result))
			log_warning(NULL, "%s: that is no answer to forward.list", asked->path);
	}
	census_cancel(census);
	cb(forwards, cb_arg);
}

static void over(struct asked *asked)
{
	struct census *census = asked->census;

	asked->over = true;
	if (--census->waiting == 0)
		loop_later(census->loop, &census->end, 0, census_end, census);
}

/* Nobody listens there; and nobody is about to, as between bind(2) and listen(2). */
static void remove_stale(const struct asked *asked)
{
	if (asked->pid != 0 && kill(asked->pid, 0) < 0 && errno == ESRCH)
		unlink(asked->path);
}

static void failed(struct asked *asked, const struct error *err)
{
	bool absent = err->sys_errno == ECONNREFUSED || err->sys_errno == ENOENT;

	if (err->sys_errno == ECONNREFUSED)
		remove_stale(asked);
	if (!absent || (asked->pid == 0 && asked->census->serve_wanted))
		log_warning(NULL, "%s: %s", absent ? "serve" : asked->path, err->message);
	over(asked);
}

static void answered(struct link *link, json_t *result, const struct error *err, void *arg)
{
	struct asked *asked = arg;

	(void)link;
	if (err != NULL) {
		failed(asked, err);
		return;
	}
	asked->result = json_incref(result);
	over(asked);
}

static void opened(struct link *link, const struct error *err, void *arg)
{
	struct asked *asked = arg;

	if (err != NULL)
		failed(asked, err);
	else
		/* The limit is the census' own. */
		link_call(link, "forward.list", json_object(), 2 * LIMIT_MS, answered, asked);
}

/* Takes the path. */
static void ask(struct census *census, pid_t pid, char *path)
{
	struct asked *asked = xcalloc(1, sizeof(*asked)), *later;
	struct pod pod = { .endpoint = { .type = ENDPOINT_UNIX, .text = path } };
	struct link_options options = { .pod = &pod, .name.label = "status" };

	asked->census = census;
	asked->pid = pid;
	asked->path = path;
	TAILQ_FOREACH (later, &census->asked, next) {
		if (later->pid > pid)
			break;
	}
	if (later != NULL)
		TAILQ_INSERT_BEFORE(later, asked, next);
	else
		TAILQ_INSERT_TAIL(&census->asked, asked, next);
	census->waiting++;
	asked->link = link_open(census->loop, &options, opened, asked);
}

/* The pid of PID.sock, or 0. */
static pid_t pid_of(const char *name)
{
	_cleanup_free_ char *copy = xstrdup(name);
	char *suffix = strstr(copy, SUFFIX);
	uint64_t pid;

	if (suffix == NULL || strcmp(suffix, SUFFIX) != 0)
		return 0;
	*suffix = '\0';
	return parse_uint(copy, INT32_MAX, &pid) == 0 ? (pid_t)pid : 0;
}

static void ask_all(struct census *census, const char *dir)
{
	DIR *listing = opendir(dir);
	const struct dirent *entry;
	pid_t pid;

	if (listing == NULL) {
		if (errno != ENOENT)
			log_warning(NULL, "%s: %s", dir, errno_text(errno));
		return;
	}
	while ((entry = readdir(listing)) != NULL) {
		pid = pid_of(entry->d_name);
		if (pid > 0)
			ask(census, pid, xasprintf("%s/%s", dir, entry->d_name));
	}
	closedir(listing);
}

struct census *census_start(struct loop *loop, const char *dir, const char *serve_socket,
			    bool serve_wanted, census_cb cb, void *arg)
{
	struct census *census = xcalloc(1, sizeof(*census));

	*census =
		(struct census){ .loop = loop, .cb = cb, .arg = arg, .serve_wanted = serve_wanted };
	TAILQ_INIT(&census->asked);
	ask_all(census, dir);
	if (serve_socket != NULL)
		ask(census, 0, xstrdup(serve_socket));
	loop_later(loop, &census->end, census->waiting > 0 ? LIMIT_MS : 0, census_end, census);
	return census;
}
