/* SPDX-License-Identifier: MIT */
/*
 * Binding a forward's listeners. A free port has to be free in every family and address
 * that the forward wants, so the first listener's port is tried on the others and,
 * if one of them is taken there, another is drawn.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "bind.h"
#include "log.h"
#include "policy.h"
#include "sock.h"

#define FREE_PORT_TRIES 16
#define PRIVILEGED_END 1024 /* ip_unprivileged_port_start, mostly */

/*
 * One address to listen on, and who wants it: a bit for each enum bind_type. localhost and "*" are two
 * wishes, IPv4 and IPv6, and need one of them; an address that was named has to be had.
 */
struct wish {
	struct address address;
	unsigned wanted_by;
	int fd; /* -1: could not be had */
};

struct binding {
	struct wish *wishes;
	size_t count;
	uint16_t port;
	int type;   /* SOCK_STREAM, SOCK_DGRAM */
	bool whole; /* where one of localhost's families is taken the port is of no use */
};

static bool same_host(const struct address *a, const struct address *b)
{
	if (a->family != b->family)
		return false;
	return a->family == AF_INET ? a->v4.s_addr == b->v4.s_addr
				    : IN6_ARE_ADDR_EQUAL(&a->v6, &b->v6);
}

/* What several want (--address localhost,127.0.0.1) is bound once. */
static void add_wish(struct binding *b, enum bind_type by, const struct address *address)
{
	size_t i = 0;

	while (i < b->count && !same_host(&b->wishes[i].address, address))
		i++;
	if (i == b->count) {
		b->wishes = xrealloc(b->wishes, (b->count + 1) * sizeof(*b->wishes));
		b->wishes[b->count++] = (struct wish){ .address = *address, .fd = -1 };
	}
	b->wishes[i].wanted_by |= 1u << by;
}

static void add_bind(struct binding *b, enum bind_type type, const struct address *address)
{
	bool any = type == BIND_ALL;
	struct address v4 = { .family = AF_INET }, v6 = { .family = AF_INET6 };

	if (type == BIND_ADDRESS) {
		add_wish(b, type, address);
		return;
	}
	v4.v4.s_addr = htonl(any ? INADDR_ANY : INADDR_LOOPBACK);
	v6.v6 = any ? in6addr_any : in6addr_loopback;
	add_wish(b, type, &v4);
	add_wish(b, type, &v6);
}

/* Fills in the port if that was 0. A UDP socket is bound, and that is all. fd or -errno. */
static int listen_on(struct address *address, int type)
{
	struct sockaddr_storage ss;
	socklen_t len = address_to_sockaddr(address, &ss);
	int fd, on = 1, rc;

	fd = sock_new(address->family, type, 0);
	if (fd < 0)
		return fd;
	if (address->port != 0 &&
	    type == SOCK_STREAM) /* a free one should be one that nobody used a moment ago */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 ||
	    (type == SOCK_STREAM && listen(fd, SOCK_BACKLOG) < 0)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	len = sizeof(ss);
	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	address_from_sockaddr(address, (struct sockaddr *)&ss);
	return fd;
}

static bool is_absent(int rc)
{
	return rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL || rc == -EPROTONOSUPPORT;
}

static int bind_error(const struct address *address, int rc, struct error *err)
{
	char text[ADDRESS_TEXT_MAX];
	enum reason reason = rc == -EACCES || rc == -EPERM    ? REASON_DENIED
			     : is_absent(rc) || rc == -EINVAL ? REASON_INVALID
							      : REASON_EXHAUSTED;

	return error_set(err, reason, -rc, "cannot listen on %s: %s", address_format(address, text),
			 errno_text(-rc));
}

static void unbind(struct binding *b)
{
	for (size_t i = 0; i < b->count; i++) {
		if (b->wishes[i].fd >= 0)
			close(steal_fd(&b->wishes[i].fd));
	}
}

/* Whether it can do without this one, as long as the other family is there. */
static bool may_lack(const struct wish *wish, int rc, bool whole)
{
	if (wish->wanted_by & 1u << BIND_ADDRESS)
		return false;
	return is_absent(rc) || (wish->wanted_by == 1u << BIND_LOCALHOST && !whole);
}

