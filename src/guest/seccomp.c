/* SPDX-License-Identifier: MIT */
/*
 * A seccomp filter by hand. What it denies, and why:
 *
 * socket, socketpair  all families but Unix, IPv4, IPv6 and netlink: EAFNOSUPPORT. AF_VSOCK knows no
 *                     netns, and neither do others that few kernels have (AF_QIPCRTR); AF_PACKET goes
 *                     round firewalls, and so does its old name, SOCK_PACKET of AF_INET.
 * io_uring_*          ENOSYS: it makes sockets where no filter looks (IORING_OP_SOCKET).
 * unshare, clone      EPERM with CLONE_NEWUSER or CLONE_NEWNET: root in a user namespace of one's own
 *                     has every capability over the netns that are made in it.
 * clone3              ENOSYS: its flags are behind a pointer. Every libc falls back to clone.
 * setns               EPERM.
 * ioctl               EPERM for TIOCSTI and TIOCLINUX: they type into the terminal of who started us.
 *
 * Another ABI of the same kernel (i386, x32, 32-bit ARM) has other numbers for all of these, and
 * socketcall, whose arguments are behind a pointer: it has no system calls at all here, ENOSYS.
 *
 * Of arguments that the kernel takes as an int only the lower half is looked at, as it does, and of
 * flags too, where all of these bits are.
 */
#include "config.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "seccomp.h"

#if defined(__x86_64__) && !defined(__ILP32__)
#define ARCH AUDIT_ARCH_X86_64
#define FIRST_OF_X32 0x40000000
#elif defined(__aarch64__) && !defined(__ILP32__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef ARCH

/* Newer than some headers. They have these numbers everywhere. */
#define NR_IO_URING_SETUP 425
#define NR_IO_URING_REGISTER 427 /* and enter between them */
#define NR_CLONE3 435

#define TYPE_MASK 0xf /* a socket's type without its flags */

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
/* The lower half, of a little-endian number. */
#define LOAD_ARGUMENT(n) LOAD(args[n])
/* What follows is jumped over, so many instructions, if the test fails. */
#define IF(test, value, else_skip) BPF_JUMP(BPF_JMP | (test) | BPF_K, value, 0, else_skip)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define DENY(number) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (number))

static const struct sock_filter instructions[] = {
	LOAD(arch),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
	DENY(ENOSYS),
	LOAD(nr),
#ifdef FIRST_OF_X32
	IF(BPF_JGE, FIRST_OF_X32, 1),
	DENY(ENOSYS),
#endif
	IF(BPF_JGE, NR_IO_URING_SETUP, 2),
	BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, NR_IO_URING_REGISTER, 1, 0),
	DENY(ENOSYS),
	IF(BPF_JEQ, NR_CLONE3, 1),
	DENY(ENOSYS),
	IF(BPF_JEQ, SYS_setns, 1),
	DENY(EPERM),

	/* Either of two calls, else past the block. */
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 1, 0),
	IF(BPF_JEQ, SYS_clone, 4),
	LOAD_ARGUMENT(0),
	IF(BPF_JSET, CLONE_NEWUSER | CLONE_NEWNET, 1),
	DENY(EPERM),
	ALLOW,

	IF(BPF_JEQ, SYS_ioctl, 5),
	LOAD_ARGUMENT(1),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 1, 0),
	IF(BPF_JEQ, TIOCLINUX, 1),
	DENY(EPERM),
	ALLOW,

	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 2, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socketpair, 1, 0),
	ALLOW,
	LOAD_ARGUMENT(1),
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TYPE_MASK),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SOCK_PACKET, 5, 0),
	LOAD_ARGUMENT(0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 4, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 3, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 2, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 1, 0),
	DENY(EAFNOSUPPORT),
	ALLOW,
};

int seccomp_confine(struct error *err)
{
	struct sock_fprog program = {
		.len = (unsigned short)ARRAY_SIZE(instructions),
		.filter = (struct sock_filter *)instructions,
	};

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
		return error_set(err, errno == EINVAL ? REASON_UNSUPPORTED : REASON_DENIED, errno,
				 "cannot filter system calls: %s", errno_text(errno));
	return 0;
}

#else

int seccomp_confine(struct error *err)
{
	return error_set(err, REASON_UNSUPPORTED, ENOSYS,
			 "system calls are filtered on x86_64 and aarch64 only");
}

#endif
