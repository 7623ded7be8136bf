/* SPDX-License-Identifier: MIT */
/*
 * Endpoints without a VM (netns:, pid:): calls that the dialer's own code answers in
 * this process. The only way from the library down to src/guest/.
 */
#ifndef VZFWD_LOCAL_H
#define VZFWD_LOCAL_H

#include <jansson.h>

#include "endpoint.h"
#include "loop.h"
#include "policy.h"
#include "rpc.h"

struct local;
struct local_call;

/* NULL and *err on error: REASON_UNSUPPORTED where there are no netns. `policy` may be NULL. */
struct local *local_open(struct loop *loop, const struct endpoint *ep, const struct policy *policy,
			 struct error *err);
void local_close(struct local *local); /* NULL is harmless */

/*
 * As dialer_call(), but the callback always comes from the loop, after which the call is gone. The
 * answer is borrowed, one of its two kinds; fd (or -1) is given away.
 */
typedef void (*local_cb)(json_t *result, const struct port_dialed *dialed, int fd,
			 const struct error *err, void *arg);
struct local_call *local_call(struct local *local, const char *method, json_t *params, local_cb cb,
			      void *arg);

/*
 * After an answer that others follow (pod.ports with watch), or that holds until the end (pod.hosts): hands over the params of the notifications, borrowed, from the
 * loop; NULL once there will be no more. The callback may local_close().
 */
void local_notify(struct local *local, void (*cb)(json_t *params, void *arg), void *arg);
void local_cancel(struct local_call *call);

/*
 * After pod.portAccept: calls back from the loop with the client that was waited for: its own socket, given away (-1 for udp); told
 * NULL: the pod has gone. May be called again for the next one. The listener stays at least until local_close().
 */
struct datagrams_client;
struct port_accepted;
void local_accept(struct local *local,
		  void (*cb)(int fd, const struct port_accepted *told, void *arg), void *arg);

/* From that callback on: the client's datagrams, given away, if it is one of udp; else NULL. */
struct datagrams_client *local_take_datagrams(struct local *local);

/*
 * From that callback on: what keeps the listener too, with the addresses and routes that belong to it and that a client's
 * packets take, until local_release() by the same loop; of udp after its datagrams were released. NULL there is harmless.
 */
struct accept_listener *local_take_listener(struct local *local);
void local_release(struct loop *loop, struct accept_listener *listener);

/* Which loopback address a UDP port of this host's without one means: ::1 if nobody is at 127.0.0.1 but at that, else 127.0.0.1. */
sa_family_t local_udp_loopback(uint16_t port);

#endif
