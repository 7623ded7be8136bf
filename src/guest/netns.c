/* SPDX-License-Identifier: MIT */
/*
 * An opened netns, and sockets inside of it.
 *
 * DOC: Theory of Operation
 *
 * A socket belongs for ever to the netns of the thread that made it. So a look into a netns is
 * one short excursion: setns(2) in, socket(2), setns(2) back, in one function that calls
 * nothing else. The way back must not fail, since every later dial would then reach the wrong
 * pod: the process aborts. Whether it can is tried out once, at the start, by "entering" the
 * netns that we are in: that takes the same two capabilities (CAP_SYS_ADMIN over our own user
 * namespace and over the one that owns the netns). A process that is root in a user namespace
 * but not over its own netns could leave it and never return.
 *
 * Where that or the way in is not permitted (rootless containers), a forked child goes: being
 * single-threaded it may enter the user namespace that owns the netns, which makes it root
 * there if we made that namespace, then the netns, and it sends the socket back by SCM_RIGHTS.
 * It dies there; nobody has to come back. Our own netns needs none of this.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "lib/sock.h"
#include "addresses.h"
#include "netns.h"

#define NSFS_MAGIC 0x6e736673 /* linux/magic.h has it only since 4.x */

struct netns {
	const struct netns_home *home;
	int fd; /* -1: the home itself */
	dev_t dev;
	ino_t ino;
	pid_t pid; /* 0: it was not opened by a process */
	int pidfd; /* pid's, or -1 */
	bool keeps;
	struct netns_home kept; /* with netns_keep(): what `home` is then */
};

void netns_home_open(struct netns_home *home)
{
	struct stat st;

	*home = (struct netns_home){ .fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) };
	if (home->fd < 0 || fstat(home->fd, &st) < 0)
		return;
	home->dev = st.st_dev;
	home->ino = st.st_ino;
	home->can_return = setns(home->fd, CLONE_NEWNET) == 0;
}

void netns_home_close(struct netns_home *home)
{
	if (home->fd >= 0)
		close(home->fd);
	home->fd = -1;
}

int netns_error(struct error *err, int sys_errno, const char *what)
{
	enum reason reason;

	switch (sys_errno) {
	case EPERM:
	case EACCES:
	case ELOOP: /* O_NOFOLLOW met a symbolic link */
		reason = REASON_DENIED;
		break;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case EAGAIN: /* fork: too many processes */
	case ENOSPC:
		reason = REASON_EXHAUSTED;
		break;
	case ENOENT:
	case ESRCH:
	case ENOTDIR:
	case ENXIO:
		reason = REASON_NOT_RUNNING;
		break;
	case ENOSYS:
	case EAFNOSUPPORT:
	case EPROTONOSUPPORT:
		reason = REASON_UNSUPPORTED;
		break;
	default:
		reason = REASON_INTERNAL;
	}
	return error_set(err, reason, sys_errno, "%s: %s", what, errno_text(sys_errno));
}

void netns_open_home(const struct netns_home *home, struct netns **out)
{
	struct netns *ns = xcalloc(1, sizeof(*ns));

	ns->home = home;
	ns->fd = -1;
	ns->pidfd = -1;
	ns->dev = home->dev;
	ns->ino = home->ino;
	*out = ns;
}

