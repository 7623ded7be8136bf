/* SPDX-License-Identifier: MIT */
/*
 * A relay with a test at both of its ends, for the relay's tests: all in one thread, the test's own
 * ends are not blocking, and whatever waits drives the loop meanwhile.
 */
#ifndef VZFWD_RELAY_FIXTURE_H
#define VZFWD_RELAY_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "records.h"
#include "relay.h"
#include "sock.h"
#include "tap.h"

#define WAIT_MS 20000

/* What an end is made of. */
enum pair { PAIR_UNIX, PAIR_TCP, PAIR_PIPES };

struct fixture {
	struct relay_config config;
	struct relay *relay;
	int near_r, near_w, far_r, far_w; /* ours; the same for a socket, -1 when closed */
	int64_t started, ended;           /* now_ms() */
	bool done;
	pthread_t thread; /* the one that done() was called in */
	struct relay_result result;
};

static struct loop loop;

/* One turn of the loop; true while WAIT_MS have not passed since `since`. */
static inline bool turn(int64_t since)
{
	event_base_loop(loop.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	poll(NULL, 0, event_base_get_num_events(loop.base, EVENT_BASE_COUNT_ACTIVE) > 0 ? 0 : 1);
	return now_ms() - since < WAIT_MS;
}

/* As many turns as it takes for nothing to move any more. */
static inline void settle(void)
{
	int64_t since = now_ms();

	for (int i = 0; i < 50; i++)
		turn(since);
}

/* A connected pair; [0] is the test's, [1] the relay's. */
static inline void tcp_pair(int fd[2])
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&sin, sizeof(sin)) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&sin, &len) < 0 ||
	    connect(fd[0], (struct sockaddr *)&sin, sizeof(sin)) < 0)
		abort();
	fd[1] = accept(listener, NULL, NULL);
	close(listener);
	fd_set_nonblock(fd[0], true);
	fd_set_nonblock(fd[1], true);
	sock_tune_tcp(fd[0]);
	sock_tune_tcp(fd[1]);
}

static inline void make_pair(enum pair kind, struct relay_end_config *end, int *r, int *w)
{
	int fd[2], back[2];

	switch (kind) {
	case PAIR_PIPES:
		if (pipe2(fd, O_NONBLOCK | O_CLOEXEC) < 0 ||
		    pipe2(back, O_NONBLOCK | O_CLOEXEC) < 0)
			abort();
		*r = back[0];
		*w = fd[1];
		end->rfd = fd[0];
		end->wfd = back[1];
		return;
	case PAIR_TCP:
		tcp_pair(fd);
		break;
	default:
		if (sock_pair(fd) < 0)
			abort();
	}
	*r = *w = fd[0];
	end->rfd = end->wfd = fd[1];
}

/* Makes both pairs; the relay is started by fixture_start(), so that options can be set in between. */
static inline void fixture_init(struct fixture *f, enum pair near, enum pair far,
				enum framing framing, unsigned flags)
{
	*f = (struct fixture){ .config.flags = flags, .config.name.label = "test" };
	make_pair(near, &f->config.end[0], &f->near_r, &f->near_w);
	make_pair(far, &f->config.end[1], &f->far_r, &f->far_w);
	f->config.end[1].framing = framing;
}

static inline void fixture_done(const struct relay_result *result, void *arg)
{
	struct fixture *f = arg;

	f->done = true;
	f->thread = pthread_self();
	f->result = *result;
	f->ended = now_ms();
	f->relay = NULL;
}

static inline void fixture_start(struct fixture *f)
{
	f->config.done = fixture_done;
	f->config.arg = f;
	f->started = now_ms();
	f->relay = relay_new(&loop, &f->config);
}

static inline void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void close_near(struct fixture *f)
{
	if (f->near_w != f->near_r)
		shut(&f->near_w);
	f->near_w = -1;
	shut(&f->near_r);
}

static inline void close_far(struct fixture *f)
{
	if (f->far_w != f->far_r)
		shut(&f->far_w);
	f->far_w = -1;
	shut(&f->far_r);
}

/* Closes with a RST. */
static inline void reset_near(struct fixture *f)
{
	sock_close_reset(f->near_r);
	f->near_r = f->near_w = -1;
}

static inline void reset_far(struct fixture *f)
{
	sock_close_reset(f->far_r);
	f->far_r = f->far_w = -1;
}

/* True when done() was called, in time. */
static inline bool wait_done(struct fixture *f)
{
	int64_t since = now_ms();

	while (!f->done && turn(since))
		;
	return f->done;
}

