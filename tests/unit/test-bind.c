/* SPDX-License-Identifier: MIT */
/* Which addresses a forward is bound to, what it can do without, and the errors. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "lib/bind.h"
#include "lib/log.h"
#include "lib/sock.h"
#include "tap.h"

struct result {
	int rc;
	struct bound *bound;
	size_t count;
	uint16_t port;
	struct error err;
};

/* --address LIST FORWARD; the list may be NULL. */
static struct result bind_text(const char *list, const char *text)
{
	struct result r = { 0 };
	struct forward_bind binds[8] = { { .type = BIND_LOCALHOST } };
	struct forward_spec spec;
	char *copy = list != NULL ? xstrdup(list) : NULL, *rest = copy, *item;
	size_t count = copy == NULL;

	while (rest != NULL && (item = strsep(&rest, ",")) != NULL) {
		if (bind_parse(&binds[count].type, &binds[count].address, item, &r.err) < 0)
			abort();
		count++;
	}
	if (forward_spec_parse(&spec, text, &r.err) < 0)
		abort();
	r.rc = bind_all(&spec, binds, count, &r.bound, &r.count, &r.port, &r.err);
	if (r.rc < 0)
		r.count = 0;
	forward_spec_clear(&spec);
	free(copy);
	return r;
}

static void result_clear(struct result *r)
{
	for (size_t i = 0; i < r->count; i++)
		close(r->bound[i].fd);
	if (r->count > 0)
		free(r->bound);
	r->count = 0;
}

/* "127.0.0.1 [::1]": without the port, which is checked. */
static const char *hosts_of(const struct result *r, char *out, size_t size)
{
	char port[16];

	snprintf(port, sizeof(port), ":%u", r->port);
	*out = '\0';
	for (size_t i = 0; i < r->count; i++) {
		const char *text = r->bound[i].text, *colon = strrchr(text, ':');
		size_t used = strlen(out);

		if (colon == NULL || strcmp(colon, port) != 0)
			return text;
		snprintf(out + used, size - used, "%s%.*s", i > 0 ? " " : "", (int)(colon - text),
			 text);
	}
	return out;
}

static bool have_ipv6(void)
{
	struct result r = bind_text("::1", ":80");
	bool have = r.rc == 0;

	result_clear(&r);
	return have;
}

