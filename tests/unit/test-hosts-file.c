/* SPDX-License-Identifier: MIT */
/*
 * The marked block: files of all kinds before and after, byte for byte; how they are written (a new
 * file, the old one where it is mounted or can't be replaced); and what is not touched.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "guest/hosts-file.h"
#include "tests/tap.h"

#define NAME "hosts"
#define LINES "192.168.127.254 host.vz.internal\n"
#define BLOCK "# vzfwd web begin\n" LINES "# vzfwd web end\n"
#define ADDED "# vzfwd web begin (after a newline that was missing)\n" LINES "# vzfwd web end\n"
#define SECOND "# vzfwd second begin\nb\n# vzfwd second end\n"
#define ADDED_SECOND \
	"# vzfwd second begin (after a newline that was missing)\nb\n# vzfwd second end\n"

static char folder[] = "/tmp/test-hosts-file.XXXXXX";
static int dirfd_;

static void write_hosts(const char *text)
{
	int fd = openat(dirfd_, NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
}

static const char *read_hosts(void)
{
	static char text[4096];
	int fd = openat(dirfd_, NAME, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		return NULL;
	text[n] = '\0';
	return text;
}

static struct stat stat_hosts(void)
{
	struct stat st = { 0 };

	fstatat(dirfd_, NAME, &st, AT_SYMLINK_NOFOLLOW);
	return st;
}

static int set(const char *lines, struct error *err)
{
	return hosts_file_set(dirfd_, NAME, "web", lines, err);
}

static const struct {
	const char *before, *with, *after; /* NULL: as before */
} files[] = {
	{ "", BLOCK, NULL },
	{ "127.0.0.1 localhost\n", "127.0.0.1 localhost\n" BLOCK, NULL },
	{ "127.0.0.1 localhost", "127.0.0.1 localhost\n" ADDED, NULL },
	{ "127.0.0.1 localhost\r\n\r\n", "127.0.0.1 localhost\r\n\r\n" BLOCK, NULL },
	{ "\xff\n\n# web\n# vzfwd webs begin\nx\n# vzfwd webs end\n",
	  "\xff\n\n# web\n# vzfwd webs begin\nx\n# vzfwd webs end\n" BLOCK, NULL },
	/* An older block of the same tag, in its place or out of it. */
	{ "a\n# vzfwd web begin\nold\nolder\n# vzfwd web end\n", "a\n" BLOCK, "a\n" },
	{ "a\n# vzfwd web begin\r\nold\r\n# vzfwd web end\r\nb", "a\nb\n" ADDED, "a\nb" },
	{ "a\n" ADDED "b\n", "a\nb\n" BLOCK, "a\nb\n" },
	{ "a\n" ADDED, "a\n" ADDED, "a" },
	{ BLOCK "a\n" BLOCK "b\n", "a\nb\n" BLOCK, "a\nb\n" },
	{ "a\n# vzfwd web begin\n# vzfwd web end", "a\n" BLOCK, "a\n" },
	{ "a\n" ADDED SECOND, "a\n" ADDED_SECOND BLOCK, "a\n" ADDED_SECOND },
	{ "a\n" ADDED SECOND "b\n", "a\n" ADDED_SECOND "b\n" BLOCK, "a\n" ADDED_SECOND "b\n" },
	{ "a\n" ADDED_SECOND, "a\n" ADDED_SECOND BLOCK, NULL },
	/* Something broke off. */
	{ "a\n# vzfwd web begin\nold\n", "a\n" BLOCK, "a\n" },
	{ "a\n# vzfwd web begin", "a\n" BLOCK, "a\n" },
	{ "a\n# vzfwd web begin\nold\n\nb\n", "a\n\nb\n" BLOCK, "a\n\nb\n" },
	{ "a\n# vzfwd web begin\nold\n# b\nc\n", "a\n# b\nc\n" BLOCK, "a\n# b\nc\n" },
	{ "# vzfwd web begin\nold\n" BLOCK "b\n", "b\n" BLOCK, "b\n" },
	{ "a\n# vzfwd web end\nb\n", "a\nb\n" BLOCK, "a\nb\n" },
};

