/* SPDX-License-Identifier: MIT */
/*
 * Bulk connections, both ends. What is sent is a sequence of pages that each begin with their
 * position in the stream, and the last one with a mark: whatever is lost, doubled, moved or mixed up
 * between connections shows at the next page. The bytes behind that are compared on a sample
 * of pages, so that checking costs little beside copying.
 *
 * The server's last page waits for the client's and tells how much came, so that the client
 * times what was delivered and needs no half-close, which some peers don't pass on.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define PAGE_SIZE 4096
#define PAGES 64 /* a write */
#define COMPARE_EVERY 64

struct page {
	uint64_t position;
	uint64_t last;     /* 1 in the last page of a direction */
	uint64_t received; /* in the server's last page: what came */
	uint8_t filler[PAGE_SIZE - 24];
};

struct source {
	struct page *pages;
	size_t have, sent; /* bytes of pages[] */
	uint64_t position; /* in the stream, behind pages[] */
	bool over;         /* time or amount is reached: only the last page is to come */
	bool ended;        /* the last page is in pages[] or was sent */
};

struct sink {
	struct page head; /* the page under way, its first bytes only */
	uint64_t position;
	bool ended;
};

struct bulk {
	int fd;
	bool waits; /* the server: the last page is sent when the client's is here */
	struct source source;
	struct sink sink;
	uint64_t deadline, limit;
	uint32_t watched; /* epoll events that are asked for */
	char failure[160];
};

__attribute__((format(printf, 2, 3))) static void bulk_fail(struct bulk *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(b->failure, sizeof(b->failure), fmt, ap);
	va_end(ap);
}

static void fill_pattern(uint8_t *out, size_t size)
{
	uint32_t x = 2463534242u;

	for (size_t i = 0; i < size; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		out[i] = (uint8_t)x;
	}
}

static void bulk_init(struct bulk *b, int fd, const struct bulk_request *request, bool server)
{
	bool sends = request->directions & (server ? BULK_DOWN : BULK_UP);
	bool receives = request->directions & (server ? BULK_UP : BULK_DOWN);

	*b = (struct bulk){ .fd = fd, .waits = server };
	b->deadline = now_ns() + request->ms * 1000000ull;
	b->limit = request->bytes != 0 ? request->bytes : UINT64_MAX;
	b->source.over = !sends;
	/* A client that has nothing to send says so by the request; the server always ends by a page. */
	b->source.ended = !sends && !server;
	b->sink.ended = !receives && server;
	b->source.pages = malloc(PAGES * sizeof(struct page));
	if (b->source.pages == NULL)
		die("out of memory");
	for (size_t i = 0; i < PAGES; i++)
		fill_pattern(b->source.pages[i].filler, sizeof(b->source.pages[i].filler));
}

static void bulk_free(struct bulk *b)
{
	close(b->fd);
	free(b->source.pages);
}

static void source_fill(struct bulk *b)
{
	struct source *s = &b->source;
	size_t count = PAGES;

	if (!s->over)
		s->over = now_ns() >= b->deadline || s->position >= b->limit;
	if (s->over)
		count = !b->waits || b->sink.ended;
	for (size_t i = 0; i < count; i++) {
		s->pages[i].position = s->position + i * PAGE_SIZE;
		s->pages[i].last = s->over;
		s->pages[i].received = b->sink.position;
	}
	s->ended = s->over && count > 0;
	s->have = count * PAGE_SIZE;
	s->sent = 0;
	s->position += s->have;
}

