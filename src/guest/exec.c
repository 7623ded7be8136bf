/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd-guest exec`: enters a netns, sets the route and the resolver that a sandbox is to have, gives up
 * all that could change them again, and becomes the command.
 *
 * The order matters: the descriptors that were inherited are closed before any of our own is opened; the
 * netns and mounts take capabilities, which then go for good; the filter comes last, since it denies
 * setns(2), and a user may install one only with no_new_privs.
 */
#include "config.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "lib/caps.h"
#include "lib/sock.h"
#include "commands.h"
#include "mounts.h"
#include "netns.h"
#include "route.h"
#include "seccomp.h"

/* As of env(1) and chroot(1). */
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NO_COMMAND 127

#define NETNS_DIR "/run/netns/"
#define ROUTES_MAX 2 /* one for each family */

#define NR_CLOSE_RANGE 436 /* newer than some headers */

struct sandbox {
	struct common_options common;
	char *netns; /* its path */
	struct address routes[ROUTES_MAX];
	size_t route_count;
	struct address servers[RESOLVERS_MAX];
	size_t server_count;
	struct caps_user user;
	char **command; /* NULL-terminated */
};

enum option_id { OPTION_NETNS, OPTION_ROUTE_VIA, OPTION_DNS, OPTION_USER };

static const struct option_def options[] = {
	{ 0, "netns", VALUE_FILE, "NETNS", NULL, "the netns: a path, or a name in /run/netns",
	  OPTION_NETNS },
	{ 0, "route-via", VALUE_TEXT, "IP", NULL,
	  "the default route's gateway; twice for IPv4 and IPv6 (default: as it is)",
	  OPTION_ROUTE_VIA },
	{ 0, "dns", VALUE_TEXT, "IP", NULL,
	  "the name server; up to three times (default: the machine's resolv.conf)", OPTION_DNS },
	{ 0, "user", VALUE_TEXT, "UID[:GID]", NULL, "who runs the command", OPTION_USER },
	COMMON_OPTIONS,
};

static int option_netns(struct sandbox *s, const char *value, struct error *err)
{
	bool is_path = strchr(value, '/') != NULL;

	if (*value == '\0' || strcmp(value, ".") == 0 || strcmp(value, "..") == 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "--netns: must be a path, or a name in /run/netns, got %s", value);
	free(s->netns);
	s->netns = is_path ? xstrdup(value) : xasprintf(NETNS_DIR "%s", value);
	return 0;
}

static int option_ip(struct address *ip, const char *name, const char *value, struct error *err)
{
	if (address_parse_host(ip, value, NULL) < 0 || ip->family == AF_UNSPEC)
		return error_set(err, REASON_INVALID, EINVAL, "--%s: must be an IP address, got %s",
				 name, value);
	return 0;
}

static int option_route(struct sandbox *s, const char *value, struct error *err)
{
	struct address ip = { 0 };

	if (option_ip(&ip, "route-via", value, err) < 0)
		return -EINVAL;
	if (s->route_count == ROUTES_MAX ||
	    (s->route_count > 0 && s->routes[0].family == ip.family))
		return error_set(err, REASON_INVALID, EINVAL, "--route-via: one of a family");
	s->routes[s->route_count++] = ip;
	return 0;
}

static int option_dns(struct sandbox *s, const char *value, struct error *err)
{
	if (s->server_count == RESOLVERS_MAX)
		return error_set(err, REASON_INVALID, EINVAL, "--dns: at most %d", RESOLVERS_MAX);
	return option_ip(&s->servers[s->server_count++], "dns", value, err);
}

static int option_take(int id, const char *value, void *arg, struct error *err)
{
	struct sandbox *s = arg;
	int rc = common_option(&s->common, id, value, err);

	if (rc <= 0)
		return rc;
	switch ((enum option_id)id) {
	case OPTION_NETNS:
		return option_netns(s, value, err);
	case OPTION_ROUTE_VIA:
		return option_route(s, value, err);
	case OPTION_DNS:
		return option_dns(s, value, err);
	case OPTION_USER:
		return caps_user_parse(&s->user, value, err);
	}
	return 0;
}

static int options_take(struct sandbox *s, int argc, char **argv, struct error *err)
{
	int at = opts_parse_leading(argc, argv, options, option_take, s, err);

	if (at < 0 || s->common.help || s->common.version)
		return at;
	if (s->netns == NULL)
		return error_set(err, REASON_INVALID, EINVAL, "--netns is wanted");
	if (!s->user.set)
		return error_set(err, REASON_INVALID, EINVAL, "--user is wanted");
	if (at >= argc)
		return error_set(err, REASON_INVALID, EINVAL, "a command is wanted");
	s->command = argv + at;
	return 0;
}

/* All but stdin, stdout and stderr. Before Linux 5.9 as far as /proc tells. */
static int descriptors_close(struct error *err)
{
	DIR *dir;
	const struct dirent *entry;

	if (syscall(NR_CLOSE_RANGE, STDERR_FILENO + 1, ~0u, 0) == 0)
		return 0;
	dir = opendir("/proc/self/fd");
	if (dir == NULL)
		return error_set(err, REASON_INTERNAL, errno, "cannot list descriptors: %s",
				 errno_text(errno));
	while ((entry = readdir(dir)) != NULL) {
		uint64_t fd;

		/* Closing while reading is no matter to this folder. */
		if (parse_uint(entry->d_name, INT32_MAX, &fd) == 0 && fd > STDERR_FILENO &&
		    (int)fd != dirfd(dir))
			close((int)fd);
	}
	closedir(dir);
	return 0;
}

static int netns_enter(const char *path, struct error *err)
{
	struct netns_home home;
	struct netns *ns;
	int rc;

	netns_home_open(&home);
	rc = netns_open_path(&home, AT_FDCWD, path, 0, &ns, err);
	if (rc == 0) {
		rc = netns_join(ns, err);
		netns_close(ns);
	}
	netns_home_close(&home);
	return rc;
}

static int network_error(struct error *err, int sys_errno, const char *what)
{
	/* ENETUNREACH, EHOSTUNREACH: the gateway is no neighbour. */
	return error_set(err,
			 sys_errno == EPERM ? REASON_DENIED
			 : sys_errno == ENETUNREACH || sys_errno == EHOSTUNREACH
				 ? REASON_UNREACHABLE
				 : REASON_INTERNAL,
			 sys_errno, "%s: %s", what, errno_text(sys_errno));
}

static int network_set(const struct sandbox *s, struct error *err)
{
	_cleanup_close_ int fd = sock_new(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	char text[ADDRESS_TEXT_MAX];
	int rc = fd < 0 ? fd : route_loopback_up(fd);

	if (rc < 0)
		return network_error(err, -rc, "cannot bring lo up");
	for (size_t i = 0; i < s->route_count; i++) {
		rc = route_set_default(fd, &s->routes[i]);
		if (rc < 0) {
			inet_ntop(s->routes[i].family, &s->routes[i].v4, text, sizeof(text));
			network_error(err, -rc, text);
			return error_prefix(err, "--route-via");
		}
	}
	return 0;
}

/*
 * The bounding set has to be empty: root, with --user 0, would have all of it after execve(2) but for
 * no_new_privs.
 */
static int privileges_drop(const struct sandbox *s, struct error *err)
{
	if (caps_drop(CAPS_NONE, &s->user, err) < 0)
		return -EPERM;
	for (unsigned cap = 0;; cap++) {
		int has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (has > 0)
			return error_set(err, REASON_DENIED, EPERM,
					 "cannot empty the capability bounding set");
		if (has < 0)
			return seccomp_confine(err);
	}
}

static int sandbox_make(const struct sandbox *s, struct error *err)
{
	if (netns_enter(s->netns, err) < 0 || network_set(s, err) < 0 || mounts_unshare(err) < 0 ||
	    mounts_protect_sysctls(err) < 0 ||
	    (s->server_count > 0 && mounts_resolver(s->servers, s->server_count, err) < 0))
		return -EPROTO;
	return privileges_drop(s, err);
}

static int run(int argc, char **argv)
{
	struct sandbox s = { .common.log_level = LOG_LEVEL_INFO };
	struct error err;
	int rc = options_take(&s, argc, argv, &err);

	guest_command_start(&guest_exec, &s.common, rc, &err);
	rc = descriptors_close(&err);
	if (rc == 0)
		rc = sandbox_make(&s, &err);
	free(s.netns);
	if (rc < 0)
		return guest_command_fail(&err);
	execvp(s.command[0], s.command);
	rc = errno;
	log_error(NULL, "%s: %s", s.command[0], errno_text(rc));
	return rc == ENOENT ? EXIT_NO_COMMAND : EXIT_NOT_EXECUTABLE;
}

const struct guest_command guest_exec = {
	.name = "exec",
	.synopsis = "--netns NETNS --user UID[:GID] [--route-via IP]... [--dns IP]... [--] COMMAND "
		    "[ARGUMENT]...",
	.summary = "run a command in a netns that it can neither change nor leave",
	.details = "Enters the netns, sets its default route and the command's name server, gives "
		   "all\n"
		   "capabilities up for good and becomes the command. Its exit code is the "
		   "command's,\n"
		   "or 126 or 127 if it can't be executed or is not found.",
	.options = options,
	.run = run,
};