static bool has_one(const struct binding *b, enum bind_type of)
{
	bool wanted = false;

	for (size_t i = 0; i < b->count; i++) {
		if (!(b->wishes[i].wanted_by & 1u << of))
			continue;
		if (b->wishes[i].fd >= 0)
			return true;
		wanted = true;
	}
	return !wanted;
}

/*
 * One attempt; the port 0 draws one, and -EADDRINUSE is then worth another. What is lacking and is
 * no absent family is worth a warning, or the error if there is nothing else.
 */
static int bind_once(struct binding *b, uint16_t port, struct error *err)
{
	struct error lack = { 0 };
	bool absent = true;

	b->port = port;
	for (size_t i = 0; i < b->count; i++) {
		struct wish *wish = &b->wishes[i];
		int fd;

		wish->address.port = b->port;
		fd = listen_on(&wish->address, b->type);
		if (fd >= 0) {
			wish->fd = fd;
			b->port = wish->address.port;
		} else if (!may_lack(wish, fd, b->whole)) {
			unbind(b);
			return bind_error(&wish->address, fd, err);
		} else if (absent) {
			bind_error(&wish->address, fd, &lack);
			absent = is_absent(fd);
		}
	}
	if (!has_one(b, BIND_LOCALHOST) || !has_one(b, BIND_ALL)) {
		unbind(b);
		*err = lack;
		return -lack.sys_errno;
	}
	if (!absent)
		log_warning(NULL, "%s", lack.message);
	return 0;
}

static int bind_unix(const struct forward_spec *spec, struct bound **bound, struct error *err)
{
	int fd = sock_listen_unix(spec->local_path, err);

	if (fd < 0)
		return fd;
	*bound = xcalloc(1, sizeof(**bound));
	(*bound)->fd = fd;
	(*bound)->file = sock_file_of(spec->local_path);
	snprintf((*bound)->text, sizeof((*bound)->text), "unix:%s", spec->local_path);
	return 0;
}

/* The listeners that there are; those that other machines can reach are warned about. */
static size_t give_away(struct binding *b, struct bound **bound)
{
	size_t count = 0;

	*bound = xcalloc(b->count, sizeof(**bound));
	for (size_t i = 0; i < b->count; i++) {
		struct wish *wish = &b->wishes[i];
		struct bound *one = &(*bound)[count];

		if (wish->fd < 0)
			continue;
		one->fd = steal_fd(&wish->fd);
		address_format(&wish->address, one->text);
		if (!address_is_loopback(&wish->address))
			log_warning(NULL, "%s can be reached from other machines", one->text);
		count++;
	}
	return count;
}

/* The port that is wanted, or the next higher one that can be had; those that root alone may bind are left out for others. */
static int bind_next_free(struct binding *b, uint16_t port, struct error *err)
{
	int rc = bind_once(b, port, err);

	for (;;) {
		if (rc == -EACCES && port < PRIVILEGED_END)
			port = PRIVILEGED_END;
		else if (rc == -EADDRINUSE && port < UINT16_MAX)
			port++;
		else
			return rc;
		rc = bind_once(b, port, err);
	}
}

int bind_all(const struct forward_spec *spec, const struct forward_bind *binds, size_t bind_count,
	     struct bound **bound, size_t *count, uint16_t *port, struct error *err)
{
	struct binding b = { .type = network_is_udp(spec->network) ? SOCK_DGRAM : SOCK_STREAM,
			     .whole = spec->local_port == 0 || spec->next_free };
	int rc;

	*count = 1;
	*port = 0;
	if (spec->bind_type == BIND_UNIX)
		return bind_unix(spec, bound, err);
	if (spec->bind_type != BIND_DEFAULT)
		add_bind(&b, spec->bind_type, &spec->bind);
	for (size_t i = 0; spec->bind_type == BIND_DEFAULT && i < bind_count; i++)
		add_bind(&b, binds[i].type, &binds[i].address);
	rc = spec->next_free ? bind_next_free(&b, spec->local_port, err)
			     : bind_once(&b, spec->local_port, err);
	for (int i = 0; rc == -EADDRINUSE && spec->local_port == 0 && i < FREE_PORT_TRIES; i++)
		rc = bind_once(&b, 0, err);
	if (rc == 0) {
		*count = give_away(&b, bound);
		*port = b.port;
	}
	free(b.wishes);
	return rc;
}
