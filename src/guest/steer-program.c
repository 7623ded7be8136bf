/* SPDX-License-Identifier: MIT */
/*
 * The program, instruction by instruction. The kernel runs it before it looks for the socket of a new
 * connection, or of a datagram that no connected socket is for. In C it would be:
 *
 *	int steer(struct bpf_sk_lookup *ctx)
 *	{
 *		which = protocol and family of ctx, as enum steer_socket
 *		if (no such socket)
 *			return SK_PASS;
 *		if (ctx->local_port == 0)
 *			return SK_DROP;
 *		if (passed(local address of ctx) || !passed(remote address of ctx))
 *			return SK_PASS;
 *		sk = bpf_map_lookup_elem(sockets, &which);
 *		if (sk == NULL)
 *			return SK_DROP;
 *		failed = bpf_sk_assign(ctx, sk, 0);
 *		bpf_sk_release(sk);
 *		return failed ? SK_DROP : SK_PASS;
 *	}
 *
 * Local is where it goes to, remote where it comes from. IPv4 addresses are looked up as IPv4-mapped
 * ones. What comes from an address that the netns does not hold are our own answers
 * (steer_udp_replies()), which must not come back to us, and what a neighbour on a network card would
 * like to slip in.
 */
#include "config.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

#include "steer-program.h"

#define PROGRAM_NAME "vzfwd_egress" /* what others know it by: 15 bytes at most */
#define PASSED_MAX 512
#define PROGRAMS_MAX 64 /* the kernel's own limit for one netns */

static int bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

/* The assembler: instructions are appended; a jump goes forward, to where it lands. */
struct code {
	struct bpf_insn insns[128];
	size_t count;
};

static size_t put(struct code *code, struct bpf_insn insn)
{
	assert(code->count < ARRAY_SIZE(code->insns));
	code->insns[code->count] = insn;
	return code->count++;
}

/* (u32) dst = *(src + offset) */
static void load(struct code *code, int dst, int src, size_t offset)
{
	put(code, (struct bpf_insn){ .code = BPF_LDX | BPF_W | BPF_MEM,
				     .dst_reg = (uint8_t)dst & 15,
				     .src_reg = (uint8_t)src & 15,
				     .off = (int16_t)offset });
}

/* *(u32 *)(stack + offset) = src; the stack goes down from 0. */
static void store(struct code *code, int offset, int src)
{
	put(code, (struct bpf_insn){ .code = BPF_STX | BPF_W | BPF_MEM,
				     .dst_reg = BPF_REG_10,
				     .src_reg = (uint8_t)src & 15,
				     .off = (int16_t)offset });
}

/* dst OP= n, as BPF_MOV, BPF_ADD, BPF_RSH */
static void compute(struct code *code, int operation, int dst, int32_t n)
{
	put(code, (struct bpf_insn){ .code = (uint8_t)(BPF_ALU64 | operation | BPF_K),
				     .dst_reg = (uint8_t)dst & 15,
				     .imm = n });
}

static void move(struct code *code, int dst, int src)
{
	put(code, (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_X,
				     .dst_reg = (uint8_t)dst & 15,
				     .src_reg = (uint8_t)src & 15 });
}

/* The network's byte order to ours, 32 bits. */
static void swap(struct code *code, int dst)
{
	put(code, (struct bpf_insn){ .code = BPF_ALU | BPF_END | BPF_TO_BE,
				     .dst_reg = (uint8_t)dst & 15,
				     .imm = 32 });
}

static void load_map(struct code *code, int dst, int map)
{
	put(code, (struct bpf_insn){ .code = BPF_LD | BPF_DW | BPF_IMM,
				     .dst_reg = (uint8_t)dst & 15,
				     .src_reg = BPF_PSEUDO_MAP_FD,
				     .imm = map });
	put(code, (struct bpf_insn){ 0 });
}

static void call(struct code *code, enum bpf_func_id function)
{
	put(code, (struct bpf_insn){ .code = BPF_JMP | BPF_CALL, .imm = function });
}

