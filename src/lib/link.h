/* SPDX-License-Identifier: MIT */
/*
 * The host's side of a link: connect to a pod's dialer over whatever transport
 * its endpoint names, exchange requests and answers, and hand the descriptor over
 * once pod.portDial was answered. netns: and pid: endpoints have no dialer to
 * reach: the same calls are answered by the dialer's own code in this process.
 */
#ifndef VZFWD_LINK_H
#define VZFWD_LINK_H

#include "child.h"
#include "log.h"
#include "loop.h"
#include "pods.h"
#include "policy.h"
#include "rpc-accept.h"

struct link;
struct link_early;
struct datagrams_client;
struct watch;

struct link_options {
	struct pod *pod; /* borrowed, until link_open() returns */
	const struct policy
		*policy;      /* netns:, pid: only; NULL: the default policy. Outlives the link. */
	struct log_name name; /* for the log */
	/* For link_dial(): may be NULL. Outlives the dialing. */
	struct link_early *early;
	bool wants_watch; /* link_dialed.watch is made use of; else it is NULL */
};

/*
 * Called once when the transport is connected (err NULL) or could not be
 * (REASON_UNREACHABLE, REASON_TIMEOUT, REASON_DENIED, REASON_EXHAUSTED, …; link_free() it then).
 * With an error never before link_open() has returned; connected it may be at once.
 */
typedef void (*link_opened_cb)(struct link *link, const struct error *err, void *arg);

/* Never NULL; errors come by the callback. link_free() at any time cancels. */
struct link *link_open(struct loop *loop, const struct link_options *options, link_opened_cb cb,
		       void *arg);

/*
 * Sends a request (the params' reference is taken, `method` outlives the call) and calls back with
 * its result (borrowed) or the error, never before this has returned. One call at a time. timeout_ms is for the answer; the request itself
 * has 5 s. A token, if the pod has one, is added here. Answers may be RPC_ANSWER_MAX long.
 */
typedef void (*link_answer_cb)(struct link *link, json_t *result, const struct error *err,
			       void *arg);
void link_call(struct link *link, const char *method, json_t *params, int timeout_ms,
	       link_answer_cb cb, void *arg);

/*
 * From the callback of link_call(): hands over the params (an object, borrowed) of each notification of `method` that follows
 * (none after pod.hosts), five a second at most, until the link ends, which is an error (REASON_UNREACHABLE, or REASON_INTERNAL if it is no dialer's); then, or to have no more of them, link_free() it. The
 * callback comes from the loop, and may do that. `method` outlives the link.
 */
typedef void (*link_notified_cb)(struct link *link, json_t *params, const struct error *err,
				 void *arg);
void link_notify(struct link *link, const char *method, link_notified_cb cb, void *arg);

/*
 * From the callback of link_call() for pod.portAccept: calls back once, from the loop, with the client that the link was parked for; then link_take_fd()
 * gives its stream. Or with an error: REASON_UNREACHABLE if the link ended. For netns: and pid: the stream is the client's own
 * socket, raw, or link_take_datagrams() has its datagrams (and link_take_fd() gives -1); after these and link_take_listener() the
 * link may be called for the next one.
 */
struct link_accepted {
	struct port_accepted told;
	enum framing framing;
};
typedef void (*link_accepted_cb)(struct link *link, const struct link_accepted *accepted,
				 const struct error *err, void *arg);
void link_accept(struct link *link, link_accepted_cb cb, void *arg);

/*
 * Bytes for the stream that are there before it is: what the client has sent when a request in records goes
 * out (EARLY_MAX at most) goes with it, as its first DATA record, and saves a round trip. Not for netns: and pid:.
 */
#define EARLY_MAX (16u * 1024)
struct link_early {
	int fd; /* the client, a socket; borrowed */
	/* How many have gone out. They are taken from the client with a result only: else they are still there. */
	uint32_t sent;
};

/*
 * The same for pod.portDial, but for the token. `dial` (with its texts) and `early` (or NULL) are
 * borrowed until the callback, and so is `dialed` by that.
 */
typedef void (*link_port_dialed_cb)(struct link *link, const struct port_dialed *dialed,
				    const struct error *err, void *arg);
void link_port_dial(struct link *link, const struct port_dial *dial, struct link_early *early,
		    int timeout_ms, link_port_dialed_cb cb, void *arg);

/*
 * After pod.portDial succeeded, or from link_accept()'s callback: gives the descriptor away (non-blocking) and forgets it; nothing
 * past the answer's line was read. For exec:, *child is its process group, to be ended
 * with the stream by child_end() (else 0). For netns: and pid: it is the TCP socket itself.
 * *watch is its registration, or NULL, which the caller moves or stops before link_free(). That still
 * has to be called.
 */
int link_take_fd(struct link *link, pid_t *child, struct watch **watch);

/* Its datagrams, given away, if it is a UDP client of netns: or pid:. Of others: NULL. */
struct datagrams_client *link_take_datagrams(struct link *link);

/* Of a client's own socket: what is to be kept for as long as it is in use, until local_release(). Of others: NULL. */
struct accept_listener *link_take_listener(struct link *link);

/* Closes what is there and ends an exec: child. */
void link_free(struct link *link);

/* True for netns: and pid: endpoints: what is taken is the target's own socket, always raw. */
bool link_is_local(const struct endpoint *ep);

/*
 * link_open() and pod.portDial in one: calls back once with a connected descriptor, which the
 * callback takes over (and child with it), or the error; the dialing is gone then. `dial` is
 * copied as far as needed. A framing other than the one asked for is an error, but for local
 * endpoints, which are raw.
 */
struct link_dialed {
	int fd;
	pid_t child;
	struct watch *watch; /* fd's, for a relay to take over in the callback; NULL: none */
	/* Borrowed; framing tells what fd speaks: raw udp is the target's own socket. */
	const struct port_dialed *result;
};
typedef void (*link_dialed_cb)(const struct link_dialed *dialed, const struct error *err,
			       void *arg);
struct dialing;
struct dialing *link_dial(struct loop *loop, const struct link_options *options,
			  const struct port_dial *dial, link_dialed_cb cb, void *arg);
void link_dial_cancel(struct dialing *dialing);

#endif
