/* SPDX-License-Identifier: MIT */
/* The pool of pipes. */
#include "config.h"

#include <fcntl.h>

#include "pipes.h"

/* Two descriptors each: slow readers of some connections must not take those of all. */
#define PIPES_MAX 16
/* So many are kept that nobody uses. */
#define PIPES_KEPT 4
/*
 * What a pipe may hold. Unprivileged users get small ones beyond fs.pipe-user-pages-soft, which
 * are not worth it.
 */
#define PIPE_SIZE (1024 * 1024)
#define PIPE_SIZE_MIN (64 * 1024)

size_t pipes_max(void)
{
	long descriptors = sysconf(_SC_OPEN_MAX);

	return descriptors < 128 * PIPES_MAX ? (size_t)descriptors / 128 : PIPES_MAX;
}

static void pipe_close(struct loop *loop, struct pipe *pipe)
{
	close(pipe->rfd);
	close(pipe->wfd);
	free(pipe);
	loop->pipe_count--;
}

#ifdef HAVE_SPLICE
static struct pipe *pipe_new(struct loop *loop)
{
	struct pipe *new;
	int fd[2], size;

	if (loop->pipe_count >= pipes_max() || pipe2(fd, O_CLOEXEC | O_NONBLOCK) < 0)
		return NULL;
	if (fcntl(fd[1], F_SETPIPE_SZ, PIPE_SIZE) < 0) {
		/* Then it has its default size. */
	}
	size = fcntl(fd[1], F_GETPIPE_SZ);
	new = xcalloc(1, sizeof(*new));
	*new = (struct pipe){ .rfd = fd[0], .wfd = fd[1], .size = size > 0 ? (size_t)size : 0 };
	loop->pipe_count++;
	if (new->size >= PIPE_SIZE_MIN)
		return new;
	pipe_close(loop, new);
	return NULL;
}
#else
static struct pipe *pipe_new(struct loop *loop)
{
	(void)loop;
	return NULL;
}
#endif

struct pipe *pipe_take(struct loop *loop)
{
	struct pipe *pipe = loop->pipes;

	if (pipe == NULL)
		return pipe_new(loop);
	loop->pipes = pipe->next;
	loop->pipes_kept--;
	return pipe;
}

void pipe_give(struct loop *loop, struct pipe *pipe)
{
	if (pipe == NULL)
		return;
	if (pipe->held > 0 || loop->pipes_kept >= PIPES_KEPT) {
		pipe_close(loop, pipe);
		return;
	}
	pipe->next = loop->pipes;
	loop->pipes = pipe;
	loop->pipes_kept++;
}

void pipe_leave(struct loop *loop, struct pipe *pipe)
{
	loop->pipe_count -= pipe != NULL;
}

void pipe_join(struct loop *loop, struct pipe *pipe)
{
	loop->pipe_count += pipe != NULL;
}

void pipes_clear(struct loop *loop)
{
	struct pipe *pipe;

	loop->pipes_kept = 0;
	while ((pipe = loop->pipes) != NULL) {
		loop->pipes = pipe->next;
		pipe_close(loop, pipe);
	}
}