static void leave(struct code *code, enum sk_action action)
{
	compute(code, BPF_MOV, BPF_REG_0, action);
	put(code, (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT });
}

/* Jumps if src OP n, as BPF_JEQ, BPF_JNE; BPF_JA always. What comes back is for land(). */
static size_t jump(struct code *code, int operation, int src, int32_t n)
{
	return put(code, (struct bpf_insn){ .code = (uint8_t)(BPF_JMP | operation | BPF_K),
					    .dst_reg = (uint8_t)src & 15,
					    .imm = n });
}

static void land(struct code *code, size_t jump)
{
	code->insns[jump].off = (int16_t)(code->count - jump - 1);
}

/* What is kept in registers that calls leave alone. */
#define CONTEXT BPF_REG_6
#define WHICH BPF_REG_7
#define SOCKET BPF_REG_8

#define FIELD(name) offsetof(struct bpf_sk_lookup, name)

/* r0 = map[the key on the stack], NULL if it has none */
static void look_up(struct code *code, int map, int key)
{
	load_map(code, BPF_REG_1, map);
	move(code, BPF_REG_2, BPF_REG_10);
	compute(code, BPF_ADD, BPF_REG_2, key);
	call(code, BPF_FUNC_map_lookup_elem);
}

/* r0 = whether the address in these fields of the context is let pass */
static void put_passed(struct code *code, int map, size_t ip4, size_t ip6)
{
	const int key = -16;
	size_t is_ip6, is_loopback, ready;

	load(code, BPF_REG_2, CONTEXT, FIELD(family));
	is_ip6 = jump(code, BPF_JEQ, BPF_REG_2, AF_INET6);
	load(code, BPF_REG_2, CONTEXT, ip4);
	store(code, key + 12, BPF_REG_2);
	swap(code, BPF_REG_2);
	compute(code, BPF_RSH, BPF_REG_2, 24);
	compute(code, BPF_MOV, BPF_REG_0, 1);
	is_loopback = jump(code, BPF_JEQ, BPF_REG_2, IN_LOOPBACKNET);
	compute(code, BPF_MOV, BPF_REG_2, 0);
	store(code, key, BPF_REG_2);
	store(code, key + 4, BPF_REG_2);
	compute(code, BPF_MOV, BPF_REG_2, (int32_t)htonl(0xffff));
	store(code, key + 8, BPF_REG_2);
	ready = jump(code, BPF_JA, 0, 0);
	land(code, is_ip6);
	for (int i = 0; i < 16; i += 4) {
		load(code, BPF_REG_2, CONTEXT, ip6 + (size_t)i);
		store(code, key + i, BPF_REG_2);
	}
	land(code, ready);
	look_up(code, map, key);
	land(code, is_loopback);
}

/* WHICH = the socket for it; leaves if there is none */
static void put_which(struct code *code, const int sockets[STEER_SOCKETS])
{
	static const struct {
		int protocol, family;
	} kinds[] = {
		[STEER_TCP4] = { IPPROTO_TCP, AF_INET },
		[STEER_TCP6] = { IPPROTO_TCP, AF_INET6 },
		[STEER_UDP4] = { IPPROTO_UDP, AF_INET },
		[STEER_UDP6] = { IPPROTO_UDP, AF_INET6 },
	};
	static_assert(ARRAY_SIZE(kinds) == STEER_SOCKETS, "a kind for each");
	size_t found[STEER_SOCKETS], count = 0;

	load(code, BPF_REG_2, CONTEXT, FIELD(protocol));
	load(code, BPF_REG_3, CONTEXT, FIELD(family));
	for (int i = 0; i < STEER_SOCKETS; i++) {
		size_t other[2];

		if (sockets[i] < 0)
			continue;
		other[0] = jump(code, BPF_JNE, BPF_REG_2, kinds[i].protocol);
		other[1] = jump(code, BPF_JNE, BPF_REG_3, kinds[i].family);
		compute(code, BPF_MOV, WHICH, i);
		found[count++] = jump(code, BPF_JA, 0, 0);
		land(code, other[0]);
		land(code, other[1]);
	}
	leave(code, SK_PASS);
	while (count > 0)
		land(code, found[--count]);
}

