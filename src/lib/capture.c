/* SPDX-License-Identifier: MIT */
/*
 * The file. libpcap is loaded when it is asked for: linked, it and the seven libraries behind it double the time that vzfwd
 * takes to start (0.56 ms, 1.31 with them).
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "capture-file.h"

#ifdef HAVE_PCAP

#include <dlfcn.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "log.h"

#define FILE_HEADER_SIZE 24
#define PACKET_HEADER_SIZE 16
#define FLUSH_MS 200
#define BUFFER_SIZE (256 * 1024)

static const char *const library_names[] = { "libpcap.so.1", "libpcap.so.0.8", "libpcap.so" };

struct pcap_library {
	void *handle;
	__typeof__(pcap_open_dead) *open_dead;
	__typeof__(pcap_dump_fopen) *dump_fopen;
	__typeof__(pcap_dump) *dump;
	__typeof__(pcap_dump_close) *dump_close;
	__typeof__(pcap_close) *close;
};

struct capture_file {
	struct capture capture;
	struct loop *loop;
	char *path;
	uint64_t limit, size;
	struct pcap_library pcap;
	pcap_t *format;
	FILE *file;
	pcap_dumper_t *dumper; /* NULL: it has ended */
	struct loop_task flush;
};

static int library_load(struct pcap_library *pcap, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(library_names) && pcap->handle == NULL; i++)
		pcap->handle = dlopen(library_names[i], RTLD_NOW | RTLD_LOCAL);
	if (pcap->handle == NULL)
		return error_set(err, REASON_UNSUPPORTED, 0, "--capture needs libpcap");
	*(void **)&pcap->open_dead = dlsym(pcap->handle, "pcap_open_dead");
	*(void **)&pcap->dump_fopen = dlsym(pcap->handle, "pcap_dump_fopen");
	*(void **)&pcap->dump = dlsym(pcap->handle, "pcap_dump");
	*(void **)&pcap->dump_close = dlsym(pcap->handle, "pcap_dump_close");
	*(void **)&pcap->close = dlsym(pcap->handle, "pcap_close");
	if (pcap->open_dead != NULL && pcap->dump_fopen != NULL && pcap->dump != NULL &&
	    pcap->dump_close != NULL && pcap->close != NULL)
		return 0;
	return error_set(err, REASON_UNSUPPORTED, 0, "--capture needs another libpcap");
}

