/* SPDX-License-Identifier: MIT */
/*
 * The answering side of JSON-RPC in lines: requests are read byte-exactly and answered one at a time,
 * until the peer leaves, the last answer is out, or the connection is handed over for a stream. Between them there may be
 * notifications; a parked connection waits for its last one, which a stream follows.
 */
#ifndef VZFWD_SESSION_H
#define VZFWD_SESSION_H

#include "line.h"
#include "log.h"
#include "loop.h"
#include "rpc.h"
#include "watch.h"

struct session;

struct session_ops {
	const char *label; /* in the log: "link" */
	/*
	 * How long the next request may take, from the last answer on; or, where idle peers are
	 * welcome, from its own first byte on.
	 */
	bool may_idle;
	unsigned requests_max; /* other than pod.portDial; 0: no limit */
	/*
	 * session->request has an id and waits for session_answer() or session_fail(), now or later.
	 * The other callbacks come from the loop, or from within these two.
	 */
	void (*request)(struct session *session);
	/*
	 * After session_notify(), when nothing else is under way: the next notification's line, given away; NULL if
	 * there is no more. One at a time, so who is slow to read finds what has come together meanwhile. May be NULL.
	 */
	char *(*notification)(struct session *session);
	/* An error is about to be told; may be NULL. */
	void (*failed)(struct session *session, const struct error *err);
	/* The answer of SESSION_PARK is out: from now on session_hand_over() may be called. NULL where nobody parks. */
	void (*parked)(struct session *session);
	/* After SESSION_HAND_OVER: takes rfd and wfd, which are forgotten, and the watches if it likes. */
	void (*handed_over)(struct session *session);
	/* It has ended: whatever works on the request is to be cancelled. */
	void (*closed)(struct session *session);
	/* Nothing here needs the memory any more. */
	void (*freed)(struct session *session);
};

enum session_state {
	SESSION_READING,
	SESSION_CALLING,
	SESSION_WRITING,
	SESSION_PARKED,
	SESSION_DRAINING,
	SESSION_CLOSED,
	SESSION_STATE_COUNT
};

/* What follows an answer: the next request, the end, a stream, or waiting for one. */
enum session_next { SESSION_GO_ON, SESSION_END, SESSION_HAND_OVER, SESSION_PARK };

/* Embedded in what the user of it keeps for a connection. */
struct session {
	const struct session_ops *ops;
	struct loop *loop;
	uint64_t id; /* in the log */
	int rfd, wfd;
	struct watch read_watch, write_watch; /* the first one for both where they are the same */
	struct rpc_request request;
	bool may_idle; /* first as ops has it; may be set while a request is worked on */
	/* Its own. */
	enum session_state state;
	bool notifies;         /* notification() is to be asked */
	bool stepping;         /* session_step() is on the stack */
	bool watches_room;     /* read_watch tells of room to write too */
	struct loop_task task; /* the state's deadline; once closed, freeing */
	struct loop_task turn; /* the next steps, after others had theirs */
	struct line line;
	unsigned requests;
	char *answer;
	size_t length, sent;
	int pass_fd; /* goes with the answer's first byte; -1: none */
	enum session_next next;
	size_t drained;
};

/*
 * Takes the descriptors over (the same one twice for a socket; non-blocking). `session` is zero but for what
 * its user put around it. Starts at once, so the callbacks may come before this has returned.
 */
void session_start(struct session *session, const struct session_ops *ops, struct loop *loop,
		   uint64_t id, int rfd, int wfd);

/* Instead of session_start(): tells the error, as the answer to nothing, and ends. */
void session_refuse(struct session *session, const struct session_ops *ops, struct loop *loop,
		    uint64_t id, int fd, const struct error *err);

/* Answers the request with a line, which is taken over. */
void session_answer(struct session *session, char *line, enum session_next next);

/* Answers it with a result (borrowed), or says that it is too long; the next request may come. */
void session_answer_result(struct session *session, json_t *result);

/* session_answer() with a descriptor beside it (SCM_RIGHTS), which is taken over. */
void session_answer_fd(struct session *session, char *line, int fd);

/* Answers it with an error. */
void session_fail(struct session *session, const struct error *err, enum session_next next);

/* What a parked one has waited for: sends a last line, which is taken over, and hands it over. */
void session_hand_over(struct session *session, char *line);

/* There may be something to tell. Not for one that is closed. */
void session_notify(struct session *session);

/* Ends it at once. Not for one that is closed. */
void session_close(struct session *session);

struct log_name session_name(const struct session *session);

#endif