static void test_addresses(void)
{
	static const struct {
		const char *list, *forward, *hosts;
	} rows[] = {
		{ NULL, ":80", "127.0.0.1 [::1]" },
		{ NULL, "localhost:0:80", "127.0.0.1 [::1]" },
		{ NULL, "127.0.0.1:0:80", "127.0.0.1" },
		{ NULL, "[::1]:0:80", "[::1]" },
		{ NULL, "*:0:80", "0.0.0.0 [::]" },
		{ "127.0.0.1", ":80", "127.0.0.1" },
		{ "127.0.0.1", "localhost:0:80", "127.0.0.1 [::1]" },
		{ "127.0.0.1,127.0.0.2", ":80", "127.0.0.1 127.0.0.2" },
		{ "localhost,127.0.0.1", ":80", "127.0.0.1 [::1]" },
		{ "127.0.0.1,localhost", ":80", "127.0.0.1 [::1]" },
		{ "::1,localhost,::1", ":80", "[::1] 127.0.0.1" },
		{ "*,0.0.0.0,*", ":80", "0.0.0.0 [::]" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct result r = bind_text(rows[i].list, rows[i].forward);
		const char *list = rows[i].list ? rows[i].list : "no --address";
		char hosts[128];

		is_int(r.rc, 0, "%s, %s", rows[i].forward, list);
		is_str(hosts_of(&r, hosts, sizeof(hosts)), rows[i].hosts, "%s, %s: where",
		       rows[i].forward, list);
		result_clear(&r);
	}
}

/* What somebody else has, and what comes of a forward to the same port. */
static void test_in_use(void)
{
	static const struct {
		const char *held, *wanted, *hosts, *at; /* hosts NULL: in use at `at` */
	} rows[] = {
		{ "127.0.0.1", NULL, "[::1]", NULL },
		{ "::1", NULL, "127.0.0.1", NULL },
		{ "localhost", NULL, NULL, "127.0.0.1" },
		{ "127.0.0.1", "127.0.0.1", NULL, "127.0.0.1" },
		{ "127.0.0.1", "localhost,127.0.0.1", NULL, "127.0.0.1" },
		{ "::1", "127.0.0.1,::1", NULL, "[::1]" },
		{ "::1", "localhost,::1", NULL, "[::1]" },
		{ "::1", "localhost,127.0.0.1", "127.0.0.1", NULL },
		{ "127.0.0.1", "localhost,127.0.0.2", "[::1] 127.0.0.2", NULL },
		{ "localhost", "localhost,127.0.0.2", NULL, "127.0.0.1" },
		{ "127.0.0.1", "*", NULL, "0.0.0.0" },
		{ "::1", "*", NULL, "[::]" },
		{ "::1", "0.0.0.0", "0.0.0.0", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct result held = bind_text(rows[i].held, ":80"), r;
		const char *wanted = rows[i].wanted ? rows[i].wanted : "localhost";
		char forward[32], hosts[128], message[128];

		snprintf(forward, sizeof(forward), "%u:80", held.port);
		r = bind_text(rows[i].wanted, forward);
		if (rows[i].hosts != NULL) {
			is_int(r.rc, 0, "%s while %s is held", wanted, rows[i].held);
			is_str(hosts_of(&r, hosts, sizeof(hosts)), rows[i].hosts,
			       "%s while %s is held: where", wanted, rows[i].held);
		} else {
			is_int(r.rc, -EADDRINUSE, "%s while %s is held", wanted, rows[i].held);
			is_int(r.err.reason, REASON_EXHAUSTED, "%s while %s is held: the reason",
			       wanted, rows[i].held);
			snprintf(message, sizeof(message),
				 "cannot listen on %s:%u: address already in use", rows[i].at,
				 held.port);
			is_str(r.err.message, message, "%s while %s is held: what is said", wanted,
			       rows[i].held);
		}
		result_clear(&r);
		result_clear(&held);
	}
}

/* All or nothing: what was bound before the failure is free again. */
static void test_nothing_left(void)
{
	struct result held = bind_text("127.0.0.2", ":80"), r;
	size_t fds = fd_count();
	char forward[32];

	snprintf(forward, sizeof(forward), "%u:80", held.port);
	r = bind_text("127.0.0.1,127.0.0.2", forward);
	is_int(r.rc, -EADDRINUSE, "the second of two");
	is_int((long long)fd_count(), (long long)fds, "no descriptor is left");
	r = bind_text("127.0.0.1", forward);
	is_int(r.rc, 0, "the first is free");
	result_clear(&r);
	result_clear(&held);
}

static void test_errors(void)
{
	static const struct {
		const char *list, *forward, *message;
		int rc;
		enum reason reason;
	} rows[] = {
		{ "192.0.2.1", "8080:80",
		  "cannot listen on 192.0.2.1:8080: cannot assign requested address",
		  -EADDRNOTAVAIL, REASON_INVALID },
		{ "fe80::1", "8080:80", "cannot listen on [fe80::1]:8080: invalid argument",
		  -EINVAL, REASON_INVALID },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct result r = bind_text(rows[i].list, rows[i].forward);

		is_int(r.rc, rows[i].rc, "%s", rows[i].list);
		is_int(r.err.reason, rows[i].reason, "%s: the reason", rows[i].list);
		is_str(r.err.message, rows[i].message, "%s: what is said", rows[i].list);
		result_clear(&r);
	}
}

static void test_unix(void)
{
	char dir[] = "/tmp/test-bind.XXXXXX";
	char path[64], forward[80], text[80];
	struct result r;
	struct stat st;

	if (mkdtemp(dir) == NULL)
		abort();
	snprintf(path, sizeof(path), "%s/socket", dir);
	snprintf(forward, sizeof(forward), "unix:%s:80", path);
	snprintf(text, sizeof(text), "unix:%s", path);
	r = bind_text(NULL, forward);
	is_int(r.rc, 0, "a Unix socket");
	is_int((long long)r.count, 1, "one listener");
	is_int(r.port, 0, "no port");
	is_str(r.bound[0].text, text, "its text");
	ok(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "its mode");
	result_clear(&r);
	unlink(path);
	rmdir(dir);
	r = bind_text(NULL, forward);
	is_int(r.err.reason, REASON_NOT_FOUND, "no folder");
	result_clear(&r);
}

/*
 * The same port is asked for twice here, or at another address: no client elsewhere, whose own port
 * may be any, is to have it meanwhile. Where there can be no netns (without root) it seldom has.
 */
static void own_netns(void)
{
#ifdef CLONE_NEWNET
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		return;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
		abort();
	close(fd);
#endif
}

int main(void)
{
	log_init("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	own_netns();
	test_unix();
	if (!have_ipv6()) {
		skip("no IPv6 here");
		return done_testing();
	}
	test_addresses();
	test_in_use();
	test_nothing_left();
	test_errors();
	return done_testing();
}
