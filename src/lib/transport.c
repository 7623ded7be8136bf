/* SPDX-License-Identifier: MIT */
/*
 * Connecting to a dialer, a way for each kind of endpoint, all of them non-blocking and
 * with one deadline.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#ifdef HAVE_VSOCK
#include <linux/vm_sockets.h>
#endif

#include "child.h"
#include "inherit.h"
#include "line.h"
#include "sock.h"
#include "transport.h"
#include "watch.h"

/* AF_VSOCK refuses with the same errno when its backlog is full: try again for so long. */
#define VSOCK_RETRY_MS 500
#define RETRY_MS 20
#define HVSOCK_REPLY_MAX 256
#define RESERVED_PORTS 1023 /* of vsock: 1 to this one are for the privileged */
#define RESERVED_REST_MS 200

struct transport {
	struct loop *loop;
	const struct endpoint *ep;
	transport_cb cb;
	void *arg;
	int fd;
	pid_t child;
	bool starting;  /* transport_open() is on the stack */
	bool connected; /* while it was */
	bool failed;
	struct watch watch;
	struct loop_task deadline;
	struct loop_task next; /* the next try, or the callback */
	int64_t retry_until;
	struct line reply; /* hvsock */
	struct error err;
};

static void transport_try(void *arg);

int transport_connect_error(const struct endpoint *ep, int sys_errno, struct error *err)
{
	bool vsock = ep->type == ENDPOINT_VSOCK;

	switch (sys_errno) {
	case ECONNRESET:
	case ECONNREFUSED:
		if (vsock)
			return error_set(err, REASON_UNREACHABLE, sys_errno,
					 "nobody listens on vsock port %u of CID %u", ep->port,
					 ep->cid);
		return error_set(err, REASON_UNREACHABLE, sys_errno, "nobody listens on %s",
				 ep->text);
	case ENODEV:
		return error_set(err, REASON_UNREACHABLE, sys_errno,
				 "no virtual machine has CID %u", ep->cid);
	case ENOENT:
	case ENOTDIR:
		return error_set(err, REASON_UNREACHABLE, sys_errno, "%s: no such socket",
				 ep->text);
	case EAFNOSUPPORT:
		return error_set(err, REASON_UNSUPPORTED, sys_errno, "this system has no vsock");
	case ETIMEDOUT:
	case EAGAIN:
		return error_set(err, REASON_TIMEOUT, ETIMEDOUT,
				 "connecting to the dialer timed out");
	case EACCES:
	case EPERM:
		return error_set(err, REASON_DENIED, sys_errno, "%s%s%s", vsock ? "" : ep->text,
				 vsock ? "" : ": ", errno_text(sys_errno));
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return error_set(err, REASON_EXHAUSTED, sys_errno, "%s", errno_text(sys_errno));
	default:
		return error_set(err, REASON_UNREACHABLE, sys_errno, "%s", errno_text(sys_errno));
	}
}

static void transport_free(struct transport *t)
{
	watch_stop(t->loop, &t->watch);
	loop_cancel(&t->deadline);
	loop_cancel(&t->next);
	line_clear(&t->reply);
	if (t->fd >= 0)
		close(t->fd);
	child_end(t->loop, t->child);
	free(t);
}

void transport_cancel(struct transport *transport)
{
	transport_free(transport);
}

/* Calls back, with t->err if it failed, and frees. */
static void transport_tell(void *arg)
{
	struct transport *t = arg;
	bool failed = t->failed;
	int fd = failed ? -1 : steal_fd(&t->fd);
	pid_t child = failed ? 0 : t->child;
	transport_cb cb = t->cb;
	void *cb_arg = t->arg;
	struct error err;

	if (failed)
		err = t->err;
	else
		t->child = 0;
	transport_free(t);
	cb(fd, child, failed ? &err : NULL, cb_arg);
}

/* It is over: connected, or failed for t->err. */
static void transport_done(struct transport *t, bool connected)
{
	t->failed = !connected;
	if (!t->starting)
		transport_tell(t);
	else if (connected)
		t->connected = true;
	else
		loop_later(t->loop, &t->next, 0, transport_tell, t);
}

static void transport_timeout(void *arg)
{
	struct transport *t = arg;

	transport_connect_error(t->ep, ETIMEDOUT, &t->err);
	transport_done(t, false);
}

static void wait_for(struct transport *t, unsigned what, watch_cb cb)
{
	int rc;

	watch_stop(t->loop, &t->watch);
	rc = watch_start(t->loop, &t->watch, t->fd, what, cb);
	if (rc < 0) {
		error_set(&t->err, REASON_EXHAUSTED, -rc, "%s", errno_text(-rc));
		transport_done(t, false);
	}
}

