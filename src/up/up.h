/* SPDX-License-Identifier: MIT */
/*
 * The forwards that a file of `vzfwd up` asks for: applied as a whole, by a backend that listens, either this
 * process (direct.c) or a `vzfwd serve` (server.c).
 */
#ifndef VZFWD_UP_H
#define VZFWD_UP_H

#include "file.h"
#include "forwarding.h"

struct up_backend {
	/*
	 * Makes a forward: 0 and *handle, or a negative number with *err. `predecessor` is NULL, or the handle
	 * of one with forward_spec_same_local(), whose listeners it gets too; either may be removed then.
	 */
	int (*add)(void *backend, const struct up_entry *entry, void *predecessor, void **handle,
		   struct error *err);
	/* It listens no more; its connections go on. The handle is gone. */
	void (*remove)(void *backend, void *handle);
	/* Its listener i as it is printed, or NULL. */
	const char *(*listener)(const void *handle, size_t i);
};

struct up {
	const struct up_backend *backend;
	void *arg;           /* the backend's */
	struct up_file file; /* what is applied */
};

/*
 * Takes the file over in place of the one before: forwards that are in both are not touched, the others removed and
 * added, and told of on stdout. 0, or a negative number with *err: then all is as it was, and the file still the caller's.
 */
int up_apply(struct up *up, struct up_file *file, struct error *err);

/* Forwards of this process. */
struct up_direct {
	struct forwarding *forwarding;
	const char *pods_dir;
	const struct policy *policy;
	int retry_ms;
};
extern const struct up_backend up_direct; /* arg: struct up_direct */

/* Forwards of a server, for as long as the connection to it lasts. */
struct up_server;
extern const struct up_backend up_server; /* arg: struct up_server */

/*
 * Connects to the server at `path`. `gone` is called when it has ended, and with it the forwards. NULL with *err:
 * REASON_UNREACHABLE (-ENOENT and -ECONNREFUSED: there is none), REASON_DENIED (it is somebody else's), ...
 */
struct up_server *up_server_open(struct loop *loop, const char *path, void (*gone)(void *arg),
				 void *arg, struct error *err);
void up_server_close(struct up_server *server); /* its forwards end; NULL is harmless */

#endif