static void put_program(struct code *code, const struct steer_program *maps,
			const int sockets[STEER_SOCKETS])
{
	const int key = -4;
	size_t has_port, to_passed, from_passed, found, assigned;

	move(code, CONTEXT, BPF_REG_1);
	put_which(code, sockets);
	load(code, BPF_REG_2, CONTEXT, FIELD(local_port));
	has_port = jump(code, BPF_JNE, BPF_REG_2, 0);
	leave(code, SK_DROP);
	land(code, has_port);
	put_passed(code, maps->passed, FIELD(local_ip4), FIELD(local_ip6));
	to_passed = jump(code, BPF_JNE, BPF_REG_0, 0);
	put_passed(code, maps->passed, FIELD(remote_ip4), FIELD(remote_ip6));
	from_passed = jump(code, BPF_JNE, BPF_REG_0, 0);
	land(code, to_passed);
	leave(code, SK_PASS);
	land(code, from_passed);
	store(code, key, WHICH);
	look_up(code, maps->sockets, key);
	found = jump(code, BPF_JNE, BPF_REG_0, 0);
	leave(code, SK_DROP);
	land(code, found);
	move(code, SOCKET, BPF_REG_0);
	move(code, BPF_REG_1, CONTEXT);
	move(code, BPF_REG_2, SOCKET);
	compute(code, BPF_MOV, BPF_REG_3, 0);
	call(code, BPF_FUNC_sk_assign);
	move(code, WHICH, BPF_REG_0);
	move(code, BPF_REG_1, SOCKET);
	call(code, BPF_FUNC_sk_release);
	assigned = jump(code, BPF_JEQ, WHICH, 0);
	leave(code, SK_DROP);
	land(code, assigned);
	leave(code, SK_PASS);
}

/* Its memory comes now: what is taken later, in an update, may be refused for the moment. */
static int map_new(enum bpf_map_type type, uint32_t key, uint32_t entries)
{
	union bpf_attr attr = { .map_type = type,
				.key_size = key,
				.value_size = sizeof(uint32_t),
				.max_entries = entries };

	return bpf(BPF_MAP_CREATE, &attr);
}

static int map_set(int map, const void *key, uint32_t value)
{
	union bpf_attr attr = { .map_fd = (uint32_t)map,
				.key = (uintptr_t)key,
				.value = (uintptr_t)&value };

	return bpf(BPF_MAP_UPDATE_ELEM, &attr) < 0 ? -errno : 0;
}

static int program_load(const struct code *code)
{
	static const char license[] = "MIT"; /* no helper asks for the GPL */
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_SK_LOOKUP,
				.expected_attach_type = BPF_SK_LOOKUP,
				.insns = (uintptr_t)code->insns,
				.insn_cnt = (uint32_t)code->count,
				.license = (uintptr_t)license,
				.prog_name = PROGRAM_NAME };

	return bpf(BPF_PROG_LOAD, &attr);
}

static int program_error(struct error *err, int sys_errno)
{
	switch (sys_errno) {
	case EPERM:
	case EACCES:
		return error_set(err, REASON_DENIED, sys_errno,
				 "cannot steer what leaves the pod: it takes CAP_NET_ADMIN and "
				 "CAP_BPF outside of user namespaces");
	case ENOSYS:
	case EINVAL: /* an unknown type of map or program */
		return error_set(err, REASON_UNSUPPORTED, sys_errno,
				 "cannot steer what leaves the pod: this kernel has no sk_lookup "
				 "programs (Linux 5.9 with CONFIG_BPF_SYSCALL)");
	}
	netns_error(err, sys_errno, "bpf");
	return error_prefix(err, "cannot steer what leaves the pod");
}

int steer_program_load(struct steer_program *program, const int sockets[STEER_SOCKETS],
		       struct error *err)
{
	struct code code = { .count = 0 };
	int rc = 0;

