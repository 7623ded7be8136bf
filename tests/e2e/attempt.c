/* SPDX-License-Identifier: MIT */
/*
 * attempt NAME: tries one way out of a sandbox and prints what came of it: "ok", or the errno's name. For
 * guest-exec.sh. Sockets are made, and never connected.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <netinet/in.h>

#include "lib/error.h"

#define NR_IO_URING_SETUP 425
#define NR_CLONE3 435
#define IO_URING_PARAMS_SIZE 120

static long try_vsock(void)
{
	return socket(AF_VSOCK, SOCK_STREAM, 0);
}

static long try_vsock_datagram(void)
{
	return socket(AF_VSOCK, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static long try_vsock_pair(void)
{
	int sv[2];

	return socketpair(AF_VSOCK, SOCK_STREAM, 0, sv);
}

/* The kernel takes an int: what stands above is no matter to it. */
static long try_vsock_high_bits(void)
{
	return syscall(SYS_socket, 1L << 32 | AF_VSOCK, (long)SOCK_STREAM, 0L);
}

static long try_packet(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0);
}

static long try_packet_by_type(void)
{
	return socket(AF_INET, SOCK_PACKET, 0);
}

static long try_raw(void)
{
	return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static long try_raw6(void)
{
	return socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
}

static long try_tcp(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static long try_udp6(void)
{
	return socket(AF_INET6, SOCK_DGRAM, 0);
}

static long try_unix_pair(void)
{
	int sv[2];

	return socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
}

static long try_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0);
}

static long try_io_uring(void)
{
	char params[IO_URING_PARAMS_SIZE] = { 0 };

	return syscall(NR_IO_URING_SETUP, 1L, params);
}

static long try_unshare_net(void)
{
	return unshare(CLONE_NEWNET);
}

static long try_unshare_user(void)
{
	return unshare(CLONE_NEWUSER);
}

static long try_unshare_both(void)
{
	return unshare(CLONE_NEWUSER | CLONE_NEWNET);
}

/* A child, whose end is waited for. */
static long by_clone(unsigned long flags)
{
	long pid = syscall(SYS_clone, flags | SIGCHLD, 0L, 0L, 0L, 0L);

	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid((pid_t)pid, NULL, 0);
	return pid;
}

static long try_clone_user(void)
{
	return by_clone(CLONE_NEWUSER);
}

static long try_clone(void)
{
	return by_clone(0);
}

static long try_clone3(void)
{
	return syscall(NR_CLONE3, NULL, 0L);
}

static long setns_by(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? fd : setns(fd, 0);
}

static long try_setns_init(void)
{
	return setns_by("/proc/1/ns/net");
}

static long try_setns_self(void)
{
	return setns_by("/proc/self/ns/net");
}

/* EBADF where it is not denied. */
static long try_setns_nothing(void)
{
	return setns(-1, 0);
}

static long try_capset(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{ .effective = 1u << CAP_NET_ADMIN, .permitted = 1u << CAP_NET_ADMIN }
	};

	return syscall(SYS_capset, &header, data);
}

static long try_mount(void)
{
	return mount("none", "/mnt", "tmpfs", 0, NULL);
}

static long try_unmount(void)
{
	return umount2("/etc/resolv.conf", MNT_DETACH);
}

static long try_tiocsti(void)
{
	return ioctl(0, TIOCSTI, "x");
}

static long try_tiocsti_high_bits(void)
{
	return syscall(SYS_ioctl, 0L, 1L << 32 | TIOCSTI, "x");
}

static long try_terminal(void)
{
	int bytes;

	return ioctl(0, FIONREAD, &bytes);
}

static long try_setuid(void)
{
	return setuid(0);
}

/* Whether it is root, as a setuid file would make it. */
static long try_be_root(void)
{
	errno = EPERM;
	return geteuid() == 0 ? 0 : -1;
}

#ifdef __x86_64__

/* 32-bit calls, from a 64-bit program. */
static long int80(long number, long a, long b, long c)
{
	long rc;

	__asm__ volatile("int $0x80"
			 : "=a"(rc)
			 : "a"(number), "b"(a), "c"(b), "d"(c)
			 : "memory", "r8", "r9", "r10", "r11");
	if (rc < 0 && rc > -4096) {
		errno = (int)-rc;
		return -1;
	}
	return rc;
}

static long try_i386_socket(void)
{
	return int80(359, AF_VSOCK, SOCK_STREAM, 0);
}

/* The arguments have to be below 4 GiB, and are not: EFAULT where it is not denied. */
static long try_i386_socketcall(void)
{
	return int80(102, 1, 0, 0);
}

static long try_i386_getpid(void)
{
	return int80(20, 0, 0, 0);
}

static long try_x32_socket(void)
{
	return syscall(0x40000000L | SYS_socket, (long)AF_VSOCK, (long)SOCK_STREAM, 0L);
}

#endif

static const struct {
	const char *name;
	long (*run)(void);
} attempts[] = {
#define ATTEMPT(NAME)             \
	{                         \
#NAME, try_##NAME \
	}
	ATTEMPT(vsock),
	ATTEMPT(vsock_datagram),
	ATTEMPT(vsock_pair),
	ATTEMPT(vsock_high_bits),
	ATTEMPT(packet),
	ATTEMPT(packet_by_type),
	ATTEMPT(raw),
	ATTEMPT(raw6),
	ATTEMPT(tcp),
	ATTEMPT(udp6),
	ATTEMPT(unix_pair),
	ATTEMPT(netlink),
	ATTEMPT(io_uring),
	ATTEMPT(unshare_net),
	ATTEMPT(unshare_user),
	ATTEMPT(unshare_both),
	ATTEMPT(clone_user),
	ATTEMPT(clone),
	ATTEMPT(clone3),
	ATTEMPT(setns_init),
	ATTEMPT(setns_self),
	ATTEMPT(setns_nothing),
	ATTEMPT(capset),
	ATTEMPT(mount),
	ATTEMPT(unmount),
	ATTEMPT(tiocsti),
	ATTEMPT(tiocsti_high_bits),
	ATTEMPT(terminal),
	ATTEMPT(setuid),
	ATTEMPT(be_root),
#ifdef __x86_64__
	ATTEMPT(i386_socket),
	ATTEMPT(i386_socketcall),
	ATTEMPT(i386_getpid),
	ATTEMPT(x32_socket),
#endif
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(attempts); i++) {
		const char *name;

		if (strcmp(attempts[i].name, argv[1]) != 0)
			continue;
		if (attempts[i].run() >= 0) {
			puts("ok");
			return 0;
		}
		name = errno_name(errno);
		printf("%s\n", name != NULL ? name : strerror(errno));
		return 0;
	}
	puts("no such attempt here");
	return 1;
}
