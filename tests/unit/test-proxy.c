/* SPDX-License-Identifier: MIT */
/* The proxy's texts: what is a request and what is none, where a body ends, who may come in, and the settings. */
#include "config.h"

#include <fcntl.h>
#include <unistd.h>

#include "proxy/auth.h"
#include "proxy/forward-http.h"
#include "proxy/pac.h"
#include "proxy/socks.h"
#include "tap.h"

static struct http_request request;

/* The request is there until the next call. */
static bool parses(const char *head)
{
	static char text[HTTP_HEAD_MAX + 1];
	size_t size = strlen(head);

	memcpy(text, head, size);
	return http_head_size(text, size, 0) == size && http_parse(text, size, &request, NULL) == 0;
}

static void check_hosts(void)
{
	static const struct {
		const char *line, *host;
		unsigned port;
		const char *path;
	} lines[] = {
		{ "CONNECT web:443", "web", 443, NULL },
		{ "CONNECT [::1]:443", "[::1]", 443, NULL },
		{ "GET http://web", "web", 80, "/" },
		{ "GET http://web/", "web", 80, "/" },
		{ "GET HTTP://web:81/a?b:c@d", "web", 81, "/a?b:c@d" },
		{ "GET http://web:/a", "web", 80, "/a" },
		{ "GET http://[::1]/a", "[::1]", 80, "/a" },
		{ "GET http://web?a=b", "web", 80, "/?a=b" },
		{ "GET http://[::1]:81?", "[::1]", 81, "/?" },
		{ "OPTIONS http://web", "web", 80, "*" },
		{ "OPTIONS http://web?a", "web", 80, "/?a" },
	};
	static const char *const bad[] = {
		"CONNECT web",          "CONNECT :80",      "CONNECT web:0",    "CONNECT web:65536",
		"CONNECT web:80x",      "CONNECT web:-1",   "CONNECT [::1",     "CONNECT [::1]x:80",
		"CONNECT me@web:80",    "CONNECT ::1:80",   "GET http://",      "GET http:///a",
		"GET http://web:x/",    "GET https://web/", "GET ftp://web/",   "GET web/",
		"GET http://me:p@web/", "GET http://web#a", "G ET http://web/", "GET  http://web/",
		"GET http://?a",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		_cleanup_free_ char *head = xasprintf("%s HTTP/1.1\r\n\r\n", lines[i].line);

		ok(parses(head), "%s", lines[i].line);
		is_str(request.host, lines[i].host, "%s: the host", lines[i].line);
		is_int(request.port, lines[i].port, "%s: the port", lines[i].line);
		if (lines[i].path != NULL)
			is_str(request.path, lines[i].path, "%s: the path", lines[i].line);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_free_ char *head = xasprintf("%s HTTP/1.1\r\n\r\n", bad[i]);

		ok(!parses(head), "not %s", bad[i]);
	}
}

static void check_fields(void)
{
	_cleanup_free_ char *credentials = NULL, *none = NULL, *bad = NULL;

	ok(parses("GET / HTTP/1.1\nA: \t b c \nhost:x\nB:\nb: 1\n\n"),
	   "lines that end in a newline");
	is_str(http_field(&request, "a"), "b c", "spaces around a value");
	is_str(http_field(&request, "Host"), "x", "names in any case");
	ok(http_field(&request, "B") == NULL, "a field that is there twice is not one");
	none = http_credentials(&request);
	ok(none == NULL, "no user");
	parses("GET / HTTP/1.1\r\nProxy-Authorization: basic  dXNlcjpwYXM6c3dvcmQ=\r\n\r\n");
	credentials = http_credentials(&request);
	is_str(credentials, "user:pas:sword", "a user and a password");
	parses("GET / HTTP/1.1\r\nProxy-Authorization: Basic dXNlcgBw\r\n\r\n");
	bad = http_credentials(&request);
	ok(bad == NULL, "a NUL in them");
	for (const char *const *text =
		     (const char *const[]){ "dXN", "d", "dX N", "====", "dXNl====", NULL };
	     *text != NULL; text++) {
		_cleanup_free_ char *head =
			xasprintf("GET / HTTP/1.1\r\nProxy-Authorization: Basic %s\r\n\r\n", *text);
		_cleanup_free_ char *got = NULL;

		parses(head);
		got = http_credentials(&request);
		if (strcmp(*text, "dXN") == 0)
			is_str(got, "us", "base64 without its padding");
		else
			ok(got == NULL, "not base64: %s", *text);
	}
}

