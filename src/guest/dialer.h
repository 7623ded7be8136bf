/* SPDX-License-Identifier: MIT */
/*
 * The dialer: answers requests (guest.info, pod.ports, pod.portDial, pod.portAccept, pod.hosts) by
 * entering pods' netns. It knows nothing of links: vzfwd-guest's handshake.c and the
 * host's netns: and pid: endpoints both call it.
 */
#ifndef VZFWD_DIALER_H
#define VZFWD_DIALER_H

#include "loop.h"
#include "netns.h"
#include "policy.h"
#include "rpc.h"

struct dialer;

struct dialer_config {
	struct netns_source *source; /* borrowed: where handles and container IDs lead */
	const struct policy *policy; /* borrowed */
	const char *token;           /* borrowed; NULL: none is asked for */
	bool allow_expose, allow_egress;
	bool one_link; /* it has no more than one, so nobody else could be parked at its listeners */
};

struct dialer *dialer_new(struct loop *loop, const struct dialer_config *config);
void dialer_free(struct dialer *dialer);

/*
 * The first check of every call: 0 if no token is asked for or the right one is there, else REASON_DENIED.
 * For limits of the caller's own that must not be told to strangers.
 */
int dialer_authorize(const struct dialer *dialer, const char *method,
		     const struct rpc_params *params, struct error *err);

/*
 * The answer to a request: err NULL and a borrowed result, or the error. For pod.portDial
 * the result is `dialed`, and fd is the connected target (non-blocking; taken over by the callback), a UDP socket if is_udp; else
 * fd is -1.
 * With an error `answer` is NULL.
 */
struct hosts_block;
struct parked;
struct port_watch;
struct dialer_answer {
	json_t *result;
	struct port_watch
		*watch;        /* pod.ports with watch: what follows, taken over by the callback */
	struct parked *parked; /* pod.portAccept: its place, taken over by the callback */
	struct hosts_block *hosts; /* pod.hosts: what is written, taken over by the callback */
	enum framing framing;      /* what its stream will be */
	const struct port_dialed *dialed;
	uint16_t port; /* of the target; 0 for a Unix socket */
	bool is_udp;
	int fd;
};
typedef void (*dialer_cb)(const struct dialer_answer *answer, const struct error *err, void *arg);

/*
 * Starts to answer. The callback comes later or at once: then NULL is returned; else a
 * call that dialer_cancel() ends without a callback.
 */
struct dialer_call *dialer_call(struct dialer *dialer, const char *method,
				const struct rpc_params *params, dialer_cb cb, void *arg);
void dialer_cancel(struct dialer_call *call);

#endif
