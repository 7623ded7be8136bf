/* SPDX-License-Identifier: MIT */
/* By the sequences that every terminal of today knows: xterm's alternate screen (1049), and ECMA-48. */
#include "config.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "screen.h"

/* The alternate screen, no cursor, and lines that are cut and not wrapped; and back. */
#define ENTER "\033[?1049h\033[?25l\033[?7l"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"
#define HOME "\033[H"
#define CLEAR_LINE "\033[K"
#define CLEAR_BELOW "\033[J"

struct screen {
	void (*redraw)(void *arg);
	void *arg;
	struct event *resized, *stopped;
};

static void put(const char *text)
{
	fputs(text, stdout);
	fflush(stdout);
}

static void on_resized(evutil_socket_t number, short what, void *arg)
{
	struct screen *s = arg;

	(void)number;
	(void)what;
	s->redraw(s->arg);
}

/* ^Z: the shell gets its screen. */
static void on_stopped(evutil_socket_t number, short what, void *arg)
{
	struct screen *s = arg;

	(void)number;
	(void)what;
	put(LEAVE);
	kill(getpid(), SIGSTOP);
	put(ENTER);
	s->redraw(s->arg);
}

static struct event *catch (struct loop *loop, int number, event_callback_fn cb, void *arg)
{
	struct event *event = xcheck(evsignal_new(loop->base, number, cb, arg));

	if (event_add(event, NULL) < 0)
		abort();
	return event;
}

struct screen *screen_open(struct loop *loop, void (*redraw)(void *arg), void *arg)
{
	const char *term = getenv("TERM");
	struct screen *s;

	if (!isatty(STDOUT_FILENO) || term == NULL || strcmp(term, "dumb") == 0)
		return NULL;
	s = xcalloc(1, sizeof(*s));
	*s = (struct screen){ .redraw = redraw, .arg = arg };
	s->resized = catch (loop, SIGWINCH, on_resized, s);
	s->stopped = catch (loop, SIGTSTP, on_stopped, s);
	put(ENTER);
	return s;
}

void screen_draw(struct screen *s, const char *text)
{
	struct winsize size = { 0 };
	unsigned rows = 24;

	(void)s;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0)
		rows = size.ws_row;
	fputs(HOME, stdout);
	for (unsigned row = 1; *text != '\0'; row++) {
		size_t length = strcspn(text, "\n");

		fwrite(text, 1, length, stdout);
		fputs(CLEAR_LINE, stdout);
		text += length + (text[length] == '\n');
		if (row == rows || *text == '\0')
			break;
		fputs("\r\n", stdout);
	}
	put(CLEAR_BELOW);
}

void screen_close(struct screen *s)
{
	if (s == NULL)
		return;
	put(LEAVE);
	event_free(s->resized);
	event_free(s->stopped);
	free(s);
}