/* The check that every test ends with; closes all. */
static inline void fixture_check(struct fixture *f, enum relay_outcome want, const char *name)
{
	if (ok(wait_done(f), "%s: done", name)) {
		is_str(relay_outcome_name(f->result.outcome), relay_outcome_name(want),
		       "%s: the outcome", name);
		if (want != RELAY_EOF)
			is_str(reason_name(f->result.err.reason), "broken", "%s: the reason", name);
	} else {
		/* So that it does not disturb the tests to come. */
		relay_abort(f->relay, "gave up");
	}
	close_near(f);
	close_far(f);
	ok(wait_done(f), "%s: gone", name);
}

/* Writes all; false on an error or when it is not taken in time. */
static inline bool put(int fd, const void *data, size_t size)
{
	int64_t since = now_ms();
	size_t done = 0;

	while (done < size) {
		ssize_t n = write(fd, (const uint8_t *)data + done, size - done);

		if (n > 0)
			done += (size_t)n;
		else if (errno != EAGAIN || !turn(since))
			return false;
	}
	return true;
}

/* True when the relay has read all of the link, but for `left` bytes at most, in time. */
static inline bool wait_taken(struct fixture *f, int left)
{
	int64_t since = now_ms();
	int n = 0;

	while (ioctl(f->config.end[1].rfd, FIONREAD, &n) == 0 && n > left) {
		if (!turn(since))
			return false;
	}
	return n <= left;
}

/* Reads `size` bytes, fewer at an end, which *end tells: 0, or an errno (ETIMEDOUT if nothing came). */
static inline size_t get(int fd, void *data, size_t size, int *end)
{
	int64_t since = now_ms();
	size_t done = 0;

	*end = 0;
	while (done < size) {
		ssize_t n = read(fd, (uint8_t *)data + done, size - done);

		if (n > 0) {
			done += (size_t)n;
		} else if (n == 0) {
			break;
		} else if (errno != EAGAIN) {
			*end = errno;
			break;
		} else if (!turn(since)) {
			*end = ETIMEDOUT;
			break;
		}
	}
	return done;
}

/* Nothing more comes from fd but its end: 0 (EOF) or an errno; EPROTO if bytes came. */
static inline int get_end(int fd)
{
	uint8_t byte;
	int end;

	return get(fd, &byte, 1, &end) > 0 ? EPROTO : end;
}

static inline bool put_record(int fd, int type, const void *payload, size_t size)
{
	uint8_t header[RECORD_HEADER_SIZE] = { (uint8_t)type, (uint8_t)(size >> 16),
					       (uint8_t)(size >> 8), (uint8_t)size };

	return put(fd, header, sizeof(header)) && put(fd, payload, size);
}

/*
 * A whole record: its type, or -1 with *end at the end. The payload, of up to RECORD_PAYLOAD_MAX bytes, is
 * NUL-terminated.
 */
static inline int get_record(int fd, uint8_t *payload, size_t *size, int *end)
{
	uint8_t header[RECORD_HEADER_SIZE];

	*size = 0;
	if (get(fd, header, sizeof(header), end) < sizeof(header))
		return -1;
	*size = (size_t)header[1] << 16 | (size_t)header[2] << 8 | header[3];
	if (*size > RECORD_PAYLOAD_MAX || get(fd, payload, *size, end) < *size)
		return -1;
	payload[*size] = '\0';
	return header[0];
}

/* The next record is `type` with that payload. */
static inline void is_record(int fd, int type, const void *payload, size_t size, const char *name)
{
	uint8_t *got = xmalloc(RECORD_PAYLOAD_MAX + 1);
	size_t got_size;
	int end, got_type = get_record(fd, got, &got_size, &end);

	if (is_int(got_type, type, "%s: a record of type %s", name,
		   record_type_name((unsigned)type)))
		is_mem(got, got_size, payload, size, "%s: its payload", name);
	free(got);
}

/* The next record is a RESET whose text holds `text`. */
static inline void is_reset_record(int fd, const char *text, const char *name)
{
	uint8_t *got = xmalloc(RECORD_PAYLOAD_MAX + 1);
	size_t size;
	int end, type = get_record(fd, got, &size, &end);

	if (is_int(type, RECORD_RESET, "%s: a RESET record", name) &&
	    !ok(strstr((char *)got, text) != NULL, "%s: it says \"%s\"", name, text))
		diag("it says \"%s\"", (char *)got);
	free(got);
}

static inline int fixture_main(void (*const tests[])(void), size_t count)
{
	signal(SIGPIPE, SIG_IGN);
	fd_limit_raise(); /* as the programs do: pipes are for those who have many */
	log_init("test", getenv("DEBUG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR,
		 LOG_FORMAT_TEXT);
	if (loop_init(&loop) < 0)
		return 99;
	relay_bulk_init(&loop);
	for (size_t i = 0; i < count; i++)
		tests[i]();
	relay_bulk_clear(&loop);
	loop_clear(&loop);
	return done_testing();
}

#endif
