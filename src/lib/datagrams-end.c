/* SPDX-License-Identifier: MIT */
/* Writing datagrams to an end, and its descriptors. */
#include "config.h"

#include <errno.h>
#include <sys/stat.h>

#include "datagrams-end.h"
#include "sock.h"

static void end_event(struct watch *watch, unsigned ready)
{
	struct datagrams_end *end = container_of(watch, struct datagrams_end, watch);

	end->readable |= (ready & (WATCH_READ | WATCH_END)) != 0;
	if (end->wfd == end->rfd)
		end->writable |= (ready & WATCH_WRITE) != 0;
	end->hung_up |= (ready & WATCH_HANGUP) != 0;
	datagrams_pump(end->owner);
}

static void writer_event(struct watch *watch, unsigned ready)
{
	struct datagrams_end *end = container_of(watch, struct datagrams_end, write_watch);

	end->writable |= (ready & WATCH_WRITE) != 0;
	end->hung_up |= (ready & WATCH_HANGUP) != 0;
	datagrams_pump(end->owner);
}

/* A regular file or /dev/null can't be watched, and need not. */
static int watch_or_not(struct loop *loop, struct watch *watch, int fd, unsigned what, watch_cb cb)
{
	int rc = watch_start(loop, watch, fd, what, cb);

	return rc == -EPERM ? 0 : rc;
}

static bool reads_messages(int fd)
{
	int type;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type != SOCK_STREAM;
}

int datagrams_end_init(struct datagrams *d, int i, const struct datagrams_end_config *config)
{
	struct datagrams_end *end = &d->end[i];
	struct stat st;
	int rc;

	*end = (struct datagrams_end){ .owner = d,
				       .rfd = config->rfd,
				       .wfd = config->wfd,
				       .type = (uint8_t)config->type,
				       .readable = config->rfd >= 0,
				       .writable = true };
	packets_init(&end->queue);
	if (end->rfd < 0)
		return 0;
	end->rsock = fstat(end->rfd, &st) == 0 && S_ISSOCK(st.st_mode);
	end->whole = end->rsock && reads_messages(end->rfd);
	end->wsock = fstat(end->wfd, &st) == 0 && S_ISSOCK(st.st_mode);
	rc = watch_or_not(d->loop, &end->watch, end->rfd, WATCH_READ, end_event);
	if (rc == 0 && end->wfd != end->rfd)
		rc = watch_or_not(d->loop, &end->write_watch, end->wfd, WATCH_WRITE, writer_event);
	return rc;
}

void datagrams_end_close(struct datagrams_end *end)
{
	struct loop *loop = end->owner->loop;

	if (end->type == DATAGRAMS_SOCKET && end->rfd >= 0) {
		unsigned lost = sock_overflows(end->rfd);

		if (lost > 0)
			log_debug(&end->owner->name, "%u of the socket's datagrams found no room",
				  lost);
	}
	watch_stop(loop, &end->watch);
	watch_stop(loop, &end->write_watch);
	if (end->wfd >= 0 && end->wfd != end->rfd)
		close(end->wfd);
	if (end->rfd >= 0)
		close(end->rfd);
	end->rfd = end->wfd = -1;
	packets_clear(&end->queue);
	record_reader_clear(&end->reader);
	free(end->partial);
	free(end->left);
	end->partial = end->left = NULL;
}

/* So many bytes were taken, or -errno: -EAGAIN. */
static ssize_t end_writev(struct datagrams_end *end, struct iovec *iov, int count)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)count };
	ssize_t n;

	do
		n = end->wsock ? sendmsg(end->wfd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL)
			       : writev(end->wfd, iov, count);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		end->writable = false;
	return end->writable ? -errno : -EAGAIN;
}

static void ask_for_room(struct datagrams *d, struct datagrams_end *end)
{
	bool waits = !packets_are_gone(&end->queue);

	if (end->wfd != end->rfd || end->awaits_writable == waits || end->watch.cb == NULL)
		return;
	end->awaits_writable = waits;
	watch_change(d->loop, &end->watch, waits ? WATCH_READ | WATCH_WRITE : WATCH_READ);
}

/* What a peer that takes no more has said before is still worth reading, if it is a link. */
static void end_write_failed(struct datagrams *d, int to, int sys_errno)
{
	struct datagrams_end *end = &d->end[to];

	end->write_dead = true;
	packets_clear(&end->queue);
	if (end->type != DATAGRAMS_RECORDS)
		datagrams_failed(d, to, sys_errno);
	else
		datagrams_doom(d);
}

void datagrams_end_flush(struct datagrams *d, int to)
{
	struct datagrams_end *end = &d->end[to];
	/* To stdout each goes on its own. */
	int most = end->type == DATAGRAMS_READS ? 1 : DATAGRAMS_BATCH;
	struct iovec iov[DATAGRAMS_BATCH];

	while (end->writable && !packets_are_gone(&end->queue)) {
		ssize_t n = end_writev(end, iov, packets_peek(&end->queue, iov, most));

		if (n >= 0) {
			packets_took(&end->queue, (size_t)n);
		} else if (n != -EAGAIN) {
			end_write_failed(d, to, (int)-n);
			return;
		}
	}
	ask_for_room(d, end);
}

