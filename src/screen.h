/* SPDX-License-Identifier: MIT */
/* A terminal's screen that is drawn anew again and again, and is as it was when that ends. */
#ifndef VZFWD_SCREEN_H
#define VZFWD_SCREEN_H

#include "lib/loop.h"

struct screen;

/*
 * Takes standard output's screen. NULL if that is no terminal, or one that can do nothing (TERM=dumb). `redraw` is for when
 * its size has changed, or it was given back for a while (^Z).
 */
struct screen *screen_open(struct loop *loop, void (*redraw)(void *arg), void *arg);

/* Lines that don't fit are cut. */
void screen_draw(struct screen *screen, const char *text);

void screen_close(struct screen *screen); /* NULL is harmless */

#endif
