/* SPDX-License-Identifier: MIT */
/* A test in a netns of its own, and other netns beside it. */
#ifndef VZFWD_NETNS_FIXTURE_H
#define VZFWD_NETNS_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "guest/netns.h"

struct fixture {
	struct netns_home home;
	struct netns *own; /* where the test is */
};

/* Why this can't be tested here; NULL: the test is in a fresh netns. */
static const char *fixture_open(struct fixture *f)
{
	if (unshare(CLONE_NEWNET) < 0)
		return errno == EPERM ? "needs root" : strerror(errno);
	netns_home_open(&f->home);
	if (!f->home.can_return)
		return "cannot come back to a netns here";
	netns_open_home(&f->home, &f->own);
	return NULL;
}

static void fixture_close(struct fixture *f)
{
	netns_close(f->own);
	netns_home_close(&f->home);
}

/* A netns that nobody lives in, NULL if there can't be one. */
__attribute__((unused)) static struct netns *fixture_other(struct fixture *f)
{
	struct netns *ns = NULL;
	struct error err;

	if (unshare(CLONE_NEWNET) < 0)
		return NULL;
	/* Opened by a home of which it is not the home itself. */
	if (netns_open_path(&f->home, AT_FDCWD, "/proc/thread-self/ns/net", 0, &ns, &err) < 0)
		ns = NULL;
	if (setns(f->home.fd, CLONE_NEWNET) < 0)
		abort();
	return ns;
}

#endif
