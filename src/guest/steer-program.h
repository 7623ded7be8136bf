/* SPDX-License-Identifier: MIT */
/* The sk_lookup program of steer.c: made, loaded and attached to a netns with nothing but bpf(2). */
#ifndef VZFWD_STEER_PROGRAM_H
#define VZFWD_STEER_PROGRAM_H

#include "netns.h"
#include "steer.h"

struct steer_program {
	int passed;  /* the map of addresses that it lets pass */
	int sockets; /* the map of those that get the rest, by enum steer_socket */
	int program;
	int link; /* holds it in its netns */
};
#define STEER_PROGRAM_NONE ((struct steer_program){ -1, -1, -1, -1 })

/*
 * Loads it, for those sockets that are there (not -1; bound, and listening). It does nothing yet. 0, or
 * a negative number with *err; steer_program_close() in every case.
 */
int steer_program_load(struct steer_program *program, const int sockets[STEER_SOCKETS],
		       struct error *err);

/* An address is let pass from now on, or no more. 0 or -errno (-E2BIG: too many). */
int steer_program_pass(const struct steer_program *program, const struct address *addr, bool pass);

/*
 * It works in the netns from now on. REASON_EXHAUSTED, EEXIST: one of these does already, whoever's it
 * is.
 */
int steer_program_attach(struct steer_program *program, struct netns *ns, struct error *err);

/* Ends it: what it gave us stays with us, what comes is looked up as if it had never been there. */
void steer_program_close(struct steer_program *program);

#endif
