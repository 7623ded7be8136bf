/* SPDX-License-Identifier: MIT */
/* What `vzfwd listen` takes: forwards and addresses to listen on. */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <sys/un.h>

#include "lib/endpoint.h"
#include "tests/tap.h"

/* A forward in one line: "BIND LOCAL NETWORK REMOTE". */
static char *describe(const struct forward_spec *spec)
{
	char bind[INET6_ADDRSTRLEN] = "", remote[ADDRESS_TEXT_MAX] = "";

	switch (spec->bind_type) {
	case BIND_DEFAULT:
		strcpy(bind, "default");
		break;
	case BIND_LOCALHOST:
		strcpy(bind, "localhost");
		break;
	case BIND_ALL:
		strcpy(bind, "*");
		break;
	case BIND_ADDRESS:
		inet_ntop(spec->bind.family, &spec->bind.v6, bind, sizeof(bind));
		break;
	case BIND_UNIX:
		strcpy(bind, "unix");
		break;
	}
	if (spec->network != NETWORK_UNIX)
		address_format(&spec->remote, remote);
	if (spec->local_path)
		return xasprintf("%s %s %s %s", bind, spec->local_path, network_name(spec->network),
				 spec->remote_path ? spec->remote_path : remote);
	return xasprintf("%s %u %s %s", bind, spec->local_port, network_name(spec->network),
			 spec->remote_path ? spec->remote_path : remote);
}

static const struct {
	const char *text, *want; /* NULL: refused */
} cases[] = {
	{ "8080:80", "default 8080 tcp localhost:80" },
	{ ":80", "default 0 tcp localhost:80" },
	{ "0:80", "default 0 tcp localhost:80" },
	{ "80", "default 80 tcp localhost:80" },
	{ "65535:65535", "default 65535 tcp localhost:65535" },
	{ "127.0.0.1:8080:80", "127.0.0.1 8080 tcp localhost:80" },
	{ "0.0.0.0:8080:80", "0.0.0.0 8080 tcp localhost:80" },
	{ "127.0.0.1::80", "127.0.0.1 0 tcp localhost:80" },
	{ "127.0.0.1:0:80", "127.0.0.1 0 tcp localhost:80" },
	{ "[::1]:8080:80", "::1 8080 tcp localhost:80" },
	{ "localhost:8080:80", "localhost 8080 tcp localhost:80" },
	{ "*:8080:80", "* 8080 tcp localhost:80" },
	{ "8080:10.0.0.5:80", "default 8080 tcp 10.0.0.5:80" },
	{ ":10.0.0.5:80", "default 0 tcp 10.0.0.5:80" },
	{ "0:10.0.0.5:80", "default 0 tcp 10.0.0.5:80" },
	{ "8080:[fd00::5]:80", "default 8080 tcp [fd00::5]:80" },
	{ "8080:localhost:80", "default 8080 tcp localhost:80" },
	{ "127.0.0.1:8080:10.0.0.5:80", "127.0.0.1 8080 tcp 10.0.0.5:80" },
	{ "[::1]:8080:[fd00::5]:80", "::1 8080 tcp [fd00::5]:80" },
	{ "*:8080:localhost:80", "* 8080 tcp localhost:80" },
	{ "localhost::10.0.0.5:80", "localhost 0 tcp 10.0.0.5:80" },
	{ "53/udp", "default 53 udp localhost:53" },
	{ "5353:53/udp", "default 5353 udp localhost:53" },
	{ "127.0.0.1:5353:10.0.0.5:53/udp", "127.0.0.1 5353 udp 10.0.0.5:53" },
	{ "8080:80/tcp", "default 8080 tcp localhost:80" },
	{ "unix:/run/a.sock:80", "unix /run/a.sock tcp localhost:80" },
	{ "unix:/run/a.sock:80/tcp", "unix /run/a.sock tcp localhost:80" },
	{ "unix:a.sock:10.0.0.5:80", "unix a.sock tcp 10.0.0.5:80" },
	{ "unix:/run/a.sock:[fd00::5]:80", "unix /run/a.sock tcp [fd00::5]:80" },
	{ "unix:/run/a.sock:unix:/run/b.sock", "unix /run/a.sock unix /run/b.sock" },
	{ "8080:unix:/run/b.sock", "default 8080 unix /run/b.sock" },
	{ ":unix:/run/b.sock", "default 0 unix /run/b.sock" },
	{ "127.0.0.1:8080:unix:/run/b.sock", "127.0.0.1 8080 unix /run/b.sock" },
	{ "8080:unix:/run/b:c/tcp", "default 8080 unix /run/b:c/tcp" },
	{ "", NULL },
	{ "0", NULL },
	{ ":", NULL },
	{ "8080:", NULL },
	{ "8080:0", NULL },
	{ "80:65536", NULL },
	{ "65536:80", NULL },
	{ "65536", NULL },
	{ "-1:80", NULL },
	{ "8080:http", NULL },
	{ "http:80", NULL },
	{ "localhost:80", NULL },
	{ "*:80", NULL },
	{ "8080: 80", NULL },
	{ "8080::80", NULL },
	{ "::80", NULL },
	{ ":::80", NULL },
	{ "127.0.0.1:8080:", NULL },
	{ "127.0.0.1:8080:0", NULL },
	{ "127.0.0.1:x:80", NULL },
	{ "example.com:8080:80", NULL },
	{ "8080:example.com:80", NULL },
	{ "8080:*:80", NULL },
	{ ":8080:10.0.0.5:80", NULL },
	{ "8080:8081:10.0.0.5:80", NULL },
	{ "127.0.0.1:8080:10.0.0.5:80:1", NULL },
	{ "::1:8080:80", NULL },
	{ "[::1:8080:80", NULL },
	{ "[127.0.0.1]:8080:80", NULL },
	{ "8080:80/sctp", NULL },
	{ "8080:80/", NULL },
	{ "8080/udp:80", NULL },
	{ "/udp", NULL },
	{ "8080:80/udp/udp", NULL },
	{ "unix:", NULL },
	{ "unix:/run/a.sock", NULL },
	{ "unix:/run/a.sock:", NULL },
	{ "unix::80", NULL },
	{ "unix:/run/a.sock:0", NULL },
	{ "unix:/run/a.sock:80/sctp", NULL },
	{ "unix:/run/a.sock:53/udp", NULL },
	{ "unix:/run/a.sock:1:10.0.0.5:80", NULL },
	{ "unix:/run/a.sock:unix:", NULL },
	{ "8080:unix:", NULL },
	{ "8080:unix:b.sock", NULL },
	{ "x:unix:/run/b.sock", NULL },
	{ "nosuch:8080:unix:/run/b.sock", NULL },
	{ "127.0.0.1:8080:10.0.0.5:unix:/run/b.sock", NULL },
};