static size_t put_head(const struct datagrams_end *end, uint8_t head[RECORD_HEADER_SIZE],
		       size_t size)
{
	if (end->type == DATAGRAMS_RECORDS) {
		record_put_header(head, RECORD_DATA, (uint32_t)size);
		return RECORD_HEADER_SIZE;
	}
	head[0] = (uint8_t)(size >> 8);
	head[1] = (uint8_t)size;
	return 2;
}

/* Into a stream: all of them by one call, and what is not taken to the queue. */
static void put_framed(struct datagrams *d, int to, const struct datagrams_batch *batch)
{
	struct datagrams_end *end = &d->end[to];
	uint8_t heads[DATAGRAMS_BATCH][RECORD_HEADER_SIZE];
	struct iovec iov[2 * DATAGRAMS_BATCH];
	ssize_t n = 0;
	size_t taken;

	for (size_t i = 0; i < batch->count; i++) {
		iov[2 * i].iov_base = heads[i];
		iov[2 * i].iov_len = put_head(end, heads[i], batch->item[i].iov_len);
		iov[2 * i + 1] = batch->item[i];
	}
	if (end->writable && packets_are_gone(&end->queue))
		n = end_writev(end, iov, (int)(2 * batch->count));
	if (n < 0 && n != -EAGAIN) {
		end_write_failed(d, to, (int)-n);
		return;
	}
	taken = n > 0 ? (size_t)n : 0;
	for (size_t i = 0; i < batch->count; i++) {
		const struct iovec *head = &iov[2 * i], *data = head + 1;
		size_t size = head->iov_len + data->iov_len;

		if (taken < size)
			packets_put(&end->queue, head->iov_base, head->iov_len, data->iov_base,
				    data->iov_len, taken);
		taken -= taken < size ? taken : size;
	}
	ask_for_room(d, end);
}

static void put_writes(struct datagrams *d, int to, const struct datagrams_batch *batch)
{
	struct datagrams_end *end = &d->end[to];

	for (size_t i = 0; i < batch->count; i++) {
		struct iovec iov = batch->item[i];
		ssize_t n = -EAGAIN;

		if (end->writable && packets_are_gone(&end->queue))
			n = end_writev(end, &iov, 1);
		if (n < 0 && n != -EAGAIN) {
			end_write_failed(d, to, (int)-n);
			return;
		}
		if (n < 0 || (size_t)n < iov.iov_len)
			packets_put(&end->queue, NULL, 0, iov.iov_base, iov.iov_len,
				    n > 0 ? (size_t)n : 0);
	}
	ask_for_room(d, end);
}

/* No room, or not that one: others may get through. */
static bool is_lost(int sys_errno)
{
	return sys_errno == EAGAIN || sys_errno == EWOULDBLOCK || sys_errno == ENOBUFS ||
	       sys_errno == ENOMEM || sys_errno == EMSGSIZE || sys_errno == EPERM;
}

/* Those that are lost are taken off what datagrams_end_put() counts. */
static void put_socket(struct datagrams *d, int to, const struct datagrams_batch *batch)
{
	struct datagrams_end *end = &d->end[to];

	for (size_t i = 0; i < batch->count; i++) {
		const struct iovec *item = &batch->item[i];
		ssize_t n;

		do
			n = send(end->wfd, item->iov_base, item->iov_len,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		while (n < 0 && errno == EINTR);
		if (n >= 0)
			continue;
		end->count--;
		end->bytes -= item->iov_len;
		end->dropped++;
		if (!is_lost(errno)) {
			end->error = errno;
			end->readable = true;
		}
	}
}

static void put_batch(struct datagrams *d, int to, const struct datagrams_batch *batch)
{
	switch ((enum datagrams_type)d->end[to].type) {
	case DATAGRAMS_RECORDS:
	case DATAGRAMS_LENGTHS:
		put_framed(d, to, batch);
		break;
	case DATAGRAMS_READS:
		put_writes(d, to, batch);
		break;
	case DATAGRAMS_SOCKET:
		put_socket(d, to, batch);
		break;
	case DATAGRAMS_CALLS:
		for (size_t i = 0; i < batch->count; i++)
			d->client->ops->got(d->client, batch->item[i].iov_base,
					    batch->item[i].iov_len);
		break;
	case DATAGRAMS_NOWHERE:
		break;
	}
}

void datagrams_end_put(struct datagrams *d, int to, const struct datagrams_batch *batch)
{
	struct datagrams_end *end = &d->end[to];

	if (!end->write_dead)
		put_batch(d, to, batch);
	if (end->write_dead) {
		end->dropped += batch->count;
		return;
	}
	end->count += batch->count;
	for (size_t i = 0; i < batch->count; i++)
		end->bytes += batch->item[i].iov_len;
}

void datagrams_end_send(struct datagrams *d, int to, const uint8_t *record, size_t size)
{
	struct datagrams_end *end = &d->end[to];

	if (end->write_dead)
		return;
	packets_put(&end->queue, NULL, 0, record, size, 0);
	datagrams_end_flush(d, to);
}
