/* SPDX-License-Identifier: MIT */
/*
 * Inherited descriptors, as stdin and stdout are: their open file descriptions
 * belong to other processes too, so O_NONBLOCK must not be set on them. And what signals were set to.
 */
#ifndef VZFWD_INHERIT_H
#define VZFWD_INHERIT_H

#include "util.h"

/*
 * A descriptor of our own (close-on-exec) that reads or writes what `fd` does and is fit for a
 * relay: a socket is duplicated (the relay uses MSG_DONTWAIT); a pipe, FIFO or tty is opened
 * anew, non-blocking, through /proc/self/fd; a regular file or /dev/null is duplicated (it is
 * always ready). Where opening anew does not work, O_NONBLOCK is set on the description and
 * taken off again by inherit_restore(); fd stays open, but not in commands. In the other cases /dev/null takes fd's place, so that
 * closing what is returned ends the stream, and stray prints go nowhere. fd or -errno.
 */
int inherit_open(int fd, bool write);

/* Takes O_NONBLOCK off again wherever inherit_open() had to set it. Async-signal-safe. */
void inherit_restore(void);

/*
 * For the start of main(): a program that was started without stdin, stdout or stderr must not get its
 * sockets there. What stands in for stdin is at its end, writing to stdout fails.
 */
void inherit_open_missing(void);

/*
 * There, too: ignores the signals that a failed write(2) tells better, SIGPIPE and SIGXFSZ. And puts back what they were set to, for a
 * command in our place; async-signal-safe.
 */
void inherit_ignore_signals(void);
void inherit_restore_signals(void);

#endif
