/* SPDX-License-Identifier: MIT */
/*
 * Connects to where a dialer is reached: vsock, a VMM's hybrid vsock socket, a Unix
 * socket, a command's stdin and stdout, an inherited socket.
 */
#ifndef VZFWD_TRANSPORT_H
#define VZFWD_TRANSPORT_H

#include "endpoint.h"
#include "loop.h"

#define CONNECT_TIMEOUT_MS 5000

struct transport;

/* err NULL: fd is connected and given away; child is exec:'s process group, else 0. */
typedef void (*transport_cb)(int fd, pid_t child, const struct error *err, void *arg);

/*
 * The endpoint (not netns: or pid:) is borrowed until the callback, which comes once, after which the
 * transport is gone. It comes from the loop; but what is connected at once is told at once, and NULL returned. REASON_UNREACHABLE, REASON_TIMEOUT,
 * REASON_DENIED, REASON_EXHAUSTED, REASON_UNSUPPORTED (no vsock on this system),
 * REASON_INVALID (fd:N is no stream socket), REASON_INTERNAL (the VMM's answer is none).
 */
struct transport *transport_open(struct loop *loop, const struct endpoint *ep, transport_cb cb,
				 void *arg);
void transport_cancel(struct transport *transport);

/*
 * What connect(2)'s errno means, in words and a reason. AF_VSOCK: ECONNRESET is nobody listening
 * (VM.md: a full backlog too), ENODEV no VM with that CID.
 */
int transport_connect_error(const struct endpoint *ep, int sys_errno, struct error *err);

#endif