/* All namespaces' files are of one file system, and nothing else is. */
static bool is_nsfs(const struct netns_home *home, int fd, const struct stat *st)
{
	struct statfs fs;

	if (home->fd >= 0)
		return st->st_dev == home->dev;
	return fstatfs(fd, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

/* Takes fd over if it is a netns. */
static int netns_from_fd(const struct netns_home *home, int *fd, const char *what,
			 struct netns **out, struct error *err)
{
	struct stat st;

	if (fstat(*fd, &st) < 0)
		return netns_error(err, errno, what);
	if (!is_nsfs(home, *fd, &st) || ioctl(*fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return error_set(err, REASON_NOT_RUNNING, 0,
				 "%s: not a network namespace (any more)", what);
	netns_open_home(home, out);
	if (home->fd >= 0 && st.st_dev == home->dev && st.st_ino == home->ino)
		return 0;
	(*out)->fd = steal_fd(fd);
	(*out)->dev = st.st_dev;
	(*out)->ino = st.st_ino;
	return 0;
}

int netns_open_path(const struct netns_home *home, int dirfd, const char *path, int flags,
		    struct netns **out, struct error *err)
{
	/* O_NONBLOCK: what lies there may as well be a FIFO. */
	_cleanup_close_ int fd =
		openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);

	if (fd < 0)
		return netns_error(err, errno, path);
	return netns_from_fd(home, &fd, path, out, err);
}

/*
 * Field 22 of /proc/PID/stat: when the process began, in clock ticks after boot; 0 if it can't
 * be told.
 */
static uint64_t process_start(pid_t pid)
{
	char path[40], buf[1024], *at;
	_cleanup_close_ int fd = -1;
	unsigned long long start;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return 0;
	buf[n] = '\0';
	at = strrchr(buf, ')'); /* the name before it may hold anything */
	if (at == NULL || sscanf(at,
				 ") %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
				 "%*s %*s %*s %*s %llu",
				 &start) != 1)
		return 0;
	return start;
}

static bool process_lives(int pidfd)
{
	struct pollfd pollfd = { .fd = pidfd, .events = POLLIN };

	return poll(&pollfd, 1, 0) == 0;
}

int netns_open_pid(const struct netns_home *home, pid_t pid, uint64_t start, struct netns **out,
		   struct error *err)
{
	_cleanup_close_ int pidfd = -1, fd = -1;
	char what[40], path[40];
	int saved;

	snprintf(what, sizeof(what), "process %d", (int)pid);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	/*
	 * The pidfd names one process for good, whatever becomes of its number. If it still
	 * lives after ns/net was opened, then it is its own.
	 */
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0 && errno == EINVAL)
		return error_set(err, REASON_INVALID, EINVAL, "%s: is a thread, not a process",
				 what);
	if (pidfd < 0)
		return netns_error(err, errno, what);
	if (start != 0 && process_start(pid) != start)
		return error_set(err, REASON_NOT_RUNNING, ESRCH, "%s: not the pod's init any more",
				 what);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	saved = errno;
	if (!process_lives(pidfd))
		return error_set(err, REASON_NOT_RUNNING, ESRCH, "%s: has exited", what);
	if (fd < 0)
		return netns_error(err, saved, what);
	if (netns_from_fd(home, &fd, what, out, err) < 0)
		return -EPROTO;
	(*out)->pid = pid;
	(*out)->pidfd = steal_fd(&pidfd);
	return 0;
}

int netns_open_root(const struct netns *ns, struct error *err)
{
	_cleanup_close_ int fd = -1;
	char what[40] = "/", path[40] = "/";
	int saved;

	if (ns->pid != 0) {
		snprintf(what, sizeof(what), "process %d", (int)ns->pid);
		snprintf(path, sizeof(path), "/proc/%d/root", (int)ns->pid);
	}
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	saved = errno;
	/* As above: what was opened is this process's own if it still lives. */
	if (ns->pid != 0 && !process_lives(ns->pidfd))
		return error_set(err, REASON_NOT_RUNNING, ESRCH, "%s: has exited", what);
	return fd < 0 ? netns_error(err, saved, what) : steal_fd(&fd);
}

int netns_open_in_root(int root, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

/* The path of an open file, as our own root sees it: in fresh memory, NULL with *err. */
static char *path_of(int fd, struct error *err)
{
	char link[32], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path));
	if (n >= 0 && n < PATH_MAX)
		return xstrndup(path, (size_t)n);
	if (n < 0)
		error_set(err, REASON_UNSUPPORTED, errno, "%s: %s", link, errno_text(errno));
	else
		error_set(err, REASON_INVALID, ENAMETOOLONG, "%s", errno_text(ENAMETOOLONG));
	return NULL;
}

char *netns_place(int root, int fd, const char *name, struct error *err)
{
	_cleanup_free_ char *above = path_of(root, err), *at = NULL;
	size_t length;

	if (above != NULL)
		at = path_of(fd, err);
	if (at == NULL)
		return NULL;
	length = strcmp(above, "/") == 0 ? 0 : strlen(above);
	if (strncmp(at, above, length) != 0 || (at[length] != '/' && at[length] != '\0')) {
		error_set(err, REASON_DENIED, EXDEV, "%s", errno_text(EXDEV));
		return NULL;
	}
	if (name == NULL)
		return xstrdup(at + length);
	/* A folder, maybe the root itself: "" or "/". */
	return xasprintf("%s/%s", strcmp(at + length, "/") == 0 ? "" : at + length, name);
}

void netns_close(struct netns *ns)
{
	if (ns == NULL)
		return;
	if (ns->fd >= 0)
		close(ns->fd);
	if (ns->pidfd >= 0)
		close(ns->pidfd);
	if (ns->keeps)
		netns_home_close(&ns->kept);
	free(ns);
}

int netns_keep(struct netns *ns, struct error *err)
{
	struct netns_home kept = *ns->home;

	kept.fd = kept.fd >= 0 ? fcntl(kept.fd, F_DUPFD_CLOEXEC, 0) : -1;
	if (kept.fd < 0 && ns->home->fd >= 0)
		return netns_error(err, errno, "cannot keep the pod's netns");
	ns->keeps = true;
	ns->kept = kept;
	ns->home = &ns->kept;
	return 0;
}

bool netns_is(const struct netns *ns, const struct stat *st)
{
	return st->st_dev == ns->dev && st->st_ino == ns->ino;
}

struct netns_id netns_id(const struct netns *ns)
{
	return (struct netns_id){ ns->dev, ns->ino };
}

bool netns_is_still(const struct netns *ns, const struct netns *now)
{
	return netns_id_same(netns_id(ns), netns_id(now)) && ns->pid == now->pid &&
	       (ns->pid == 0 || process_lives(ns->pidfd));
}

/* In, socket, back. fd or -errno. */
static int socket_by_visit(const struct netns *ns, int domain, int type, int protocol)
{
	int fd;

	if (setns(ns->fd, CLONE_NEWNET) < 0)
		return -errno;
	fd = sock_new(domain, type, protocol);
	if (setns(ns->home->fd, CLONE_NEWNET) < 0)
		abort();
	return fd;
}

/* The child: async-signal-safe calls only. Its exit status is the errno. */
static _Noreturn void child_run(int userns, int netns, int channel, int domain, int type,
				int protocol)
{
	int fd;

	/* EINVAL: we are in that user namespace already. */
	if (userns >= 0 && setns(userns, CLONE_NEWUSER) < 0 && errno != EINVAL)
		_exit(errno);
	if (setns(netns, CLONE_NEWNET) < 0)
		_exit(errno);
	fd = sock_new(domain, type, protocol);
	if (fd < 0)
		_exit(-fd);
	_exit(-sock_send_fd(channel, fd));
}

/* Reaps the child: 0 or the -errno that it left with. */
static int child_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		/* ECHILD: SIGCHLD is ignored, and the child is gone. */
		if (errno != EINTR)
			return errno == ECHILD ? 0 : -errno;
	}
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EPROTO;
}

