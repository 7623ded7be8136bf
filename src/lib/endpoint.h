/* SPDX-License-Identifier: MIT */
/*
 * The texts that name things: endpoints (where a pod's dialer is reached),
 * networks and addresses (where in the pod a connection goes) and forwards
 * (what `vzfwd listen` takes). Parsing and printing only, no I/O.
 */
#ifndef VZFWD_ENDPOINT_H
#define VZFWD_ENDPOINT_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "error.h"

#define VSOCK_DEFAULT_PORT 893u
#define VSOCK_CID_ANY UINT32_MAX

enum endpoint_type {
	ENDPOINT_VSOCK,
	ENDPOINT_HVSOCK,
	ENDPOINT_UNIX,
	ENDPOINT_EXEC,
	ENDPOINT_FD,
	ENDPOINT_NETNS,
	ENDPOINT_PID,
	ENDPOINT_TYPE_COUNT
};

struct endpoint {
	enum endpoint_type type;
	uint32_t cid;  /* vsock */
	uint32_t port; /* vsock, hvsock */
	int fd;        /* fd */
	pid_t pid;     /* pid */
	char *text;    /* hvsock, unix, netns: the path; exec: the command. Owned. */
	/* hvsock: the VMM has to be this user's, who had it registered with a server of another one. */
	bool lent;
	uid_t uid;
};

/* True if the text starts with an endpoint's scheme, so that it cannot be a pod's name. */
bool endpoint_is_endpoint(const char *text);

/*
 * vsock://CID[:PORT]  hvsock:///PATH[:PORT]  unix:///PATH  exec:COMMAND  fd:N
 * netns:PATH  pid:N. All else, a relative or empty path, one longer than
 * sun_path (hvsock, unix), CIDs and ports out of range (port 1..2^32-2; a CID of
 * 0xffffffff or 0 can't be dialed) are REASON_INVALID. On success
 * endpoint_clear() frees it.
 */
int endpoint_parse(struct endpoint *ep, const char *text, struct error *err);

/* vsock://any[:PORT], vsock://CID[:PORT], unix:///PATH: where a dialer listens. */
int endpoint_parse_listen(struct endpoint *ep, const char *text, struct error *err);

char *endpoint_format(const struct endpoint *ep); /* the text again; owned by the caller */
void endpoint_clear(struct endpoint *ep);

enum network {
	NETWORK_TCP,
	NETWORK_TCP4,
	NETWORK_TCP6,
	NETWORK_UDP,
	NETWORK_UDP4,
	NETWORK_UDP6,
	NETWORK_UNIX,
	NETWORK_COUNT
};

const char *network_name(enum network network);
int network_from_name(const char *name, enum network *out); /* 0 or -ENOENT */

static inline bool network_is_udp(enum network network)
{
	return network >= NETWORK_UDP && network <= NETWORK_UDP6;
}

/*
 * An address to dial. AF_UNSPEC is "loopback": 127.0.0.1, then ::1 (what an
 * empty host, localhost and a bare port mean).
 */
struct address {
	sa_family_t family; /* AF_UNSPEC, AF_INET, AF_INET6 */
	uint16_t port;      /* host byte order */
	union {
		struct in_addr v4;
		struct in6_addr v6;
	};
};

#define ADDRESS_TEXT_MAX 64

/*
 * 127.0.0.1:80  [::1]:80  :80  localhost:80. Hosts by inet_pton(3) only, no
 * names; port 1..65535. REASON_INVALID otherwise; a bad port's text is
 * "port must be between 1 and 65535, got <p>".
 */
int address_parse(struct address *addr, const char *text, struct error *err);

/* A host alone: "", "localhost", an IPv4 or IPv6 literal (brackets allowed). Port is left alone. */
int address_parse_host(struct address *addr, const char *host, struct error *err);

/* The same IP address, whatever the ports; and the same port. */
bool address_same_host(const struct address *a, const struct address *b);
bool address_same(const struct address *a, const struct address *b);

/* "127.0.0.1:80", "[::1]:80", "localhost:80" (AF_UNSPEC). Returns buf. */
char *address_format(const struct address *addr, char buf[ADDRESS_TEXT_MAX]);

/*
 * The path of a Unix socket in a pod: absolute, and as long as paths can be, since it goes through no
 * sun_path. 0 or REASON_INVALID.
 */
int target_path_check(const char *path, struct error *err);

/* AF_INET or AF_INET6 only. Returns the sockaddr's length. */
socklen_t address_to_sockaddr(const struct address *addr, struct sockaddr_storage *ss);
int address_from_sockaddr(struct address *addr, const struct sockaddr *sa); /* 0 or -EAFNOSUPPORT */

/* One FORWARD argument of `vzfwd listen`. */
enum bind_type {
	BIND_DEFAULT,   /* none was given: --address, else localhost */
	BIND_LOCALHOST, /* 127.0.0.1 and ::1 */
	BIND_ALL,       /* "*": 0.0.0.0 and :: */
	BIND_ADDRESS,   /* an IP literal, in bind */
	BIND_UNIX       /* a Unix socket, in local_path */
};

struct forward_spec {
	enum bind_type bind_type;
	struct address bind;   /* BIND_ADDRESS: family and address (its port is not used) */
	uint16_t local_port;   /* 0: a free one */
	bool next_free;        /* local_port, or the next one above that is free on all addresses */
	char *local_path;      /* BIND_UNIX; owned */
	enum network network;  /* NETWORK_TCP, NETWORK_UDP, NETWORK_UNIX */
	struct address remote; /* tcp, udp: AF_UNSPEC without HOST */
	char *remote_path;     /* NETWORK_UNIX; owned */
};

/*
 * 8080:80  :80  0:80  80  127.0.0.1:8080:80  [::1]:8080:80  8080:HOST:80
 * BIND:8080:HOST:80, a /udp or /tcp behind any, unix:PATH as either end. Split
 * on ':' outside brackets; of three fields, a first one that is empty or all digits is
 * LOCAL, else BIND; "*" and localhost are BINDs too. An empty or 0 REMOTE is
 * REASON_INVALID, and so is all else. forward_spec_clear() frees it.
 */
int forward_spec_parse(struct forward_spec *spec, const char *text, struct error *err);
void forward_spec_clear(struct forward_spec *spec);

/* True if both listen at the same place, which is one that was named: no free port. */
bool forward_spec_same_local(const struct forward_spec *a, const struct forward_spec *b);

/* The pod's end as it is printed: "80", "10.0.0.5:80", "unix:/run/app.sock". Fresh memory. */
char *forward_spec_remote(const struct forward_spec *spec);

/*
 * A listener alone: 127.0.0.1:8080, [::1]:0, localhost:0, *:80, :0 and 0 (BIND_DEFAULT), unix:PATH (absolute). Sets
 * bind_type, bind, local_port and local_path of a spec that is zero there. REASON_INVALID.
 */
int listener_parse(struct forward_spec *spec, const char *text, struct error *err);

/* What --address takes, one item of it: localhost, *, or an IP literal. Sets bind_type and bind. */
int bind_parse(enum bind_type *type, struct address *bind, const char *text, struct error *err);

#endif