/* Nothing of it is touched before it is known to be ours. */
static int file_open(const char *path, struct error *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	struct stat st;
	int rc = 0;

	if (fd < 0)
		return error_set(err,
				 errno == ENXIO || errno == ELOOP ? REASON_INVALID
								  : reason_of_file(errno),
				 errno, "--capture %s: %s", path,
				 errno == ELOOP ? "a symbolic link" : errno_text(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
		rc = error_set(err, REASON_INVALID, EINVAL,
			       "--capture %s: not a regular file of this user's", path);
	else if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		rc = error_set(err, REASON_EXHAUSTED, EBUSY, "--capture %s: is being written to",
			       path);
	else if (fchmod(fd, 0600) < 0 || ftruncate(fd, 0) < 0)
		rc = error_set(err, REASON_EXHAUSTED, errno, "--capture %s: %s", path,
			       errno_text(errno));
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

static int dumper_open(struct capture_file *c, struct error *err)
{
	int fd;

	if (library_load(&c->pcap, err) < 0)
		return -ENOSYS;
	fd = file_open(c->path, err);
	if (fd < 0)
		return fd;
	c->format = xcheck(c->pcap.open_dead(DLT_RAW, CAPTURE_PACKET_MAX));
	c->file = xcheck(fdopen(fd, "w"));
	setvbuf(c->file, NULL, _IOFBF, BUFFER_SIZE);
	c->dumper = c->pcap.dump_fopen(c->format, c->file);
	if (c->dumper != NULL && fflush(c->file) == 0)
		return 0;
	return error_set(err, REASON_EXHAUSTED, errno, "--capture %s: %s", c->path,
			 errno_text(errno));
}

struct capture *capture_open(struct loop *loop, const char *path, uint64_t limit, struct error *err)
{
	struct capture_file *c = xcalloc(1, sizeof(*c));

	c->loop = loop;
	c->path = xstrdup(path);
	c->limit = limit;
	c->size = FILE_HEADER_SIZE;
	TAILQ_INIT(&c->capture.streams);
	if (dumper_open(c, err) == 0)
		return &c->capture;
	capture_close(&c->capture);
	return NULL;
}

/* Closes the file. */
static void capture_end(struct capture_file *c)
{
	loop_cancel(&c->flush);
	if (c->dumper == NULL)
		return;
	c->pcap.dump_close(c->dumper); /* and the file with it */
	c->dumper = NULL;
	c->file = NULL;
	c->capture.ended = true;
}

static void capture_fail(struct capture_file *c)
{
	log_error(NULL, "--capture %s: %s: nothing more is captured", c->path, errno_text(errno));
	capture_end(c);
}

static struct capture_file *file_of(struct capture *capture)
{
	return container_of(capture, struct capture_file, capture);
}

void capture_close(struct capture *capture)
{
	struct capture_file *c;

	if (capture == NULL)
		return;
	c = file_of(capture);
	if (c->dumper != NULL && fflush(c->file) != 0)
		capture_fail(c);
	capture_end(c);
	capture_forget_streams(capture);
	if (c->file != NULL)
		fclose(c->file);
	if (c->format != NULL)
		c->pcap.close(c->format);
	if (c->pcap.handle != NULL)
		dlclose(c->pcap.handle);
	free(c->path);
	free(c);
}

static void flush_cb(void *arg)
{
	struct capture_file *c = arg;

	if (fflush(c->file) != 0)
		capture_fail(c);
}

void capture_write(struct capture *capture, size_t size)
{
	struct capture_file *c = file_of(capture);
	struct pcap_pkthdr header = { .caplen = (bpf_u_int32)size, .len = (bpf_u_int32)size };

	if (capture->ended)
		return;
	if (c->size + PACKET_HEADER_SIZE + size > c->limit) {
		log_warning(NULL, "--capture %s has %llu bytes: nothing more is captured", c->path,
			    (unsigned long long)c->size);
		capture_end(c);
		return;
	}
	gettimeofday(&header.ts, NULL);
	c->pcap.dump((u_char *)c->dumper, &header, capture->packet);
	c->size += PACKET_HEADER_SIZE + size;
	if (ferror(c->file))
		capture_fail(c);
	else if (c->flush.list == NULL)
		loop_later(c->loop, &c->flush, FLUSH_MS, flush_cb, c);
}

#else

struct capture *capture_open(struct loop *loop, const char *path, uint64_t limit, struct error *err)
{
	(void)loop;
	(void)path;
	(void)limit;
	error_set(err, REASON_UNSUPPORTED, ENOSYS, "--capture: built without libpcap");
	return NULL;
}

/* Nothing else is called where nothing was opened. */
void capture_close(struct capture *capture)
{
	(void)capture;
}

void capture_write(struct capture *capture, size_t size)
{
	(void)capture;
	(void)size;
}

#endif

int capture_limit_parse(const char *value, uint64_t *limit, struct error *err)
{
	static const char units[] = "KMG";
	_cleanup_free_ char *digits = xstrdup(value);
	size_t length = strlen(digits);
	const char *unit = length > 1 ? strchr(units, digits[length - 1]) : NULL;
	unsigned shift = unit != NULL ? (unsigned)(unit - units + 1) * 10 : 0;

	if (unit != NULL)
		digits[length - 1] = '\0';
	if (parse_uint(digits, UINT64_C(1) << 40 >> shift, limit) == 0 && *limit > 0) {
		*limit <<= shift;
		return 0;
	}
	return error_set(err, REASON_INVALID, EINVAL,
			 "--capture-limit: \"%s\" is not a size from 1 to 1024G", value);
}