/*
 * Whoever had the pod registered may not learn, by what we may and they may not, which sockets there are and
 * what is said there: one text for all.
 */
static void not_theirs(struct transport *t)
{
	error_set(&t->err, REASON_UNREACHABLE, 0, "no VMM of uid %u is reached at the pod's socket",
		  (unsigned)t->ep->uid);
}

/* Closes what failed; tries again where that helps, else it is the answer. */
static void connect_failed(struct transport *t, int sys_errno)
{
	bool again;

	/* What was still under way of an earlier connection between the same two ports: a reset that came out of turn. */
	if (t->ep->type == ENDPOINT_VSOCK && sys_errno == EPROTO)
		sys_errno = ECONNRESET;
	again = sys_errno == EAGAIN || (t->ep->type == ENDPOINT_VSOCK && sys_errno == ECONNRESET &&
					now_ms() < t->retry_until);
	watch_stop(t->loop, &t->watch);
	if (t->fd >= 0)
		close(steal_fd(&t->fd));
	if (again) {
		loop_later(t->loop, &t->next, RETRY_MS, transport_try, t);
		return;
	}
	if (t->ep->lent && t->ep->type == ENDPOINT_HVSOCK)
		not_theirs(t);
	else
		transport_connect_error(t->ep, sys_errno, &t->err);
	transport_done(t, false);
}

/* Every failure of the VMM to connect is a bare end of the connection. */
static void hvsock_closed(struct transport *t, int sys_errno)
{
	error_set(&t->err, REASON_UNREACHABLE, sys_errno,
		  "the VMM closed the connection: nobody listens on vsock port %u in the VM",
		  t->ep->port);
	transport_done(t, false);
}

/* True for "OK <u32>\n". */
static bool hvsock_accepted(const struct line *reply)
{
	char text[HVSOCK_REPLY_MAX];
	uint64_t port;

	memcpy(text, reply->text, reply->length);
	text[reply->length - 1] = '\0';
	return strlen(text) == reply->length - 1 && strncmp(text, "OK ", 3) == 0 &&
	       parse_uint(text + 3, UINT32_MAX, &port) == 0;
}

/* The reply to CONNECT, and not a byte more is read. */
static void hvsock_reply(struct watch *watch, unsigned ready)
{
	struct transport *t = container_of(watch, struct transport, watch);
	int rc = line_read(&t->reply, t->fd);
	char text[128];

	(void)ready;
	if (rc == -EAGAIN)
		return;
	if (rc == 1 && hvsock_accepted(&t->reply)) {
		transport_done(t, true);
	} else if (rc == 1 || rc == -EMSGSIZE) {
		error_set(&t->err, REASON_INTERNAL, 0,
			  "the VMM answered something else than OK: \"%s\"",
			  escape_text_n(text, sizeof(text), t->reply.text,
					t->reply.length - (rc == 1)));
		transport_done(t, false);
	} else {
		hvsock_closed(t, -rc);
	}
}

static void connected(struct transport *t)
{
	char request[32];
	uid_t uid;
	int n;

	if (t->ep->type != ENDPOINT_HVSOCK) {
		transport_done(t, true);
		return;
	}
	/* Before a word is said to it. */
	if (t->ep->lent && (sock_peer_uid(t->fd, &uid) < 0 || uid != t->ep->uid)) {
		not_theirs(t);
		transport_done(t, false);
		return;
	}
	n = snprintf(request, sizeof(request), "CONNECT %u\n", t->ep->port);
	/* In one write, as some VMMs read it in one; a fresh socket takes it. */
	if (send(t->fd, request, (size_t)n, MSG_NOSIGNAL) != n) {
		hvsock_closed(t, errno);
		return;
	}
	t->reply.max = HVSOCK_REPLY_MAX;
	wait_for(t, WATCH_READ, hvsock_reply);
}

static void connect_event(struct watch *watch, unsigned ready)
{
	struct transport *t = container_of(watch, struct transport, watch);
	int sys_errno = sock_take_error(t->fd);

	(void)ready;
	if (sys_errno != 0)
		connect_failed(t, sys_errno);
	else
		connected(t);
}

#ifdef HAVE_VSOCK
/*
 * By a reserved port of ours the guest knows that we are privileged (its --privileged-peer). Without the
 * privilege, or with all of them in use, it is a port of the kernel's choice.
 *
 * What is still under way to a connection that was closed would end the next one between the same two ports, and vsock has no
 * TIME_WAIT. So each has its turn; and one that was in use a moment ago, which where most are in use may be the only one that is
 * free now, has a rest.
 */
