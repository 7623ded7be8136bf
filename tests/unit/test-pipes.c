/* SPDX-License-Identifier: MIT */
/* The pool of pipes: how many there are, which are kept, and that none is lost. */
#include "config.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "pipes.h"
#include "sock.h"
#include "tap.h"

#define MAX 16
#define KEPT 4

static void put_bytes(struct pipe *pipe, size_t size)
{
	static const uint8_t bytes[100];

	if (write(pipe->wfd, bytes, size) != (ssize_t)size)
		abort();
	pipe->held += size;
}

static void test_one(void)
{
	struct pipe *pipe, *again;
	struct loop loop;
	char buf[8];
	size_t before;

	if (loop_init(&loop) < 0)
		abort();
	before = fd_count();
	pipe_give(&loop, NULL);
	pipe_leave(&loop, NULL);
	pipe_join(&loop, NULL);
	is_int(loop.pipe_count, 0, "no pipe is none");
	pipe = pipe_take(&loop);
	ok(pipe != NULL && pipe->held == 0 && pipe->next == NULL, "an empty pipe");
	is_int(fd_count(), before + 2, "it is two descriptors");
	ok(pipe->size >= 64u * 1024, "it holds much: %zu", pipe->size);
	is_int((long long)pipe->size, fcntl(pipe->rfd, F_GETPIPE_SZ), "as much as it says");
	for (int i = 0; i < 2; i++) {
		int fd = i == 0 ? pipe->rfd : pipe->wfd;

		ok(fcntl(fd, F_GETFL) & O_NONBLOCK, "%s does not block", i ? "writing" : "reading");
		ok(fcntl(fd, F_GETFD) & FD_CLOEXEC, "and is not inherited");
	}
	put_bytes(pipe, 5);
	is_int(read(pipe->rfd, buf, sizeof(buf)), 5, "what goes in comes out");
	pipe->held = 0;
	pipe_give(&loop, pipe);
	is_int(fd_count(), before + 2, "it is kept");
	again = pipe_take(&loop);
	ok(again == pipe && again->held == 0, "and given out again");
	is_int(loop.pipe_count, 1, "there is one");
	pipe_give(&loop, again);
	pipes_clear(&loop);
	is_int(fd_count(), before, "cleared: no descriptor is left");
	is_int(loop.pipe_count, 0, "cleared: nor counted");
	loop_clear(&loop);
}

/* What nobody took of it must not go to somebody else. */
static void test_not_empty(void)
{
	struct pipe *pipe;
	struct loop loop;
	char buf[8];
	size_t before;

	if (loop_init(&loop) < 0)
		abort();
	before = fd_count();
	pipe = pipe_take(&loop);
	put_bytes(pipe, 5);
	pipe_give(&loop, pipe);
	is_int(fd_count(), before, "one with bytes in it is closed");
	is_int(loop.pipe_count + loop.pipes_kept, 0, "and forgotten");
	pipe = pipe_take(&loop);
	ok(read(pipe->rfd, buf, sizeof(buf)) < 0 && pipe->held == 0, "the next one is empty");
	pipe_give(&loop, pipe);
	loop_clear(&loop);
	ok(fd_count() < before, "the loop clears its pipes");
}