static void test_files(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct error err = { 0 };

		write_hosts(files[i].before);
		is_int(set(LINES, &err), 0, "file %zu: set %s", i, err.message);
		is_str(read_hosts(), files[i].with, "file %zu: with the block", i);
		set(LINES, NULL);
		is_str(read_hosts(), files[i].with, "file %zu: and again", i);
		set("::1 other\n", NULL);
		set(LINES, NULL);
		is_str(read_hosts(), files[i].with, "file %zu: and after another one", i);
		is_int(hosts_file_remove(dirfd_, NAME, "web", &err), 0, "file %zu: remove", i);
		is_str(read_hosts(), files[i].after != NULL ? files[i].after : files[i].before,
		       "file %zu: without it", i);
	}
}

static void test_new(void)
{
	struct stat st, again;

	unlinkat(dirfd_, NAME, 0);
	is_int(hosts_file_remove(dirfd_, NAME, "web", NULL), 0, "no file: nothing to remove");
	is_str(read_hosts(), NULL, "and none is made");
	umask(077);
	is_int(set(LINES, NULL), 0, "no file: set");
	st = stat_hosts();
	is_str(read_hosts(), BLOCK, "makes one");
	is_int(st.st_mode, S_IFREG | 0644, "of mode 0644");
	set(LINES, NULL);
	again = stat_hosts();
	ok(st.st_ino == again.st_ino, "the same again writes nothing");
	umask(022);
}

static void test_owner(void)
{
	struct stat before, after;

	write_hosts("a\n");
	fchmodat(dirfd_, NAME, 0640, 0);
	if (geteuid() == 0 && fchownat(dirfd_, NAME, 7, 8, 0) < 0)
		abort();
	before = stat_hosts();
	is_int(set(LINES, NULL), 0, "a file of another owner");
	after = stat_hosts();
	ok(before.st_ino != after.st_ino, "is replaced");
	ok(after.st_uid == before.st_uid && after.st_gid == before.st_gid &&
		   after.st_mode == before.st_mode,
	   "by one of this owner and mode");
}

/* Two names: replacing one would part them. */
static void test_linked(void)
{
	struct stat before, after;

	write_hosts("a longer line\n");
	linkat(dirfd_, NAME, dirfd_, "second", 0);
	before = stat_hosts();
	set(LINES, NULL);
	is_str(read_hosts(), "a longer line\n" BLOCK, "a file with two names is written to");
	hosts_file_remove(dirfd_, NAME, "web", NULL);
	is_str(read_hosts(), "a longer line\n", "and cut again");
	after = stat_hosts();
	ok(before.st_ino == after.st_ino && after.st_nlink == 2, "in place");
	unlinkat(dirfd_, "second", 0);
}

/* A pod that has the file mounted, in a mount namespace of its own, until it is killed. */
static pid_t mounted_pod(void)
{
	_cleanup_free_ char *path = xasprintf("%s/" NAME, folder);
	_cleanup_free_ char *source = xasprintf("%s/source", folder);
	int pipes[2];
	char byte = 0;
	pid_t pid;

	if (pipe(pipes) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		byte = unshare(CLONE_NEWNS) == 0 &&
		       mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		       mount(source, path, NULL, MS_BIND, NULL) == 0;
		if (write(pipes[1], &byte, 1) == 1)
			pause();
		_exit(0);
	}
	if (read(pipes[0], &byte, 1) != 1 || byte != 1) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	close(pipes[0]);
	close(pipes[1]);
	return pid;
}