/* How much of it belongs to a body in chunks, fed byte by byte; -1 for what is none. */
static int chunks_end(const char *text)
{
	struct http_body body = { .state = HTTP_CHUNK_SIZE };
	int end = 0;

	for (; *text != '\0' && body.state != HTTP_BODY_DONE; text++) {
		ssize_t n = http_body_feed(&body, text, 1);

		if (n < 0)
			return -1;
		end += (int)n;
	}
	return body.state == HTTP_BODY_DONE ? end : -2;
}

static void check_chunks(void)
{
	static const struct {
		const char *text;
		int end;
	} bodies[] = {
		{ "0\r\n\r\nrest", 5 },
		{ "0\n\nrest", 3 },
		{ "a;x=\"y\"\r\n0123456789\r\n00\r\nA: b\r\nC: d\r\n\r\nrest", 39 },
		{ "A\r\n0123456789\r\n", -2 },
		{ "\r\n", -1 },
		{ ";x\r\n", -1 },
		{ "-1\r\n", -1 },
		{ "0x1\r\n", -1 },
		{ "1\r\nab\r\n", -1 },
		{ "0\r\n\rx", -1 },
		{ "1000000000000000\r\n", -1 },
		{ "fffffffffffffff\r\n", -2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		is_int(chunks_end(bodies[i].text), bodies[i].end, "chunks, %zu", i);
}

static int read_users(struct auth *auth, const char *text)
{
	char path[] = "/tmp/test-proxy.XXXXXX";
	int fd = mkstemp(path), rc;

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
	rc = auth_read(auth, path, NULL);
	unlink(path);
	return rc;
}

static void check_users(void)
{
	struct auth auth = { 0 };

	is_int(read_users(&auth, "a:b:c\n\nuser:\nlast:one"), 0, "users");
	ok(auth_allows(&auth, "a:b:c") && auth_allows(&auth, "user:") &&
		   auth_allows(&auth, "last:one"),
	   "each of them");
	ok(!auth_allows(&auth, NULL) && !auth_allows(&auth, "") && !auth_allows(&auth, "a:b") &&
		   !auth_allows(&auth, "user") && !auth_allows(&auth, "last:onf"),
	   "and nobody else");
	auth_clear(&auth);
	for (const char *const *text =
		     (const char *const[]){ "", "\n\n", "user", ":password", "a:b\nc", NULL };
	     *text != NULL; text++) {
		ok(read_users(&auth, *text) < 0, "no users: \"%s\"", *text);
		auth_clear(&auth);
	}
}

static void check_settings(void)
{
	struct pod pods[] = { { .name = (char *)"Web" }, { .name = (char *)"d-b.1" } };
	_cleanup_free_ char *open = pac_format("[::1]:1080", false, pods, 2);
	_cleanup_free_ char *closed = pac_format("127.0.0.1:1", true, NULL, 0);

	ok(strstr(open, "\"web\": 1,") != NULL && strstr(open, "\"d-b.1\": 1\n") != NULL,
	   "pods, as browsers write them");
	ok(strstr(open, "\"SOCKS5 [::1]:1080; PROXY [::1]:1080\"") != NULL, "SOCKS and HTTP");
	ok(strstr(closed, "\"PROXY 127.0.0.1:1\"") != NULL, "HTTP alone with a password");
}

static void check_replies(void)
{
	struct address v6 = { .family = AF_INET6, .port = 258, .v6 = in6addr_loopback };
	uint8_t out[SOCKS_REPLY_MAX];

	is_int((int)socks_put_reply(out, SOCKS_SUCCEEDED, &v6), 22, "a reply with an IPv6 address");
	ok(memcmp(out, "\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\1\2", 22) == 0, "and its bytes");
	is_int((int)socks_put_reply(out, SOCKS_REFUSED, NULL), 10, "one without");
	ok(memcmp(out, "\5\5\0\1\0\0\0\0\0\0", 10) == 0, "and its bytes");
}

int main(void)
{
	check_hosts();
	check_fields();
	check_chunks();
	check_users();
	check_settings();
	check_replies();
	return done_testing();
}
