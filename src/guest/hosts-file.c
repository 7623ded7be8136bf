/* SPDX-License-Identifier: MIT */
/*
 * The marked block in a hosts file.
 *
 * What is outside of the block is never interpreted, so it may be anything: CRLF, bytes that are no
 * text, a last line without a newline. Such a line needs one before the block can follow; the block's
 * first line says that it was added, so that it goes with the block (unless something has been written
 * behind it: if that is a block of another tag, it says so from then on).
 *
 * A block that has no end, since something broke off when it was written, reaches up to the next line
 * that is empty or a comment, as all markers are. An end without its beginning is taken out by itself.
 *
 * The file is replaced as a whole, by renaming a new one that has its owner and mode. Where that can't
 * be, the old one is written over, from the first byte that differs: where it is a mount of its own, as
 * container runtimes bind a hosts file into the pod (renaming would put ours below the mount, or detach
 * it); where it has more names than one; and where we may write the file and not its folder, or not
 * give its owner a file. A reader that comes right then may see half of it. Of two processes that
 * change one file at once, the later one may undo the other's change.
 *
 * The folder is the pod's to arrange. The name is opened without following a link, and what is opened
 * is looked at: only regular files are read and written.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/trusted.h"
#include "hosts-file.h"

#define ADDED " (after a newline that was missing)"
#define OPEN_FLAGS (O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#define NAMES_MAX 64 /* temporary ones that are tried */

struct text {
	char *data;
	size_t length;
};

struct hosts_file {
	int dirfd;
	const char *name, *path;
	bool exists;
	bool in_place; /* not to be replaced by another file */
	struct stat st;
	struct text old;
};

/* The length of the line at `at`, with its newline if it has one. */
static size_t line_length(const struct text *text, size_t at)
{
	const char *end = memchr(text->data + at, '\n', text->length - at);

	return end != NULL ? (size_t)(end - text->data) - at + 1 : text->length - at;
}

/* True if the line is this one, with whatever ends it. */
static bool line_is(const char *line, size_t length, const char *want)
{
	if (length > 0 && line[length - 1] == '\n')
		length--;
	if (length > 0 && line[length - 1] == '\r')
		length--;
	return length == strlen(want) && memcmp(line, want, length) == 0;
}

/* The length of the block whose first line is at `at`. */
static size_t block_length(const struct text *text, size_t at, const char *end)
{
	size_t i, length;

	for (i = at + line_length(text, at); i < text->length; i += length) {
		length = line_length(text, i);
		if (line_is(text->data + i, length, end))
			return i + length - at;
		if (text->data[i] == '#' || line_is(text->data + i, length, ""))
			break; /* it has no end */
	}
	return i - at;
}

/* True for the first line of a block whose tag is another one, and that came without a newline of its own. */
static bool is_begin(const char *line, size_t length)
{
	const char *start = "# vzfwd ", *end = " begin\n";

	return length > strlen(start) + strlen(end) && memcmp(line, start, strlen(start)) == 0 &&
	       memcmp(line + length - strlen(end), end, strlen(end)) == 0;
}

/* The text without the blocks of the tag, in fresh memory. */
static struct text without_block(const struct text *text, const char *tag)
{
	_cleanup_free_ char *begin = xasprintf("# vzfwd %s begin", tag);
	_cleanup_free_ char *added = xasprintf("%s" ADDED, begin);
	_cleanup_free_ char *end = xasprintf("# vzfwd %s end", tag);
	struct text out = { xmalloc(text->length + 1), 0 };
	bool newline_added = false;
	size_t length;

	for (size_t at = 0; at < text->length; at += length) {
		const char *line = text->data + at;

		length = line_length(text, at);
		if (line_is(line, length, begin) || line_is(line, length, added)) {
			newline_added = line_is(line, length, added);
			length = block_length(text, at, end);
		} else if (!line_is(line, length, end)) {
			memcpy(out.data + out.length, line, length);
			out.length += length;
			if (newline_added && is_begin(line, length)) {
				strcpy(out.data + out.length - 1, ADDED "\n");
				out.length += strlen(ADDED);
			}
			newline_added = false;
		}
	}
	if (newline_added && out.length > 0 && out.data[out.length - 1] == '\n')
		out.length--;
	out.data[out.length] = '\0';
	return out;
}

/* The block behind the text, which it takes over. */
static struct text with_block(struct text text, const char *tag, const char *lines)
{
	bool add = text.length > 0 && text.data[text.length - 1] != '\n';
	_cleanup_free_ char *block = xasprintf("%s# vzfwd %s begin%s\n%s# vzfwd %s end\n",
					       add ? "\n" : "", tag, add ? ADDED : "", lines, tag);
	size_t length = strlen(block);

	text.data = xrealloc(text.data, text.length + length + 1);
	memcpy(text.data + text.length, block, length + 1);
	text.length += length;
	return text;
}

int hosts_mount_of(int fd)
{
	char path[40], text[256], *at;
	_cleanup_close_ int info = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	n = info < 0 ? -1 : read(info, text, sizeof(text) - 1);
	text[n < 0 ? 0 : n] = '\0';
	at = strstr(text, "mnt_id:");
	return at == NULL ? -1 : atoi(at + strlen("mnt_id:"));
}

/* True if the file is mounted where it is, and not just a name in its folder, or might be. */
static bool is_mount(const struct hosts_file *file, int fd)
{
	int mount = hosts_mount_of(fd);

	return mount < 0 || mount != hosts_mount_of(file->dirfd);
}