static void bind_reserved(int fd)
{
	static int64_t used_ms[RESERVED_PORTS]; /* when that was seen */
	static unsigned next;
	struct sockaddr_vm vm = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY };
	int64_t now = now_ms();
	struct timespec start;

	if (next == 0) {
		clock_gettime(CLOCK_MONOTONIC, &start);
		next = (unsigned)start.tv_nsec;
	}
	for (unsigned i = 0; i < RESERVED_PORTS; i++) {
		unsigned at = next++ % RESERVED_PORTS;

		if (used_ms[at] != 0 && now - used_ms[at] < RESERVED_REST_MS)
			continue;
		vm.svm_port = 1 + at;
		if (bind(fd, (struct sockaddr *)&vm, sizeof(vm)) == 0 || errno != EADDRINUSE)
			return;
		used_ms[at] = now;
	}
}
#endif

/* A socket and the address it has to be connected to; 0 or -errno. */
static int make_socket(struct transport *t, struct sockaddr_storage *ss, socklen_t *len)
{
	if (t->ep->type == ENDPOINT_VSOCK) {
#ifdef HAVE_VSOCK
		struct sockaddr_vm *vm = (struct sockaddr_vm *)ss;
		struct timeval limit = { .tv_sec = CONNECT_TIMEOUT_MS / 1000 };

		memset(vm, 0, sizeof(*vm));
		vm->svm_family = AF_VSOCK;
		vm->svm_cid = t->ep->cid;
		vm->svm_port = t->ep->port;
		*len = sizeof(*vm);
		t->fd = sock_new(AF_VSOCK, SOCK_STREAM, 0);
		if (t->fd >= 0) {
			/* the kernel's own limit is 2 s */
			setsockopt(t->fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit,
				   sizeof(limit));
			sock_tune_vsock(t->fd);
			bind_reserved(t->fd);
		}
#else
		return -EAFNOSUPPORT;
#endif
	} else {
		int rc = sock_unix_address(ss, len, t->ep->text);

		if (rc < 0)
			return rc;
		t->fd = sock_new(AF_UNIX, SOCK_STREAM, 0);
	}
	return t->fd < 0 ? t->fd : 0;
}

static void try_connect(struct transport *t)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int rc = make_socket(t, &ss, &len);

	if (rc < 0) {
		t->fd = -1;
		connect_failed(t, -rc);
	} else if (connect(t->fd, (struct sockaddr *)&ss, len) == 0) {
		connected(t);
	} else if (errno == EINPROGRESS) {
		wait_for(t, WATCH_WRITE, connect_event);
	} else {
		connect_failed(t, errno);
	}
}

static void try_inherited(struct transport *t)
{
	struct sockaddr_storage ss;
	socklen_t ss_len = sizeof(ss), type_len = sizeof(int);
	int fd = t->ep->fd, type, rc;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) < 0 || type != SOCK_STREAM) {
		error_set(&t->err, REASON_INVALID, ENOTSOCK, "fd:%d is not a stream socket", fd);
		transport_done(t, false);
		return;
	}
	if (getpeername(fd, (struct sockaddr *)&ss, &ss_len) < 0) {
		error_set(&t->err, REASON_UNREACHABLE, errno, "fd:%d: %s", fd, errno_text(errno));
		transport_done(t, false);
		return;
	}
	rc = inherit_open(fd, false);
	if (rc < 0) {
		connect_failed(t, -rc);
		return;
	}
	t->fd = rc;
	transport_done(t, true);
}

static void transport_try(void *arg)
{
	struct transport *t = arg;

	switch (t->ep->type) {
	case ENDPOINT_EXEC:
		t->fd = child_start(t->ep->text, &t->child, &t->err);
		transport_done(t, t->fd >= 0);
		break;
	case ENDPOINT_FD:
		try_inherited(t);
		break;
	default:
		try_connect(t);
	}
}

struct transport *transport_open(struct loop *loop, const struct endpoint *ep, transport_cb cb,
				 void *arg)
{
	struct transport *t = xcalloc(1, sizeof(*t));

	t->loop = loop;
	t->ep = ep;
	t->cb = cb;
	t->arg = arg;
	t->fd = -1;
	t->retry_until = now_ms() + VSOCK_RETRY_MS;
	loop_later(loop, &t->deadline, CONNECT_TIMEOUT_MS, transport_timeout, t);
	t->starting = true;
	transport_try(t);
	t->starting = false;
	if (!t->connected)
		return t;
	transport_tell(t);
	return NULL;
}