static int socket_by_child(const struct netns *ns, int domain, int type, int protocol)
{
	_cleanup_close_ int userns = ioctl(ns->fd, NS_GET_USERNS), mine = -1, theirs = -1;
	sigset_t all, old;
	int sv[2], rc;
	pid_t pid;

	rc = sock_pair(sv);
	if (rc < 0)
		return rc;
	mine = sv[0];
	theirs = sv[1];
	/* Our signal handlers write into a pipe that the child shares: it must not run them. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid == 0)
		child_run(userns, ns->fd, theirs, domain, type, protocol);
	rc = pid < 0 ? -errno : 0;
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (rc == 0)
		rc = child_wait(pid);
	if (rc < 0)
		return rc;
	close(steal_fd(&theirs));
	return sock_recv_fd(mine);
}

int netns_socket(struct netns *ns, int domain, int type, int protocol, struct error *err)
{
	int fd = -EPERM;

	if (ns->fd < 0)
		fd = sock_new(domain, type, protocol);
	else if (ns->home->can_return)
		fd = socket_by_visit(ns, domain, type, protocol);
	if (fd == -EPERM && ns->fd >= 0)
		fd = socket_by_child(ns, domain, type, protocol);
	if (fd < 0)
		return netns_error(err, -fd, "cannot make a socket in the pod");
	return fd;
}

int netns_join(struct netns *ns, struct error *err)
{
	if (ns->fd >= 0 && setns(ns->fd, CLONE_NEWNET) < 0)
		return netns_error(err, errno, "cannot enter the netns");
	return 0;
}

/* The addresses_cb of netns_has_address(): 1 for the address. */
static int address_seen(const struct held_address *held, void *arg)
{
	return address_same_host(&held->addr, arg);
}

int netns_has_address(struct netns *ns, const struct address *addr, struct error *err)
{
	_cleanup_close_ int fd = netns_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, err);
	int rc;

	if (fd < 0)
		return fd;
	rc = addresses_dump(fd, addr->family, address_seen, (void *)addr);
	return rc < 0 ? netns_error(err, -rc, "cannot list the pod's addresses") : rc;
}

int netns_open_fd(const struct netns *ns, struct error *err)
{
	int fd = ns->fd >= 0 ? fcntl(ns->fd, F_DUPFD_CLOEXEC, 0)
			     : open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? netns_error(err, errno, "cannot open the pod's netns") : fd;
}