/* True when all was sent that there is to send now. */
static bool source_step(struct bulk *b)
{
	struct source *s = &b->source;
	ssize_t n;

	if (s->sent == s->have && !s->ended)
		source_fill(b);
	if (s->sent == s->have)
		return true;
	n = send(b->fd, (char *)s->pages + s->sent, s->have - s->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		bulk_fail(b, "send at %" PRIu64 ": %s", s->position, strerror(errno));
	s->sent += n > 0 ? (size_t)n : 0;
	return s->sent == s->have && s->ended;
}

/* Takes what came of one page; the end of it may be still to come. */
static void sink_check(struct bulk *b, const uint8_t *data, size_t size)
{
	struct sink *s = &b->sink;
	size_t at = s->position % PAGE_SIZE, head = offsetof(struct page, filler);
	size_t skip = at < head ? head - at : 0;

	if (at < head)
		memcpy((char *)&s->head + at, data, size < skip ? size : skip);
	s->position += size;
	if (size < skip)
		return;
	if (s->head.position != s->position - size - at)
		bulk_fail(b, "the page at %" PRIu64 " says it is at %" PRIu64,
			  s->position - size - at, s->head.position);
	else if (s->head.position / PAGE_SIZE % COMPARE_EVERY == 0 &&
		 memcmp(data + skip, b->source.pages[0].filler + (at + skip - head), size - skip) !=
			 0)
		bulk_fail(b, "wrong bytes in the page at %" PRIu64, s->head.position);
	if (s->position % PAGE_SIZE == 0 && s->head.last)
		s->ended = true;
}

static void sink_step(struct bulk *b)
{
	static _Thread_local uint8_t buf[PAGES * PAGE_SIZE];
	ssize_t n = recv(b->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		bulk_fail(b, "receive at %" PRIu64 ": %s", b->sink.position,
			  n == 0 ? "the connection was closed" : strerror(errno));
		return;
	}
	for (size_t done = 0; done < (size_t)n && b->failure[0] == '\0';) {
		size_t size = PAGE_SIZE - b->sink.position % PAGE_SIZE;

		if (b->sink.ended)
			bulk_fail(b, "bytes behind the last page");
		if (size > (size_t)n - done)
			size = (size_t)n - done;
		sink_check(b, buf + done, size);
		done += size;
	}
}

/* Asks epoll for what the connection waits for. */
static void bulk_watch(struct bulk *b, int epoll, bool sent)
{
	uint32_t wanted = (b->sink.ended ? 0 : EPOLLIN) | (sent ? 0 : EPOLLOUT);
	struct epoll_event event = { .events = wanted, .data.ptr = b };

	if (wanted == b->watched)
		return;
	epoll_ctl(epoll, b->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, b->fd, &event);
	b->watched = wanted;
}

static bool bulk_is_over(const struct bulk *b)
{
	return b->sink.ended && b->source.ended && b->source.sent == b->source.have;
}

/* Works until all connections are over; returns one that failed, or NULL. */
static const struct bulk *bulk_run(struct bulk *bulks, size_t count)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	const struct bulk *failed = NULL;
	size_t left = count;

	for (size_t i = 0; i < count; i++)
		bulk_watch(&bulks[i], epoll, false);
	while (left > 0 && failed == NULL) {
		struct epoll_event events[64];
		uint64_t now = now_ns(), end = bulks[0].deadline + GRACE_MS * 1000000ull;
		int n = epoll_wait(epoll, events, 64,
				   now < end ? (int)((end - now) / 1000000) + 1 : 0);

		if (n == 0) {
			bulk_fail(&bulks[0],
				  "hangs: %zu of %zu connections; %" PRIu64 " bytes sent, %" PRIu64
				  " received",
				  left, count, bulks[0].source.position, bulks[0].sink.position);
			failed = &bulks[0];
		}
		for (int i = 0; i < n && failed == NULL; i++) {
			struct bulk *b = events[i].data.ptr;
			bool sent;

			if (!b->sink.ended)
				sink_step(b);
			sent = source_step(b);
			if (b->failure[0] != '\0')
				failed = b;
			left -= bulk_is_over(b);
			bulk_watch(b, epoll, sent);
		}
	}
	close(epoll);
	return failed;
}

void bulk_server(int fd, const struct bulk_request *request)
{
	struct bulk b;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char byte;

	bulk_init(&b, fd, request, true);
	if (bulk_run(&b, 1) != NULL) {
		fprintf(stderr, "load: server: %s\n", b.failure);
		set_reset_on_close(fd);
	} else if (poll(&pfd, 1, GRACE_MS) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) > 0) {
		/* The client closes first, as clients mostly do. */
		fprintf(stderr, "load: server: bytes behind the last page\n");
	}
	bulk_free(&b);
}

struct bulk_result bulk_client(uint16_t port, size_t connections,
			       const struct bulk_request *request)
{
	struct bulk *bulks = calloc(connections, sizeof(*bulks));
	struct bulk_result result = { 0 };
	const struct bulk *failed;
	uint64_t start;

	if (bulks == NULL)
		die("out of memory");
	for (size_t i = 0; i < connections; i++)
		bulk_init(&bulks[i], tcp_connect(port), request, false);
	start = now_ns();
	for (size_t i = 0; i < connections; i++) {
		bulks[i].deadline = start + request->ms * 1000000ull;
		write_all(bulks[i].fd, request, sizeof(*request));
	}
	failed = bulk_run(bulks, connections);
	if (failed != NULL)
		die("%s", failed->failure);
	result.seconds = (double)(now_ns() - start) / 1e9;
	for (size_t i = 0; i < connections; i++) {
		const struct bulk *b = &bulks[i];

		if (b->sink.head.received != b->source.position)
			die("sent %" PRIu64 ", the server got %" PRIu64, b->source.position,
			    b->sink.head.received);
		result.up += b->source.position;
		result.down += b->sink.position;
		bulk_free(&bulks[i]);
	}
	free(bulks);
	return result;
}