/* Reads it, if it is there. */
static int hosts_read(struct hosts_file *file, struct error *err)
{
	_cleanup_close_ int fd = openat(file->dirfd, file->name, O_RDONLY | OPEN_FLAGS);

	if (fd < 0 && errno == ENOENT) {
		file->old.data = xstrdup("");
		return 0;
	}
	if (fd < 0 || fstat(fd, &file->st) < 0)
		return trusted_error(err, errno, file->path);
	if (!S_ISREG(file->st.st_mode))
		return error_set(err, REASON_DENIED, EPERM, "%s: is not a regular file",
				 file->path);
	file->exists = true;
	file->in_place = file->st.st_nlink != 1 || is_mount(file, fd);
	return trusted_read_fd(fd, file->path, HOSTS_FILE_MAX, &file->old.data, &file->old.length,
			       err);
}

/* Writes what lies behind `from`; 0 or -errno. */
static int write_from(int fd, const struct text *text, size_t from)
{
	while (from < text->length) {
		ssize_t n = pwrite(fd, text->data + from, text->length - from, (off_t)from);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			from += (size_t)n;
	}
	return 0;
}

static int write_in_place(const struct hosts_file *file, const struct text *new)
{
	_cleanup_close_ int fd = openat(file->dirfd, file->name, O_WRONLY | OPEN_FLAGS);
	size_t same = 0;
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_dev != file->st.st_dev || st.st_ino != file->st.st_ino)
		return -ESTALE;
	while (same < new->length &&
	       same < file->old.length &&new->data[same] == file->old.data[same])
		same++;
	rc = write_from(fd, new, same);
	if (rc == 0 && ftruncate(fd, (off_t) new->length) < 0)
		rc = -errno;
	return rc;
}

/* A new file in the folder, with a name that was free. fd or -errno. */
static int temporary_open(int dirfd, char *name, size_t size)
{
	int fd = -1;

	for (unsigned i = 0; fd < 0 && i < NAMES_MAX; i++) {
		snprintf(name, size, ".vzfwd-%d-%u", (int)getpid(), i);
		fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | OPEN_FLAGS, 0600);
		if (fd < 0 && errno != EEXIST)
			break;
	}
	return fd < 0 ? -errno : fd;
}

static int replace(const struct hosts_file *file, const struct text *new)
{
	char temporary[64];
	_cleanup_close_ int fd = temporary_open(file->dirfd, temporary, sizeof(temporary));
	mode_t mode = file->exists ? file->st.st_mode & 07777 : 0644;
	int rc;

	if (fd < 0)
		return fd;
	rc = write_from(fd, new, 0);
	if (rc == 0 && file->exists && fchown(fd, file->st.st_uid, file->st.st_gid) < 0)
		rc = -errno;
	if (rc == 0 && fchmod(fd, mode) < 0)
		rc = -errno;
	if (rc == 0 && renameat(file->dirfd, temporary, file->dirfd, file->name) < 0)
		rc = -errno;
	if (rc < 0)
		unlinkat(file->dirfd, temporary, 0);
	return rc;
}

/*
 * Whether the file itself may still be written to: -EINVAL is an owner that our user namespace does not
 * know.
 */
static bool keeps_from_replacing(int rc)
{
	return rc == -EBUSY || rc == -EXDEV || rc == -EACCES || rc == -EPERM || rc == -EROFS ||
	       rc == -EINVAL;
}

static int hosts_write(const struct hosts_file *file, const struct text *new, struct error *err)
{
	int rc = -EBUSY;

	if (new->length > HOSTS_FILE_MAX)
		return error_set(err, REASON_EXHAUSTED, EFBIG, "%s: is larger than %u bytes",
				 file->path, HOSTS_FILE_MAX);
	if (!file->in_place)
		rc = replace(file, new);
	if (file->exists && keeps_from_replacing(rc))
		rc = write_in_place(file, new);
	return rc < 0 ? trusted_error(err, -rc, file->path) : 0;
}

/* lines NULL: no block. */
static int hosts_change(int dirfd, const char *path, const char *tag, const char *lines,
			struct error *err)
{
	const char *slash = strrchr(path, '/');
	struct hosts_file file = { .dirfd = dirfd,
				   .name = slash != NULL ? slash + 1 : path,
				   .path = path };
	struct text new = { 0 };
	int rc = hosts_read(&file, err);

	if (rc < 0)
		goto out;
	if (file.old.length > HOSTS_FILE_MAX) {
		rc = error_set(err, REASON_EXHAUSTED, EFBIG, "%s: is larger than %u bytes", path,
			       HOSTS_FILE_MAX);
		goto out;
	}
	new = without_block(&file.old, tag);
	if (lines != NULL)
		new = with_block(new, tag, lines);
	if (new.length != file.old.length || memcmp(new.data, file.old.data, new.length) != 0)
		rc = hosts_write(&file, &new, err);
out:
	free(file.old.data);
	free(new.data);
	return rc;
}

/* Whole lines, none of which could be taken for a marker or end a block. */
static bool lines_are_valid(const char *lines)
{
	char before = '\n';

	for (; *lines != '\0'; before = *lines++) {
		if (before == '\n' && strchr("#\r\n", *lines) != NULL)
			return false;
	}
	return before == '\n';
}

int hosts_file_set(int dirfd, const char *path, const char *tag, const char *lines,
		   struct error *err)
{
	if (!name_is_valid(tag) || !lines_are_valid(lines))
		return error_set(err, REASON_INVALID, EINVAL, "%s: not a block of hosts", path);
	return hosts_change(dirfd, path, tag, lines, err);
}

int hosts_file_remove(int dirfd, const char *path, const char *tag, struct error *err)
{
	return hosts_change(dirfd, path, tag, NULL, err);
}
