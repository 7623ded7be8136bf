/* SPDX-License-Identifier: MIT */
/*
 * The folder is looked up once, as the pod would (see dial-unix.c, for the policy too), and kept open, so that a block
 * goes from where it has come to whatever the pod does to the path, and from a container's files also after its init
 * process has ended. Now and then the pod is looked for, as by accept.c: if it has gone, or is another one, the host is told,
 * and nothing of it is kept.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/log.h"
#include "hosts-block.h"
#include "hosts-file.h"

#define BLOCKS_MAX 64
#define LOOK_MS 1000

/* What tells a folder from others: a container may have the same one with another file mounted in it. */
struct folder_id {
	dev_t dev;
	ino_t ino;
	int mount;
};

struct hosts_block {
	TAILQ_ENTRY(hosts_block) next;
	struct hosts_blocks *all;
	struct netns_source *source;
	char *handle, *container_id; /* NULL: the pod's own */
	struct netns *ns;
	int folder; /* O_PATH */
	struct folder_id id;
	char *path, *tag, *lines;
	bool over;
	void (*gone)(void *arg);
	void *arg;
	struct loop_task telling;
};

/* The loop's, for as long as there is one. */
struct hosts_blocks {
	struct loop *loop;
	TAILQ_HEAD(hosts_block_list, hosts_block) list; /* the newest is last */
	size_t count;
	struct loop_task look;
};

static int check_allowed(const struct policy *policy, const char *path, const char *asked,
			 struct error *err)
{
	if (policy_allows_hosts(policy, path))
		return 0;
	if (asked == NULL)
		return error_set(err, REASON_DENIED, 0, "%s is not allowed; see --hosts-file",
				 path);
	return error_set(err, REASON_DENIED, 0,
			 "%s leads to %s, which is not allowed; see --hosts-file", asked, path);
}

/* The folder that the path's last name is in: fd, or a negative number with *err. */
static int open_folder(const struct netns *ns, const struct policy *policy, const char *path,
		       struct error *err)
{
	const char *name = strrchr(path, '/') + 1;
	_cleanup_free_ char *above = xstrndup(path, (size_t)(name - path)), *place = NULL;
	_cleanup_close_ int root = -1, folder = -1;

	if (check_allowed(policy, path, NULL, err) < 0)
		return -EPROTO;
	root = netns_open_root(ns, err);
	if (root < 0)
		return root;
	folder = netns_open_in_root(root, above, O_PATH | O_DIRECTORY);
	if (folder == -ENOENT || folder == -ENOTDIR)
		return error_set(err, REASON_NOT_FOUND, -folder, "%s: %s", above,
				 errno_text(-folder));
	if (folder < 0)
		return netns_error(err, -folder, above);
	place = netns_place(root, folder, name, err);
	if (place == NULL || check_allowed(policy, place, path, err) < 0)
		return -EPROTO;
	return steal_fd(&folder);
}

static struct hosts_blocks *blocks_get(struct loop *loop)
{
	struct hosts_blocks *all = loop->hosts;

	if (all == NULL) {
		all = loop->hosts = xcalloc(1, sizeof(*all));
		all->loop = loop;
		TAILQ_INIT(&all->list);
	}
	return all;
}

static bool same_place(const struct hosts_block *a, const struct hosts_block *b)
{
	return a->id.dev == b->id.dev && a->id.ino == b->id.ino && a->id.mount == b->id.mount &&
	       strcmp(strrchr(a->path, '/'), strrchr(b->path, '/')) == 0 &&
	       strcmp(a->tag, b->tag) == 0;
}

/* The newest one of that place that is not over, which is the one that is in the file. */
static const struct hosts_block *newest_at(const struct hosts_block *b)
{
	const struct hosts_block *other;

	TAILQ_FOREACH_REVERSE(other, &b->all->list, hosts_block_list, next)
	{
		if (!other->over && same_place(other, b))
			return other;
	}
	return NULL;
}

static void block_tell(void *arg)
{
	struct hosts_block *b = arg;

	b->gone(b->arg);
}

/* True if the pod that it was written for is still that one. */
static bool block_is_right(const struct hosts_block *b)
{
	struct netns *ns;
	struct error err;
	bool right;

	if (netns_open(b->source, b->handle, b->container_id, &ns, &err) < 0)
		return err.reason != REASON_NOT_FOUND && err.reason != REASON_NOT_RUNNING;
	right = netns_is_still(b->ns, ns);
	netns_close(ns);
	return right;
}

