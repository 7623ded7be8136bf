/* SPDX-License-Identifier: MIT */
/*
 * Dropping privileges. What is kept to enter network namespaces, and what for:
 *
 * CAP_SYS_ADMIN        setns(2)
 * CAP_SYS_PTRACE       /proc/PID/ns/net, root and fd of processes that have other capabilities
 * CAP_DAC_READ_SEARCH  the state directories of runc and crun (0700), and /proc/PID/fd of processes
 *                      of other users, to name who listens
 * CAP_DAC_OVERRIDE     with --allow-unix only: connect(2) wants a Unix socket to be writable
 * CAP_NET_ADMIN        with --allow-expose: alias addresses; with --allow-egress: routes, and BPF's sockmap. The rest
 *                      of BPF takes CAP_BPF, which CAP_SYS_ADMIN includes
 * CAP_NET_BIND_SERVICE with these two: ports below 1024 in pods
 * CAP_NET_RAW          with --allow-egress: answers to UDP clients, as from where these have sent to
 *
 * CAP_DAC_READ_SEARCH adds nothing to what the first two can do; without it pod.ports would not know the
 * server that runs as a user of its own, and a dialer that does not run as root no container.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#ifdef __linux__
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include "caps.h"

int caps_user_parse(struct caps_user *user, const char *text, struct error *err)
{
	const char *colon = strchr(text, ':');
	_cleanup_free_ char *uid_text =
		colon != NULL ? xstrndup(text, (size_t)(colon - text)) : xstrdup(text);
	uint64_t uid, gid;

	/* The largest number means "unchanged" to setuid(2) and setgid(2). */
	if (parse_uint(uid_text, UINT32_MAX - 1, &uid) < 0 ||
	    parse_uint(colon != NULL ? colon + 1 : uid_text, UINT32_MAX - 1, &gid) < 0)
		return error_set(err, REASON_INVALID, 0, "--user: UID[:GID] is wanted, got \"%s\"",
				 text);
	*user = (struct caps_user){ .set = true, .uid = (uid_t)uid, .gid = (gid_t)gid };
	return 0;
}

#ifdef __linux__

#define BIT(cap) (UINT64_C(1) << (cap))

static const struct {
	enum caps_kept kept;
	uint64_t mask;
} masks[] = {
	{ CAPS_KILL, BIT(CAP_KILL) },
	{ CAPS_NETNS, BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_READ_SEARCH) },
	{ CAPS_UNIX, BIT(CAP_DAC_OVERRIDE) },
	{ CAPS_NETWORK, BIT(CAP_NET_ADMIN) },
	{ CAPS_EXPOSE, BIT(CAP_NET_ADMIN) | BIT(CAP_NET_BIND_SERVICE) },
	{ CAPS_EGRESS, BIT(CAP_NET_ADMIN) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_NET_RAW) },
};

static uint64_t mask_of(unsigned kept)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
		if (kept & masks[i].kept)
			mask |= masks[i].mask;
	}
	return mask;
}

static int user_change(const struct caps_user *user, struct error *err)
{
	if (geteuid() != 0) {
		if (user->uid == geteuid() && user->gid == getegid())
			return 0;
		return error_set(err, REASON_DENIED, EPERM,
				 "--user: only root can become another user");
	}
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
	    setgid(user->gid) < 0 || setuid(user->uid) < 0 ||
	    prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return error_set(err, REASON_DENIED, errno, "--user: %s", errno_text(errno));
	return 0;
}

/*
 * The bounding and ambient sets. It takes CAP_SETPCAP, which is still there at this point if
 * it ever was; without it, no_new_privs does the same.
 */
static void bounds_reduce(uint64_t kept)
{
	for (unsigned cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		if (!(kept & BIT(cap)))
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	}
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

/* Permitted and effective: those of the kept ones that we have. Inheritable: none. */
static int sets_reduce(uint64_t kept, struct error *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &header, data) < 0)
		return error_set(err, REASON_INTERNAL, errno, "capget: %s", errno_text(errno));
	for (size_t i = 0; i < ARRAY_SIZE(data); i++) {
		data[i].permitted &= (uint32_t)(kept >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return error_set(err, REASON_INTERNAL, errno, "capset: %s", errno_text(errno));
	return 0;
}

int caps_drop(unsigned kept, const struct caps_user *user, struct error *err)
{
	uint64_t mask = mask_of(kept);
	int rc = 0;

	bounds_reduce(mask);
	if (user != NULL && user->set)
		rc = user_change(user, err);
	if (rc == 0)
		rc = sets_reduce(mask, err);
	if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		rc = error_set(err, REASON_INTERNAL, errno, "no_new_privs: %s", errno_text(errno));
	return rc;
}

#else

int caps_drop(unsigned kept, const struct caps_user *user, struct error *err)
{
	(void)kept;
	(void)user;
	(void)err;
	return 0;
}

#endif
