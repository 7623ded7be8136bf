/* SPDX-License-Identifier: MIT */
/*
 * Names in pods' hosts files that stay for as long as somebody wants them: pod.hosts. They belong to a loop, so that
 * links whose dialers are not the same (netns: and pid: have one each) know of each other's.
 */
#ifndef VZFWD_HOSTS_BLOCK_H
#define VZFWD_HOSTS_BLOCK_H

#include "lib/loop.h"
#include "lib/rpc-hosts.h"
#include "accept.h"
#include "policy.h"

struct hosts_block;

/*
 * Writes the request's lines into the file that its path means in the pod's root folder. Takes `ns` over in every case. Of
 * blocks that have their file and tag in common the newest is in the file, and the one before it again when that goes.
 * REASON_DENIED: the policy, a link as the last part of the path, or a file that is not ours to write to; REASON_EXHAUSTED: too many; REASON_NOT_FOUND:
 * no such folder.
 */
int hosts_block_new(struct loop *loop, const struct accept_pod *pod, struct netns *ns,
		    const struct policy *policy, const struct hosts_request *request,
		    struct hosts_block **out, struct error *err);

/* Calls back once, from the loop, when the pod is gone, or another one; it may free the block. */
void hosts_block_listen(struct hosts_block *block, void (*gone)(void *arg), void *arg);

/* Takes it out of the file. NULL is harmless. */
void hosts_block_free(struct hosts_block *block);

#endif