static void blocks_look(void *arg)
{
	struct hosts_blocks *all = arg;
	struct hosts_block *b;

	TAILQ_FOREACH (b, &all->list, next) {
		if (b->over || block_is_right(b))
			continue;
		b->over = true;
		log_info(&(struct log_name){ b->path, 0 }, "the pod has gone");
		if (b->gone != NULL)
			loop_later(all->loop, &b->telling, 0, block_tell, b);
	}
	loop_later(all->loop, &all->look, LOOK_MS, blocks_look, all);
}

static void block_free(struct hosts_block *b)
{
	struct hosts_blocks *all = b->all;

	TAILQ_REMOVE(&all->list, b, next);
	if (--all->count == 0) {
		loop_cancel(&all->look);
		all->loop->hosts = NULL;
		free(all);
	}
	loop_cancel(&b->telling);
	netns_close(b->ns);
	if (b->folder >= 0)
		close(b->folder);
	free(b->handle);
	free(b->container_id);
	free(b->path);
	free(b->tag);
	free(b->lines);
	free(b);
}

static struct hosts_block *block_add(struct loop *loop, const struct accept_pod *pod,
				     struct netns *ns, int folder,
				     const struct hosts_request *request)
{
	struct hosts_block *b = xcalloc(1, sizeof(*b));
	struct stat st = { 0 };

	fstat(folder, &st);
	b->all = blocks_get(loop);
	b->source = pod->source;
	b->handle = xstrdup(pod->handle);
	b->container_id = pod->container_id != NULL ? xstrdup(pod->container_id) : NULL;
	b->ns = ns;
	b->folder = folder;
	b->id = (struct folder_id){ st.st_dev, st.st_ino, hosts_mount_of(folder) };
	b->path = xstrdup(request->path);
	b->tag = xstrdup(request->tag);
	b->lines = xstrdup(request->lines);
	TAILQ_INSERT_TAIL(&b->all->list, b, next);
	if (b->all->count++ == 0)
		loop_later(loop, &b->all->look, LOOK_MS, blocks_look, b->all);
	return b;
}

int hosts_block_new(struct loop *loop, const struct accept_pod *pod, struct netns *ns,
		    const struct policy *policy, const struct hosts_request *request,
		    struct hosts_block **out, struct error *err)
{
	int rc = 0, folder = -1;

	if (loop->hosts != NULL && loop->hosts->count >= BLOCKS_MAX)
		rc = error_set(err, REASON_EXHAUSTED, 0, "more than %d hosts files", BLOCKS_MAX);
	if (rc == 0)
		rc = folder = open_folder(ns, policy, request->path, err);
	if (rc < 0) {
		netns_close(ns);
		return rc;
	}
	rc = hosts_file_set(folder, request->path, request->tag, request->lines, err);
	if (rc < 0) {
		netns_close(ns);
		close(folder);
		return rc;
	}
	*out = block_add(loop, pod, ns, folder, request);
	log_info(&(struct log_name){ request->path, 0 }, "has the names of %s", request->tag);
	return 0;
}

void hosts_block_listen(struct hosts_block *b, void (*gone)(void *arg), void *arg)
{
	b->gone = gone;
	b->arg = arg;
	if (b->over)
		loop_later(b->all->loop, &b->telling, 0, block_tell, b);
}

/* Whichever is the newest then is in the file, if it is not already. */
void hosts_block_free(struct hosts_block *b)
{
	const struct hosts_block *newest;
	struct error err;
	int rc;

	if (b == NULL)
		return;
	b->over = true;
	newest = newest_at(b);
	if (newest != NULL)
		rc = hosts_file_set(b->folder, b->path, b->tag, newest->lines, &err);
	else
		rc = hosts_file_remove(b->folder, b->path, b->tag, &err);
	if (rc < 0)
		log_warning(&(struct log_name){ b->path, 0 }, "the names of %s stay in it: %s",
			    b->tag, err.message);
	else
		log_info(&(struct log_name){ b->path, 0 }, "no more names of %s", b->tag);
	block_free(b);
}
