/* SPDX-License-Identifier: MIT */
/*
 * What can go wrong, in one vocabulary for the wire, the command line and the
 * log: a reason word, the JSON-RPC code and exit code that belong to it, the
 * errno behind it, and one line of text.
 */
#ifndef VZFWD_ERROR_H
#define VZFWD_ERROR_H

#include "util.h"

enum reason {
	REASON_INVALID,
	REASON_UNSUPPORTED,
	REASON_INTERNAL,
	REASON_NOT_FOUND,
	REASON_REFUSED,
	REASON_UNREACHABLE,
	REASON_TIMEOUT,
	REASON_DENIED,
	REASON_EXHAUSTED,
	REASON_NOT_RUNNING,
	REASON_BROKEN,
	REASON_COUNT
};

/* JSON-RPC codes that are not a reason's own (JSON-RPC 2.0, section 5.1). */
#define RPC_PARSE_ERROR (-32700)
#define RPC_INVALID_REQUEST (-32600)
#define RPC_METHOD_NOT_FOUND (-32601)
#define RPC_INVALID_PARAMS (-32602)

#define ERROR_MESSAGE_MAX 512

struct error {
	enum reason reason;
	int code;      /* JSON-RPC error code */
	int sys_errno; /* 0 if no system call is behind it */
	bool answered; /* it is a dialer's own answer: the dialer is there */
	char message[ERROR_MESSAGE_MAX];
};

/*
 * Fills *err (which may be NULL) with the reason, its default JSON-RPC code and
 * one line of text. Returns a negative number, -sys_errno or -EPROTO, so that
 * callers can `return error_set(...)`.
 */
int error_set(struct error *err, enum reason reason, int sys_errno, const char *fmt, ...)
	PRINTF_LIKE(4, 5);

/* Puts "prefix: " before the message that is there. Returns a negative number as error_set(). */
int error_prefix(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * An error of connect(2) to a target in a pod, by errno: ECONNREFUSED and
 * ECONNRESET are refused, ETIMEDOUT timeout, EACCES and EPERM denied, EMFILE,
 * ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL and EAGAIN exhausted, anything else
 * unreachable. The text is strerror's in lower case ("connection refused").
 */
int error_set_connect(struct error *err, int sys_errno);

/*
 * The reason behind an errno of a file that is opened, created or renamed, or of a Unix socket that is
 * bound: not-found for ENOENT and ENOTDIR, denied for what permissions, a read-only file system or a
 * link that is not followed forbid, invalid for a name that is too long, exhausted for what is
 * taken (a folder has the name, too) or has no room; anything else internal.
 */
enum reason reason_of_file(int sys_errno);

const char *reason_name(enum reason reason);           /* "not-found" */
int reason_from_name(const char *name, enum reason *); /* 0 or -ENOENT */
int reason_exit_code(enum reason reason);              /* 66 */
int reason_rpc_code(enum reason reason);               /* -32001 */
enum reason reason_from_rpc_code(int code);            /* REASON_INTERNAL if unknown */

const char *errno_name(int sys_errno); /* "ECONNREFUSED", or NULL if it has no name here */
int errno_from_name(const char *name); /* 0 if unknown */
const char *errno_text(int sys_errno); /* "connection refused": lower case, static storage */

#endif
