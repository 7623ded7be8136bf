/* SPDX-License-Identifier: MIT */
/*
 * Network namespaces: which one a handle or container ID means, and sockets
 * inside of it.
 */
#ifndef VZFWD_NETNS_H
#define VZFWD_NETNS_H

#include <sys/stat.h>

#include "endpoint.h"

/*
 * Where pods' netns are found. Only names are kept; the netns itself is opened
 * at each dial, so that a restarted pod is found again.
 */
struct netns_source;

struct netns_source *netns_source_new(void);
void netns_source_free(struct netns_source *source);

/* --pod-netns PATH, pid:N, --netns NAME=PATH, --netns-dir DIR, --oci-root DIR. */
int netns_source_set_pod(struct netns_source *s, const char *path, struct error *err);
int netns_source_set_pid(struct netns_source *s, pid_t pid, struct error *err);
int netns_source_add_name(struct netns_source *s, const char *name_path, struct error *err);
int netns_source_add_dir(struct netns_source *s, const char *dir, struct error *err);
int netns_source_add_oci_root(struct netns_source *s, const char *dir, struct error *err);

/* True if every handle means the one pod. */
bool netns_source_has_one(const struct netns_source *s);

/* An opened netns: a handle for netns_socket(). */
struct netns;

/*
 * Opens the netns that a handle and container ID (NULL: the pod's own) mean; with none of
 * --netns, --netns-dir, --oci-root every handle is the pod's. REASON_NOT_FOUND: no such pod
 * or container; REASON_NOT_RUNNING: its netns or init process is gone; REASON_DENIED: not
 * permitted.
 */
int netns_open(struct netns_source *s, const char *handle, const char *container_id,
	       struct netns **out, struct error *err);
/* It may outlive its home from now on: 0, or a negative number with *err. Once. */
int netns_keep(struct netns *ns, struct error *err);
void netns_close(struct netns *ns); /* NULL is harmless */

/*
 * socket(2) inside the netns, close-on-exec and non-blocking: fd, or a negative number with
 * *err. Every look into a netns goes through such a socket (TCP, NETLINK_ROUTE, sock_diag).
 */
int netns_socket(struct netns *ns, int domain, int type, int protocol, struct error *err);

/* Enters the netns for good, with all of this process. 0, or a negative number with *err. */
int netns_join(struct netns *ns, struct error *err);

/*
 * The root folder of the pod: that of the process by which the netns was found (pid:, --oci-root), or
 * our own where only the netns is known. O_PATH, close-on-exec; fd, or a negative number with *err.
 */
int netns_open_root(const struct netns *ns, struct error *err);

/*
 * openat2(2) of a path as a process in that root folder would: neither a link nor ".." leads out of it, nor any
 * link of /proc that does so without a path. Close-on-exec; fd or -errno.
 */
int netns_open_in_root(int root, const char *path, uint64_t flags);

/*
 * Where a file that was opened so is, in that root folder, whatever links have led to it: with `name` (or NULL) behind
 * it, if it is a folder. In fresh memory; NULL with *err (REASON_DENIED: it is in there no more).
 */
char *netns_place(int root, int fd, const char *name, struct error *err);

/*
 * 1 if the netns itself holds the address (RTM_GETADDR, not a route look-up), 0 if not,
 * negative on error.
 */
int netns_has_address(struct netns *ns, const struct address *addr, struct error *err);

/* Names of the pods that are known by name, sorted, for guest.info. Freed by names_free(). */
int netns_source_names(struct netns_source *s, char ***names, size_t *count);
void names_free(char **names, size_t count);

/*
 * The parts below the source: netns.c opens and enters, netns-source.c knows which.
 *
 * The netns that this process lives in and comes back to. Without /proc fd is -1, and
 * netns_socket() enters others by a child.
 */
struct netns_home {
	int fd;
	dev_t dev;
	ino_t ino;
	bool can_return; /* setns() back is permitted, so it may be left */
};
void netns_home_open(struct netns_home *home);
void netns_home_close(struct netns_home *home);

/* All of them: 0, or a negative number with *err. The home is borrowed and outlives *out. */
void netns_open_home(const struct netns_home *home, struct netns **out);
/*
 * What open(2) said is in err->sys_errno; one that is no netns, or is missing, is
 * REASON_NOT_RUNNING.
 */
int netns_open_path(const struct netns_home *home, int dirfd, const char *path, int flags,
		    struct netns **out, struct error *err);
/* `start`: when the process began (field 22 of /proc/PID/stat), or 0 if not known. */
int netns_open_pid(const struct netns_home *home, pid_t pid, uint64_t start, struct netns **out,
		   struct error *err);

/* "what: no such file or directory", with the reason that an errno on the way to a pod means. */
int netns_error(struct error *err, int sys_errno, const char *what);

/* True if st, from stat(2) of a /proc/PID/ns/net, is of this netns. */
bool netns_is(const struct netns *ns, const struct stat *st);

/* What tells a netns from all others, for as long as it lives: something inside of it has to be kept open. */
struct netns_id {
	dev_t dev;
	ino_t ino;
};
struct netns_id netns_id(const struct netns *ns);

static inline bool netns_id_same(struct netns_id a, struct netns_id b)
{
	return a.dev == b.dev && a.ino == b.ino;
}

/*
 * True if what has been opened anew is what it was before: the same netns, by the same process if it was opened by
 * one, whose root folder it has.
 */
bool netns_is_still(const struct netns *ns, const struct netns *now);

/* A descriptor of the netns itself, for what a socket inside of it can't do. fd, or a negative number with *err. */
int netns_open_fd(const struct netns *ns, struct error *err);

#endif