static void test_forwards(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *got = NULL;
		struct forward_spec spec;
		struct error err = { .reason = REASON_COUNT };
		int ret = forward_spec_parse(&spec, cases[i].text, &err);

		if (ret == 0)
			got = describe(&spec);
		is_str(got, cases[i].want, "forward \"%s\"", cases[i].text);
		if (ret < 0) {
			is_int(err.reason, REASON_INVALID, "\"%s\" is invalid", cases[i].text);
			ok(!spec.local_path && !spec.remote_path, "\"%s\" leaves nothing behind",
			   cases[i].text);
		}
		forward_spec_clear(&spec);
	}
}

static void test_messages(void)
{
	static const struct {
		const char *text, *message;
	} messages[] = {
		{ "8080:0", "forward 8080:0: the pod's port must be between 1 and 65535, got 0" },
		{ "8080:", "forward 8080:: the pod's port is missing" },
		{ "99999:80",
		  "forward 99999:80: local port must be between 0 and 65535, got 99999" },
		{ "8080:80/sctp",
		  "forward 8080:80/sctp: a port may be followed by /tcp or /udp, not by /sctp" },
		{ "8080:db:5432", "forward 8080:db:5432: host must be an IP address or localhost, "
				  "no names are resolved, got db" },
		{ "::1:8080:80", "forward ::1:8080:80: at most [BIND:]LOCAL:HOST:REMOTE "
				 "(IPv6 addresses in brackets)" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		struct forward_spec spec;
		struct error err;

		forward_spec_parse(&spec, messages[i].text, &err);
		is_str(err.message, messages[i].message, "%s says why", messages[i].text);
	}
}

static void test_long_paths(void)
{
	struct sockaddr_un sun;
	const struct {
		const char *where;
		size_t length; /* the first one that is too much */
	} ends[] = { { "here", sizeof(sun.sun_path) }, { "in the pod", PATH_MAX } };
	struct forward_spec spec;
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		for (size_t cut = 0; cut < 2; cut++) {
			size_t length = ends[i].length - cut;
			_cleanup_free_ char *path = xmalloc(length + 1), *text = NULL;

			memset(path, 'a', length);
			path[0] = '/';
			path[length] = '\0';
			text = i == 0 ? xasprintf("unix:%s:80", path)
				      : xasprintf("80:unix:%s", path);
			is_int(forward_spec_parse(&spec, text, &err), cut ? 0 : -ENAMETOOLONG,
			       "a path of %zu bytes %s", length, ends[i].where);
			forward_spec_clear(&spec);
		}
	}
}

