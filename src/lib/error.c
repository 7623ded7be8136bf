/* SPDX-License-Identifier: MIT */
/*
 * The one table of what can go wrong: reason word, JSON-RPC code, exit code. And
 * errno by name and in words, the same on every system and in every locale, since
 * the names travel and the words are matched by scripts.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "error.h"

static const struct {
	const char *name;
	int rpc_code;
	int exit_code;
} reasons[] = {
	[REASON_INVALID] = { "invalid", RPC_INVALID_PARAMS, 64 },
	[REASON_UNSUPPORTED] = { "unsupported", RPC_METHOD_NOT_FOUND, 76 },
	[REASON_INTERNAL] = { "internal", -32603, 70 },
	[REASON_NOT_FOUND] = { "not-found", -32001, 66 },
	[REASON_REFUSED] = { "refused", -32002, 69 },
	[REASON_UNREACHABLE] = { "unreachable", -32003, 69 },
	[REASON_TIMEOUT] = { "timeout", -32004, 75 },
	[REASON_DENIED] = { "denied", -32005, 77 },
	[REASON_EXHAUSTED] = { "exhausted", -32006, 73 },
	[REASON_NOT_RUNNING] = { "not-running", -32007, 78 },
	/* Never told as an error of a request: it has no code of its own. */
	[REASON_BROKEN] = { "broken", -32603, 74 },
};
static_assert(ARRAY_SIZE(reasons) == REASON_COUNT, "a row for each reason");

static const struct {
	int number;
	const char *name;
	const char *text;
} errnos[] = {
#define ROW(E, TEXT)        \
	{                   \
		E, #E, TEXT \
	}
	ROW(E2BIG, "argument list too long"),
	ROW(EACCES, "permission denied"),
	ROW(EADDRINUSE, "address already in use"),
	ROW(EADDRNOTAVAIL, "cannot assign requested address"),
	ROW(EAFNOSUPPORT, "address family not supported by protocol"),
	ROW(EAGAIN, "resource temporarily unavailable"),
	ROW(EALREADY, "operation already in progress"),
	ROW(EBADF, "bad file descriptor"),
	ROW(EBUSY, "device or resource busy"),
	ROW(ECANCELED, "operation canceled"),
	ROW(ECHILD, "no child processes"),
	ROW(ECONNABORTED, "software caused connection abort"),
	ROW(ECONNREFUSED, "connection refused"),
	ROW(ECONNRESET, "connection reset by peer"),
	ROW(EDESTADDRREQ, "destination address required"),
	ROW(EDQUOT, "disk quota exceeded"),
	ROW(EEXIST, "file exists"),
	ROW(EFAULT, "bad address"),
	ROW(EFBIG, "file too large"),
	ROW(EHOSTDOWN, "host is down"),
	ROW(EHOSTUNREACH, "no route to host"),
	ROW(EINPROGRESS, "operation now in progress"),
	ROW(EINTR, "interrupted system call"),
	ROW(EINVAL, "invalid argument"),
	ROW(EIO, "input/output error"),
	ROW(EISCONN, "transport endpoint is already connected"),
	ROW(EISDIR, "is a directory"),
	ROW(ELOOP, "too many levels of symbolic links"),
	ROW(EMFILE, "too many open files"),
	ROW(EMSGSIZE, "message too long"),
	ROW(ENAMETOOLONG, "file name too long"),
	ROW(ENETDOWN, "network is down"),
	ROW(ENETRESET, "network dropped connection on reset"),
	ROW(ENETUNREACH, "network is unreachable"),
	ROW(ENFILE, "too many open files in system"),
	ROW(ENOBUFS, "no buffer space available"),
	ROW(ENODEV, "no such device"),
	ROW(ENOENT, "no such file or directory"),
	ROW(ENOEXEC, "exec format error"),
	ROW(ENOMEM, "cannot allocate memory"),
	ROW(ENOPROTOOPT, "protocol not available"),
	ROW(ENOSPC, "no space left on device"),
	ROW(ENOSYS, "function not implemented"),
	ROW(ENOTCONN, "transport endpoint is not connected"),
	ROW(ENOTDIR, "not a directory"),
	ROW(ENOTEMPTY, "directory not empty"),
	ROW(ENOTSOCK, "socket operation on non-socket"),
	ROW(ENOTTY, "inappropriate ioctl for device"),
	ROW(ENXIO, "no such device or address"),
	ROW(EOPNOTSUPP, "operation not supported"),
	ROW(EOVERFLOW, "value too large for defined data type"),
	ROW(EPERM, "operation not permitted"),
	ROW(EPIPE, "broken pipe"),
	ROW(EPROTO, "protocol error"),
	ROW(EPROTONOSUPPORT, "protocol not supported"),
	ROW(EPROTOTYPE, "protocol wrong type for socket"),
	ROW(ERANGE, "numerical result out of range"),
	ROW(EROFS, "read-only file system"),
	ROW(ESHUTDOWN, "cannot send after transport endpoint shutdown"),
	ROW(ESOCKTNOSUPPORT, "socket type not supported"),
	ROW(ESPIPE, "illegal seek"),
	ROW(ESRCH, "no such process"),
	ROW(ESTALE, "stale file handle"),
	ROW(ETIMEDOUT, "connection timed out"),
	ROW(ETXTBSY, "text file busy"),
	ROW(EUSERS, "too many users"),
	ROW(EXDEV, "invalid cross-device link"),
#ifdef ECOMM
	ROW(ECOMM, "communication error on send"),
#endif
#ifdef ENOKEY
	ROW(ENOKEY, "required key not available"),
#endif
#ifdef ENONET
	ROW(ENONET, "machine is not on the network"),
#endif
#undef ROW
};