/* As container runtimes do it. Whoever is outside may rename over it, and must not. */
static void test_mounted(void)
{
	_cleanup_free_ char *path = NULL;
	int outside = dirfd_;
	pid_t pid;

	write_hosts("mounted\n");
	renameat(dirfd_, NAME, dirfd_, "source");
	write_hosts("below\n");
	pid = mounted_pod();
	if (pid < 0) {
		skip("no mounts here");
		return;
	}
	path = xasprintf("/proc/%d/root%s", (int)pid, folder);
	dirfd_ = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	is_str(read_hosts(), "mounted\n", "a file that is mounted in a pod");
	is_int(set(LINES, NULL), 0, "is written to");
	is_str(read_hosts(), "mounted\n" BLOCK, "as the pod sees it");
	close(dirfd_);
	dirfd_ = outside;
	is_str(read_hosts(), "below\n", "what it hides is not touched");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A folder that takes no new file: what may be written to still is. */
static void test_read_only_folder(void)
{
	write_hosts("a\n");
	if (geteuid() != 0 || fchownat(dirfd_, NAME, 7, 8, 0) < 0 || setegid(8) < 0 ||
	    seteuid(7) < 0) {
		skip("needs root");
		return;
	}
	is_int(set(LINES, NULL), 0, "a folder that is not ours");
	is_str(read_hosts(), "a\n" BLOCK, "the file is written to");
	if (seteuid(0) < 0 || fchownat(dirfd_, NAME, 0, 8, 0) < 0 ||
	    fchmodat(dirfd_, NAME, 0664, 0) < 0 || chmod(folder, 0777) < 0 || seteuid(7) < 0)
		abort();
	is_int(hosts_file_remove(dirfd_, NAME, "web", NULL), 0, "a file that is not ours");
	is_str(read_hosts(), "a\n", "is written to, too");
	is_int(stat_hosts().st_uid, 0, "and stays whose it is");
	if (seteuid(0) < 0 || setegid(0) < 0)
		abort();
}

static const char *refused(const char *lines)
{
	struct error err = { 0 };

	return set(lines, &err) < 0 ? reason_name(err.reason) : "done";
}

static void test_refused(void)
{
	_cleanup_free_ char *large = xmalloc(HOSTS_FILE_MAX + 2);

	memset(large, 'x', HOSTS_FILE_MAX + 1);
	large[HOSTS_FILE_MAX + 1] = '\0';
	write_hosts(large);
	is_str(refused(LINES), "exhausted", "a file that is too large");
	large[HOSTS_FILE_MAX - 1] = '\0';
	write_hosts(large);
	is_str(refused(LINES), "exhausted", "one that would be");
	is_int(stat_hosts().st_size, HOSTS_FILE_MAX - 1, "stays as it is");
	is_str(refused("x"), "invalid", "a line without an end");
	is_str(refused("x\n\n"), "invalid", "an empty line");
	is_str(refused("# vzfwd web end\n"), "invalid", "a comment");
	is_int(hosts_file_set(dirfd_, NAME, "a b", LINES, NULL), -EINVAL, "a tag that is no name");
	renameat(dirfd_, NAME, dirfd_, "source");
	symlinkat("source", dirfd_, NAME);
	is_str(refused(LINES), "denied", "a symbolic link");
	unlinkat(dirfd_, NAME, 0);
	mkfifoat(dirfd_, NAME, 0600);
	is_str(refused(LINES), "denied", "a FIFO");
	unlinkat(dirfd_, NAME, 0);
	mkdirat(dirfd_, NAME, 0700);
	is_str(refused(LINES), "denied", "a folder");
	unlinkat(dirfd_, NAME, AT_REMOVEDIR);
}

static void test_left_behind(void)
{
	_cleanup_free_ char *command = xasprintf("ls -A %s | grep -c vzfwd- | grep -qx 0", folder);

	ok(system(command) == 0, "no temporary file is left behind");
}

int main(void)
{
	_cleanup_free_ char *command = NULL;

	if (mkdtemp(folder) == NULL || chmod(folder, 0755) < 0)
		return skip_all("no folder");
	dirfd_ = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	test_files();
	test_new();
	test_owner();
	test_linked();
	test_read_only_folder();
	test_refused();
	test_mounted();
	test_left_behind();
	close(dirfd_);
	command = xasprintf("rm -rf %s", folder);
	ok(system(command) == 0, "removed the folder");
	return done_testing();
}
