/* SPDX-License-Identifier: MIT */
/*
 * The end of a relay. One edge-triggered watch stays on a descriptor for its whole life, so
 * there is no system call when a direction pauses, and a RST is reported also when nobody reads.
 *
 * Room to write is asked for when a write found none, and not before: a Unix socket reports room
 * each time its peer has read something, which woke the sender once more for every message
 * (measured: two wakeups a message in place of one).
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "relay-io.h"
#include "sock.h"

/* The watch of a wfd that is not the rfd. */
struct end_writer {
	struct watch watch; /* the first member */
	struct relay_end *end;
};

/* Files and such: they can't be waited for, and never keep anybody waiting. */
static bool is_always_ready(mode_t mode, int fd)
{
	return !S_ISSOCK(mode) && !S_ISFIFO(mode) && !(S_ISCHR(mode) && isatty(fd));
}

/*
 * How a raw socket is closed, also by the kernel if this process is killed: until the end was in order
 * that is with a RST, so that what is not whole does not look whole. Only TCP knows the difference.
 */
static void set_linger(const struct relay_end *end, bool reset)
{
	struct linger linger = { .l_onoff = reset, .l_linger = 0 };

	if (end->rsock && end->framing == FRAMING_RAW)
		setsockopt(end->rfd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void end_event(struct watch *watch, unsigned ready)
{
	struct relay_end *end = (struct relay_end *)watch;

	static_assert(offsetof(struct relay_end, watch) == 0, "a watch leads to its end");
	if (ready & WATCH_READ) {
		end->readable = true;
		end->ends = (ready & WATCH_END) != 0;
	}
	if ((ready & WATCH_WRITE) && end->rfd == end->wfd) {
		if (end->writable && ready == WATCH_WRITE) {
			/* Nobody waits for room any more. */
			end->awaits_writable = false;
			watch_change(relay_end_loop(end), watch, WATCH_READ);
			return;
		}
		end->writable = true;
	}
	end->unseen |= (ready & WATCH_HANGUP) != 0;
	relay_end_event(end);
}

static void writer_event(struct watch *watch, unsigned ready)
{
	struct relay_end *end = ((struct end_writer *)watch)->end;

	static_assert(offsetof(struct end_writer, watch) == 0, "a watch leads to its writer");
	if (ready & WATCH_WRITE)
		end->writable = true;
	end->unseen |= (ready & WATCH_HANGUP) != 0;
	relay_end_event(end);
}

/* Two descriptors: stdin and stdout, mostly. */
static int writer_init(struct relay_end *end, mode_t mode)
{
	if (is_always_ready(mode, end->wfd))
		return 0;
	end->writer = xcalloc(1, sizeof(*end->writer));
	end->writer->end = end;
	end->awaits_writable = true;
	return watch_start(relay_end_loop(end), &end->writer->watch, end->wfd, WATCH_WRITE,
			   writer_event);
}

/* Looks what the descriptors are. */
static int look_at(struct relay_end *end, mode_t *rmode, mode_t *wmode)
{
	struct stat st, wst;

	if (fstat(end->rfd, &st) < 0 || fstat(end->wfd, &wst) < 0)
		return -errno;
	end->rsock = S_ISSOCK(st.st_mode);
	end->wsock = S_ISSOCK(wst.st_mode);
	*rmode = st.st_mode;
	*wmode = wst.st_mode;
	if (end->rfd != end->wfd && end->rsock && st.st_dev == wst.st_dev &&
	    st.st_ino == wst.st_ino) {
		close(end->wfd);
		end->wfd = end->rfd;
	}
	return 0;
}

int end_init(struct relay_end *end, struct loop *loop, const struct relay_end_config *config)
{
	mode_t rmode = S_IFSOCK, wmode = S_IFSOCK;
	int rc = 0;

	*end = (struct relay_end){ .rfd = config->rfd,
				   .wfd = config->wfd,
				   .rsock = true,
				   .wsock = true,
				   .index = end->index,
				   .framing = (uint8_t)config->framing,
				   .writable = true };
	assert(config->watch == NULL || config->socket);
	if (!config->socket)
		rc = look_at(end, &rmode, &wmode);
	if (rc < 0)
		return rc;
	set_linger(end, true);
	if (config->watch != NULL)
		watch_move(loop, config->watch, &end->watch, WATCH_READ, end_event);
	else if (!is_always_ready(rmode, end->rfd))
		rc = watch_start(loop, &end->watch, end->rfd, WATCH_READ, end_event);
	else
		end->readable = true;
	return rc == 0 && end->rfd != end->wfd ? writer_init(end, wmode) : rc;
}

void end_leave(struct relay_end *end, struct loop *loop)
{
	watch_stop(loop, &end->watch);
	pipe_leave(loop, end->pipe);
}

int end_join(struct relay_end *end, struct loop *loop)
{
	pipe_join(loop, end->pipe);
	return watch_start(loop, &end->watch, end->rfd,
			   WATCH_READ | (end->awaits_writable ? WATCH_WRITE : 0), end_event);
}

/* A write has failed, for good. */
static void write_failed(struct relay_end *end, int sys_errno)
{
	end->write_dead = true;
	if (end->error == 0)
		end->error = sys_errno;
	if (end->queue != NULL)
		evbuffer_free(end->queue);
	end->queue = NULL;
	pipe_give(relay_end_loop(end), end->pipe);
	end->pipe = NULL;
}

/* There is one writer, so that no sum needs to be atomic. */
static void count(struct relay_end *end, uint64_t n)
{
	atomic_store_explicit(&end->payload, end_payload(end) + n, memory_order_relaxed);
}

/* What a write returned: what was taken, 0 for "later", -1 when the descriptor has failed. */
static ssize_t wrote(struct relay_end *end, ssize_t n)
{
	if (n >= 0) {
		if (end->framing == FRAMING_RAW)
			count(end, (uint64_t)n);
		return n;
	}
	if (errno != EAGAIN && errno != EWOULDBLOCK) {
		write_failed(end, errno);
		return -1;
	}
	end->writable = false;
	if (!end->awaits_writable && end->watch.cb != NULL) {
		end->awaits_writable = true;
		watch_change(relay_end_loop(end), &end->watch, WATCH_READ | WATCH_WRITE);
	}
	return 0;
}

static ssize_t end_write(struct relay_end *end, const struct iovec *iov, int count)
{
	return wrote(end, io_write(end, iov, count));
}

static void enqueue(struct relay_end *end, const uint8_t *data, size_t size)
{
	if (end->queue == NULL)
		end->queue = evbuffer_new();
	if (end->queue == NULL || evbuffer_add(end->queue, data, size) < 0)
		abort();
}

/* What is in the pipe goes to the end of the queue: something is to be sent behind it. */
static void enqueue_pipe(struct relay_end *end)
{
	if (end->queue == NULL)
		end->queue = evbuffer_new();
	while (end->pipe->held > 0) {
		int n = end->queue != NULL ? evbuffer_read(end->queue, end->pipe->rfd, -1) : -1;

		if (n <= 0)
			abort(); /* only we write into the pipe */
		end->pipe->held -= (size_t)n;
	}
	pipe_give(relay_end_loop(end), end->pipe);
	end->pipe = NULL;
}

void end_send(struct relay_end *end, const uint8_t *data, size_t size)
{
	if (end->wfd < 0)
		return;
	if (end->pipe != NULL && size > 0)
		enqueue_pipe(end);
	while (size > 0 && end->writable && !end->write_dead && end->queue == NULL) {
		struct iovec iov = { .iov_base = (void *)data, .iov_len = size };
		ssize_t n = end_write(end, &iov, 1);

		if (n <= 0)
			break;
		data += n;
		size -= (size_t)n;
	}
	if (size > 0 && !end->write_dead)
		enqueue(end, data, size);
}

void end_send_data(struct relay_end *end, uint8_t *payload, size_t size)
{
	if (size > 0 && end->framing == FRAMING_RECORDS) {
		payload -= RECORD_HEADER_SIZE;
		record_put_header(payload, RECORD_DATA, (uint32_t)size);
		count(end, end->write_dead ? 0 : size);
		size += RECORD_HEADER_SIZE;
	}
	end_send(end, payload, size);
}

static void flush_pipe(struct relay_end *end)
{
	while (end->pipe != NULL && end->writable && end->queue == NULL) {
		ssize_t n = wrote(end, io_splice(end->pipe->rfd, end->wfd, end->pipe->held));

		if (n <= 0)
			return;
		end->pipe->held -= (size_t)n;
		if (end->pipe->held == 0) {
			pipe_give(relay_end_loop(end), end->pipe);
			end->pipe = NULL;
		}
	}
}

void end_send_pipe(struct relay_end *end, struct pipe *pipe)
{
	uint8_t header[RECORD_HEADER_SIZE];

	if (end->framing == FRAMING_RECORDS) {
		record_put_header(header, RECORD_DATA, (uint32_t)pipe->held);
		count(end, end->write_dead ? 0 : pipe->held);
		end_send(end, header, sizeof(header));
	}
	if (end->write_dead || end->wfd < 0) {
		pipe_give(relay_end_loop(end), pipe);
		return;
	}
	end->pipe = pipe;
	flush_pipe(end);
}

void end_flush(struct relay_end *end)
{
	struct evbuffer_iovec iov[16];

	while (end->queue != NULL && end->writable) {
		int count = evbuffer_peek(end->queue, -1, NULL, iov, ARRAY_SIZE(iov));
		ssize_t n;

		if (count > (int)ARRAY_SIZE(iov))
			count = ARRAY_SIZE(iov);
		n = end_write(end, iov, count);
		if (n <= 0)
			return;
		evbuffer_drain(end->queue, (size_t)n);
		if (evbuffer_get_length(end->queue) == 0) {
			evbuffer_free(end->queue);
			end->queue = NULL;
		}
	}
	flush_pipe(end);
}

size_t end_queued(const struct relay_end *end)
{
	return (end->queue != NULL ? evbuffer_get_length(end->queue) : 0) +
	       (end->pipe != NULL ? end->pipe->held : 0);
}

static void close_wfd(struct relay_end *end)
{
	if (end->writer != NULL)
		watch_stop(relay_end_loop(end), &end->writer->watch);
	free(end->writer);
	end->writer = NULL;
	close(end->wfd);
	end->wfd = -1;
}

void end_shut_write(struct relay_end *end)
{
	if (end->wfd < 0)
		return;
	if (end->wsock)
		shutdown(end->wfd, SHUT_WR);
	else if (end->wfd != end->rfd)
		close_wfd(end);
}

int end_gone(struct relay_end *end)
{
	struct pollfd pfd = { .fd = end->wfd };

	if (end->error != 0)
		return end->error;
	end->unseen = false;
	if (end->wfd < 0 || poll(&pfd, 1, 0) != 1 ||
	    !(pfd.revents & (POLLERR | POLLHUP | POLLNVAL)))
		return 0;
	end->unseen = true;
	if (end->wsock)
		end->error = sock_take_error(end->wfd);
	return end->error != 0 ? end->error : END_HUNG_UP;
}

bool end_acked(const struct relay_end *end)
{
	return end->wfd < 0 || !end->wsock || sock_unsent(end->wfd) == 0;
}

/* FIN alone, as TCP and vsock tell it, may be either; a Unix socket and a pipe hang up. */
bool end_half_closed(struct relay_end *end)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (end_gone(end) != 0)
		return false;
	return !end->wsock || (getsockname(end->wfd, (struct sockaddr *)&ss, &len) == 0 &&
			       ss.ss_family == AF_UNIX);
}

bool end_is_closed(const struct relay_end *end)
{
	return end->rfd < 0;
}

void end_close(struct relay_end *end)
{
	if (end->queue != NULL)
		evbuffer_free(end->queue);
	end->queue = NULL;
	pipe_give(relay_end_loop(end), end->pipe);
	end->pipe = NULL;
	record_reader_clear(&end->reader);
	if (end->wfd >= 0 && end->wfd != end->rfd)
		close_wfd(end);
	end->wfd = -1;
	if (end->rfd < 0)
		return;
	watch_stop(relay_end_loop(end), &end->watch);
	set_linger(end, end->reset);
	close(end->rfd);
	end->rfd = -1;
}