/* What error_set() and error_prefix() return. */
static int negative(int sys_errno)
{
	return sys_errno > 0 ? -sys_errno : -EPROTO;
}

int error_set(struct error *err, enum reason reason, int sys_errno, const char *fmt, ...)
{
	char message[ERROR_MESSAGE_MAX]; /* the arguments may point into *err */
	va_list ap;

	if (!err)
		return negative(sys_errno);
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	err->reason = reason;
	err->code = reason_rpc_code(reason);
	err->sys_errno = sys_errno;
	err->answered = false;
	memcpy(err->message, message, sizeof(message));
	return negative(sys_errno);
}

int error_prefix(struct error *err, const char *fmt, ...)
{
	char prefix[ERROR_MESSAGE_MAX], message[2 * ERROR_MESSAGE_MAX + 2];
	va_list ap;

	if (!err)
		return negative(0);
	va_start(ap, fmt);
	vsnprintf(prefix, sizeof(prefix), fmt, ap);
	va_end(ap);
	snprintf(message, sizeof(message), "%s: %s", prefix, err->message);
	message[ERROR_MESSAGE_MAX - 1] = '\0';
	memcpy(err->message, message, ERROR_MESSAGE_MAX);
	return negative(err->sys_errno);
}

enum reason reason_of_file(int sys_errno)
{
	switch (sys_errno) {
	case ENOENT:
	case ENOTDIR:
		return REASON_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EROFS:
	case ELOOP:
		return REASON_DENIED;
	case ENAMETOOLONG:
		return REASON_INVALID;
	case EADDRINUSE:
	case EEXIST:
	case EISDIR:
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ETXTBSY:
		return REASON_EXHAUSTED;
	default:
		return REASON_INTERNAL;
	}
}

int error_set_connect(struct error *err, int sys_errno)
{
	enum reason reason = REASON_UNREACHABLE;

	switch (sys_errno) {
	case ECONNREFUSED:
	case ECONNRESET:
		reason = REASON_REFUSED;
		break;
	case ETIMEDOUT:
		reason = REASON_TIMEOUT;
		break;
	case EACCES:
	case EPERM:
		reason = REASON_DENIED;
		break;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case EADDRNOTAVAIL:
	case EAGAIN:
		reason = REASON_EXHAUSTED;
		break;
	}
	return error_set(err, reason, sys_errno, "%s", errno_text(sys_errno));
}

const char *reason_name(enum reason reason)
{
	return reasons[reason].name;
}

int reason_from_name(const char *name, enum reason *reason)
{
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (strcmp(reasons[i].name, name) == 0) {
			*reason = (enum reason)i;
			return 0;
		}
	}
	return -ENOENT;
}

int reason_exit_code(enum reason reason)
{
	return reasons[reason].exit_code;
}

int reason_rpc_code(enum reason reason)
{
	return reasons[reason].rpc_code;
}

enum reason reason_from_rpc_code(int code)
{
	if (code == RPC_PARSE_ERROR || code == RPC_INVALID_REQUEST)
		return REASON_INVALID;
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (reasons[i].rpc_code == code)
			return (enum reason)i;
	}
	return REASON_INTERNAL;
}

const char *errno_name(int sys_errno)
{
	for (size_t i = 0; i < ARRAY_SIZE(errnos); i++) {
		if (errnos[i].number == sys_errno)
			return errnos[i].name;
	}
	return NULL;
}

int errno_from_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(errnos); i++) {
		if (strcmp(errnos[i].name, name) == 0)
			return errnos[i].number;
	}
	return 0;
}

const char *errno_text(int sys_errno)
{
	for (size_t i = 0; i < ARRAY_SIZE(errnos); i++) {
		if (errnos[i].number == sys_errno)
			return errnos[i].text;
	}
	return strerror(sys_errno);
}