static void test_limits(void)
{
	struct pipe *pipes[MAX];
	struct loop loop;
	size_t before;
	int rest = 0;

	if (loop_init(&loop) < 0)
		abort();
	before = fd_count();
	for (int i = 0; i < MAX; i++)
		rest += (pipes[i] = pipe_take(&loop)) == NULL;
	is_int(rest, 0, "%d pipes", MAX);
	ok(pipe_take(&loop) == NULL, "and no more");
	is_int(fd_count(), before + 2 * MAX, "that cost nothing");
	pipe_give(&loop, pipes[MAX - 1]);
	pipes[MAX - 1] = pipe_take(&loop);
	ok(pipes[MAX - 1] != NULL, "one that is given back may be taken again");
	for (int i = 0; i < MAX; i++)
		pipe_give(&loop, pipes[i]);
	is_int(loop.pipes_kept, KEPT, "%d of them are kept", KEPT);
	is_int(loop.pipe_count, KEPT, "the others are not counted");
	is_int(fd_count(), before + 2 * KEPT, "nor open");
	for (int i = 0; i < MAX; i++)
		rest += (pipes[i] = pipe_take(&loop)) == NULL;
	is_int(rest, 0, "%d again, kept ones first", MAX);
	is_int(loop.pipes_kept, 0, "none is left");
	put_bytes(pipes[0], 1);
	for (int i = 0; i < MAX; i++)
		pipe_give(&loop, pipes[i]);
	is_int(fd_count(), before + 2 * KEPT, "and so many stay");
	pipes_clear(&loop);
	is_int(fd_count(), before, "cleared");
	loop_clear(&loop);
}

/* A relay goes on in another loop, with its pipe. */
static void test_move(void)
{
	struct pipe *pipes[MAX], *more;
	struct loop from, to;
	size_t before;

	if (loop_init(&from) < 0 || loop_init(&to) < 0)
		abort();
	before = fd_count();
	for (int i = 0; i < MAX; i++)
		pipes[i] = pipe_take(&from);
	put_bytes(pipes[0], 7);
	pipe_leave(&from, pipes[0]);
	pipe_join(&to, pipes[0]);
	is_int(from.pipe_count, MAX - 1, "left");
	is_int(to.pipe_count, 1, "joined");
	more = pipe_take(&from);
	ok(more != NULL, "there is room for another one then");
	pipe_give(&from, more);
	pipe_give(&to, pipes[0]);
	is_int(to.pipe_count, 0, "and it ends there");
	for (int i = 1; i < MAX; i++)
		pipe_give(&from, pipes[i]);
	pipes_clear(&from);
	is_int(from.pipe_count, 0, "nothing is counted twice");
	is_int(fd_count(), before, "moving: no descriptor is left");
	loop_clear(&from);
	loop_clear(&to);
}

/* Descriptors are for connections first: where there are few, so are pipes. */
static void test_few_descriptors(void)
{
	struct pipe *pipes[MAX] = { NULL };
	struct rlimit was, few;
	struct loop loop;
	size_t before;
	int next, count = 0;

	if (loop_init(&loop) < 0 || getrlimit(RLIMIT_NOFILE, &was) < 0)
		abort();
	before = fd_count();
	few = was;
	few.rlim_cur = 256;
	setrlimit(RLIMIT_NOFILE, &few);
	while (count < MAX && (pipes[count] = pipe_take(&loop)) != NULL)
		count++;
	next = dup(0);
	ok(count == 2, "256 descriptors: %d pipes", count);
	ok(next >= 0, "256 descriptors: %d is the next one", next);
	close(next);
	is_int(loop.pipe_count, count, "256 descriptors: what was too much is not counted");
	is_int(fd_count(), before + 2 * count, "256 descriptors: nor open");
	few.rlim_cur = (rlim_t)next + 1;
	setrlimit(RLIMIT_NOFILE, &few);
	ok(pipe_take(&loop) == NULL, "one descriptor: none");
	setrlimit(RLIMIT_NOFILE, &was);
	is_int(fd_count(), before + 2 * count, "one descriptor: it is still free");
	for (int i = 0; i < count; i++)
		pipe_give(&loop, pipes[i]);
	pipes_clear(&loop);
	is_int(fd_count(), before, "few descriptors: none is left open");
	loop_clear(&loop);
}

int main(void)
{
	static const bool have_splice =
#ifdef HAVE_SPLICE
		true;
#else
		false;
#endif

	if (!have_splice)
		return skip_all("built without splice");
	fd_limit_raise();
	test_one();
	test_not_empty();
	test_limits();
	test_move();
	test_few_descriptors();
	return done_testing();
}
