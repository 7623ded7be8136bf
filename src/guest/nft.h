/* SPDX-License-Identifier: MIT */
/*
 * nf_tables over netlink, without libnftnl: batches of messages, each a transaction, with the few
 * expressions that are needed here. A family is AF_INET or AF_INET6.
 */
#ifndef VZFWD_NFT_H
#define VZFWD_NFT_H

#include <sys/socket.h>

#include "error.h"

struct nft {
	int fd;       /* NETLINK_NETFILTER: what owns tables */
	uint32_t seq; /* of the last message */
	uint8_t *buf; /* the batch */
	size_t size, room;
	size_t message, list; /* where the open message and its list of expressions begin */
};

/* REASON_UNSUPPORTED: this kernel has no nfnetlink. nft_close() in every case. */
int nft_open(struct nft *nft, struct error *err);
void nft_close(struct nft *nft);

/*
 * Whether there is a table of that name: 1 and in *owner the netlink port of the socket that owns it, 0 for
 * none; 0 if there is no table; or -errno.
 */
int nft_table_find(struct nft *nft, int family, const char *name, uint32_t *owner);

/* A batch is made of these, and nothing happens before nft_commit(). */
void nft_begin(struct nft *nft);
/*
 * `owned`: it goes with the socket, whatever ends the process. Before Linux 5.12: -EOPNOTSUPP or -EINVAL.
 */
void nft_table_new(struct nft *nft, int family, const char *table, bool owned);
void nft_table_delete(struct nft *nft, int family, const char *table);
/* A base chain that changes sources, behind routing. */
void nft_chain_source_nat(struct nft *nft, int family, const char *table, const char *chain);
void nft_chain_flush(struct nft *nft, int family, const char *table, const char *chain);

/* A rule at the chain's end: what it asks for, in order, and last what is done. */
void nft_rule_begin(struct nft *nft, int family, const char *table, const char *chain);
void nft_rule_out_is(struct nft *nft, const char *interface);
void nft_rule_in_is_not(struct nft *nft,
			const char *interface); /* nor is it made in here: Linux 5.7 */
/* `network`: of 4 or 16 bytes, by the family of the rule. */
void nft_rule_source_in(struct nft *nft, int family, const void *network, unsigned prefix);
void nft_rule_masquerade(struct nft *nft);
void nft_rule_end(struct nft *nft);

/*
 * All of it or nothing. A negative number with *err, whose sys_errno is what the kernel said:
 * REASON_UNSUPPORTED for what it doesn't have, REASON_DENIED without CAP_NET_ADMIN.
 */
int nft_commit(struct nft *nft, struct error *err);

#endif
