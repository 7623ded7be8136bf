/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "lib/watch.h"
#include "accept-egress.h"

#define LOOK_MS 100 /* between looks at the addresses, however fast they change */

struct egress {
	LIST_ENTRY(egress) next;
	struct loop *loop;
	struct watch changes;
	struct loop_task looking;
	int64_t looked; /* now_ms() */
	struct netns_id ns;
	unsigned holders;
	struct steer *steer;
	uint64_t inodes[STEER_SOCKETS]; /* of its sockets; 0: there is none */
};

static struct egress *egress_find(const struct egresses *all, struct netns_id ns)
{
	struct egress *egress;

	LIST_FOREACH (egress, all, next) {
		if (netns_id_same(egress->ns, ns))
			return egress;
	}
	return NULL;
}

static void note_inodes(struct egress *egress)
{
	struct stat st;

	for (size_t i = 0; i < STEER_SOCKETS; i++) {
		int fd = egress->steer->sockets[i];

		egress->inodes[i] = fd >= 0 && fstat(fd, &st) == 0 ? st.st_ino : 0;
	}
}

static void look(void *arg)
{
	struct egress *egress = arg;

	egress->looked = now_ms();
	steer_look(egress->steer);
}

static void addresses_changed(struct watch *watch, unsigned ready)
{
	struct egress *egress = container_of(watch, struct egress, changes);
	int64_t since = now_ms() - egress->looked;

	(void)ready;
	if (egress->looking.list != NULL)
		return;
	if (since >= LOOK_MS)
		look(egress);
	else
		loop_later(egress->loop, &egress->looking, (int)(LOOK_MS - since), look, egress);
}

int egress_hold(struct egresses *all, struct loop *loop, struct netns *ns, struct egress **out,
		struct error *err)
{
	struct egress *egress = egress_find(all, netns_id(ns));
	struct steer *steer;
	int rc;

	if (egress == NULL) {
		rc = steer_start(ns, &steer, err);
		if (rc < 0)
			return rc;
		egress = xcalloc(1, sizeof(*egress));
		egress->ns = netns_id(ns);
		egress->steer = steer;
		egress->loop = loop;
		egress->looked = now_ms() - LOOK_MS;
		note_inodes(egress);
		LIST_INSERT_HEAD(all, egress, next);
		rc = watch_start(loop, &egress->changes, steer->changes, WATCH_READ,
				 addresses_changed);
		if (rc < 0) {
			egress->holders = 1;
			egress_release(egress);
			return error_set(err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
		}
	}
	egress->holders++;
	*out = egress;
	return 0;
}

void egress_release(struct egress *egress)
{
	if (egress == NULL || --egress->holders > 0)
		return;
	LIST_REMOVE(egress, next);
	watch_stop(egress->loop, &egress->changes);
	loop_cancel(&egress->looking);
	steer_stop(egress->steer);
	free(egress);
}

int egress_socket(const struct egress *egress, enum steer_socket which)
{
	return fcntl(egress->steer->sockets[which], F_DUPFD_CLOEXEC, 0);
}

bool egresses_own(const struct egresses *all, uint64_t inode)
{
	const struct egress *egress;

	LIST_FOREACH (egress, all, next) {
		for (size_t i = 0; i < STEER_SOCKETS; i++) {
			if (egress->inodes[i] == inode)
				return true;
		}
	}
	return false;
}

int egress_pass(const struct egresses *all, struct netns_id ns, const struct address *addr,
		bool pass, struct error *err)
{
	const struct egress *egress = egress_find(all, ns);

	return egress != NULL ? steer_pass(egress->steer, addr, pass, err) : 0;
}