	program->passed = map_new(BPF_MAP_TYPE_HASH, sizeof(struct in6_addr), PASSED_MAX);
	if (program->passed < 0)
		return program_error(err, errno);
	program->sockets = map_new(BPF_MAP_TYPE_SOCKMAP, sizeof(uint32_t), STEER_SOCKETS);
	if (program->sockets < 0)
		return program_error(err, errno);
	put_program(&code, program, sockets);
	program->program = program_load(&code);
	if (program->program < 0)
		return program_error(err, errno);
	for (uint32_t i = 0; i < STEER_SOCKETS && rc == 0; i++) {
		if (sockets[i] >= 0)
			rc = map_set(program->sockets, &i, (uint32_t)sockets[i]);
	}
	return rc < 0 ? program_error(err, -rc) : 0;
}

int steer_program_pass(const struct steer_program *program, const struct address *addr, bool pass)
{
	struct in6_addr key = { .s6_addr = { [10] = 0xff, [11] = 0xff } };
	union bpf_attr attr = { .map_fd = (uint32_t)program->passed, .key = (uintptr_t)&key };

	if (addr->family == AF_INET)
		memcpy(&key.s6_addr[12], &addr->v4, sizeof(addr->v4));
	else
		key = addr->v6;
	if (pass)
		return map_set(program->passed, &key, 1);
	return bpf(BPF_MAP_DELETE_ELEM, &attr) < 0 && errno != ENOENT ? -errno : 0;
}

/* The program of this descriptor: its number, and whether it has our name. */
static bool program_info(int fd, uint32_t *id)
{
	struct bpf_prog_info info = { 0 };
	union bpf_attr attr = { .info = { .bpf_fd = (uint32_t)fd,
					  .info_len = sizeof(info),
					  .info = (uintptr_t)&info } };

	if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) < 0)
		return false;
	*id = info.id;
	return strcmp(info.name, PROGRAM_NAME) == 0;
}

static bool id_is_ours(uint32_t id)
{
	union bpf_attr attr = { .prog_id = id };
	_cleanup_close_ int fd = bpf(BPF_PROG_GET_FD_BY_ID, &attr);

	return fd >= 0 && program_info(fd, &id);
}

/*
 * True if it is the first one with our name in its netns, which tells them in the order in which they
 * came. So of two that start at once it is one that stays.
 */
static bool program_is_first(const struct steer_program *program, int netns)
{
	uint32_t ids[PROGRAMS_MAX] = { 0 }, mine = 0;
	union bpf_attr attr = { .query = { .target_fd = (uint32_t)netns,
					   .attach_type = BPF_SK_LOOKUP,
					   .prog_ids = (uintptr_t)ids,
					   .prog_cnt = PROGRAMS_MAX } };

	if (bpf(BPF_PROG_QUERY, &attr) < 0 || !program_info(program->program, &mine))
		return true;
	for (size_t i = 0; i < PROGRAMS_MAX && i < attr.query.prog_cnt; i++) {
		if (ids[i] == mine)
			return true;
		if (id_is_ours(ids[i]))
			return false;
	}
	return true;
}

int steer_program_attach(struct steer_program *program, struct netns *ns, struct error *err)
{
	_cleanup_close_ int netns = netns_open_fd(ns, err);
	union bpf_attr attr = { .link_create = { .prog_fd = (uint32_t)program->program,
						 .target_fd = (uint32_t)netns,
						 .attach_type = BPF_SK_LOOKUP } };

	if (netns < 0)
		return netns;
	program->link = bpf(BPF_LINK_CREATE, &attr);
	if (program->link < 0)
		return program_error(err, errno);
	if (program_is_first(program, netns))
		return 0;
	close(steal_fd(&program->link));
	return error_set(err, REASON_EXHAUSTED, EEXIST,
			 "what leaves the pod is steered already, by this or another vzfwd-guest");
}

void steer_program_close(struct steer_program *program)
{
	int *fds[] = { &program->link, &program->program, &program->sockets, &program->passed };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(steal_fd(fds[i]));
	}
}