static void test_binds(void)
{
	static const struct {
		const char *text;
		int type; /* -1: refused */
	} binds[] = {
		{ "localhost", BIND_LOCALHOST },
		{ "*", BIND_ALL },
		{ "127.0.0.1", BIND_ADDRESS },
		{ "0.0.0.0", BIND_ADDRESS },
		{ "::", BIND_ADDRESS },
		{ "::1", BIND_ADDRESS },
		{ "[::1]", BIND_ADDRESS },
		{ "", -1 },
		{ "example.com", -1 },
		{ "127.0.0.1:80", -1 },
		{ "eth0", -1 },
		{ "[127.0.0.1]", -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(binds); i++) {
		enum bind_type type = BIND_DEFAULT;
		struct address bind;
		struct error err;
		int ret = bind_parse(&type, &bind, binds[i].text, &err);

		is_int(ret < 0 ? -1 : (int)type, binds[i].type, "bind to \"%s\"", binds[i].text);
		if (ret < 0)
			is_int(err.reason, REASON_INVALID, "\"%s\" is invalid", binds[i].text);
		else
			is_int(bind.family != AF_UNSPEC, type == BIND_ADDRESS,
			       "\"%s\": an address or none", binds[i].text);
	}
}

/* What forward.add takes for "listen". */
static void test_listeners(void)
{
	static const struct {
		const char *text, *want; /* NULL: refused */
	} listeners[] = {
		{ "127.0.0.1:8080", "127.0.0.1 8080" },
		{ "127.0.0.1:0", "127.0.0.1 0" },
		{ "[::1]:8080", "::1 8080" },
		{ "localhost:0", "localhost 0" },
		{ "*:80", "* 80" },
		{ ":80", "default 80" },
		{ ":0", "default 0" },
		{ "8080", "default 8080" },
		{ "unix:/run/a:b", "unix /run/a:b" },
		{ "unix:a", NULL },
		{ "unix:", NULL },
		{ "127.0.0.1:65536", NULL },
		{ "127.0.0.1:-1", NULL },
		{ "127.0.0.1:http", NULL },
		{ "::1:80", NULL },
		{ "1:2:3", NULL },
		{ "example.com:80", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(listeners); i++) {
		struct forward_spec spec = { .network = NETWORK_TCP };
		_cleanup_free_ char *got = NULL, *want = NULL;
		struct error err;
		int ret = listener_parse(&spec, listeners[i].text, &err);

		if (listeners[i].want == NULL) {
			ok(ret < 0, "listen on \"%s\": refused", listeners[i].text);
			is_int(err.reason, REASON_INVALID, "\"%s\" is invalid", listeners[i].text);
		} else {
			got = describe(&spec);
			want = xasprintf("%s tcp localhost:0", listeners[i].want);
			is_str(got, want, "listen on \"%s\"", listeners[i].text);
		}
		forward_spec_clear(&spec);
	}
}

/* Whether one can take the other's socket over. */
static const struct {
	const char *a, *b;
	bool same;
} locals[] = {
	{ "8080:80", "8080:81", true },
	{ "8080:80", "8080:unix:/a", true },
	{ "8080:80", "8081:80", false },
	{ ":80", ":80", false },
	{ "8080:80", "*:8080:80", false },
	{ "127.0.0.1:8080:80", "127.0.0.1:8080:81", true },
	{ "127.0.0.1:8080:80", "127.0.0.2:8080:80", false },
	{ "unix:/a:80", "unix:/a:81", true },
	{ "unix:/a:80", "unix:/b:80", false },
	{ "5300:53/udp", "5300:53/udp", false },
	{ "5300:53/udp", "5300:53", false },
};

static void test_same_local(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(locals); i++) {
		struct forward_spec a, b;

		forward_spec_parse(&a, locals[i].a, NULL);
		forward_spec_parse(&b, locals[i].b, NULL);
		ok(forward_spec_same_local(&a, &b) == locals[i].same &&
			   forward_spec_same_local(&b, &a) == locals[i].same,
		   "%s and %s", locals[i].a, locals[i].b);
		forward_spec_clear(&a);
		forward_spec_clear(&b);
	}
}

static const struct {
	const char *text, *remote;
} remotes[] = {
	{ "8080:80", "80" },
	{ "8080:10.0.0.5:80", "10.0.0.5:80" },
	{ "8080:[::1]:80", "[::1]:80" },
	{ "5300:53/udp", "53/udp" },
	{ "8080:unix:/run/a.sock", "unix:/run/a.sock" },
};

static void test_remotes(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(remotes); i++) {
		struct forward_spec spec;
		_cleanup_free_ char *remote = NULL;

		forward_spec_parse(&spec, remotes[i].text, NULL);
		remote = forward_spec_remote(&spec);
		is_str(remote, remotes[i].remote, "the remote side of %s", remotes[i].text);
		forward_spec_clear(&spec);
	}
}

int main(void)
{
	test_forwards();
	test_listeners();
	test_messages();
	test_long_paths();
	test_binds();
	test_same_local();
	test_remotes();
	return done_testing();
}
