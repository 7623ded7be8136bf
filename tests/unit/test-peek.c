/* SPDX-License-Identifier: MIT */
/*
 * Names in the first bytes: of programs' own ClientHellos (the fuzzer's corpus) whole, in part and cut into records in
 * every way, and of HTTP requests.
 */
#include "config.h"

#include "egress/peek.h"
#include "lib/util.h"
#include "tests/tap.h"

static const char *const peeks[] = { "more", "name", "none", "bad" };

/* Each of the bytes that are looked at is in memory of its own, for ASan. */
static enum peek peek(const void *data, size_t size, char name[DOMAIN_NAME_MAX + 1])
{
	_cleanup_free_ uint8_t *copy = xmalloc(size + 1);

	memcpy(copy, data, size);
	return peek_name(copy, size, name);
}

/* What the bytes are, and the name; and that none but all of them say so. */
static void is_peek(const uint8_t *data, size_t size, enum peek want, const char *want_name,
		    const char *what)
{
	char name[DOMAIN_NAME_MAX + 1];
	bool early = false;

	is_str(peeks[peek(data, size, name)], peeks[want], "%s", what);
	is_str(name, want_name, "%s: the name", what);
	for (size_t i = 0; i < size && !early; i++) {
		enum peek part = peek(data, i, name);

		early = part == PEEK_NAME || (part != PEEK_MORE && part != want);
	}
	ok(!early || want == PEEK_MORE, "%s: nothing else is said too early", what);
}

static size_t read_corpus(const char *name, uint8_t out[PEEK_MAX])
{
	const char *top = getenv("abs_top_srcdir");
	_cleanup_free_ char *path =
		xasprintf("%s/tests/fuzz/corpus-peek/%s", top != NULL ? top : ".", name);
	FILE *file = fopen(path, "rb");
	size_t size;

	if (file == NULL) {
		perror(path);
		exit(1);
	}
	size = fread(out, 1, PEEK_MAX, file);
	fclose(file);
	return size;
}

static const struct {
	const char *file;
	enum peek peek;
	const char *name;
} corpus[] = {
	{ "openssl-tls13", PEEK_NAME, "a.example" },
	{ "curl-http2", PEEK_NAME, "a.example" },
	{ "go-tls13", PEEK_NAME, "a.example" },
	{ "python-tls12", PEEK_NAME, "a.example" },
	{ "python-tls13-no-name", PEEK_NONE, "" },
	{ "tls-grease-ech", PEEK_NAME, "a.example" },
	{ "tls-no-extensions", PEEK_NONE, "" },
	{ "tls-two-names", PEEK_BAD, "" },
	{ "tls-list-of-two", PEEK_BAD, "" },
	{ "tls-nul", PEEK_BAD, "" },
	{ "tls-address", PEEK_NONE, "" },
	{ "tls-empty-name", PEEK_BAD, "" },
};

/* One record's handshake, cut into records of `part` bytes. */
static size_t cut(const uint8_t *record, size_t size, size_t part, uint8_t *out)
{
	size_t done = 0;

	for (size_t at = 5; at < size; at += part) {
		size_t length = size - at < part ? size - at : part;

		memcpy(out + done, record, 3);
		out[done + 3] = (uint8_t)(length >> 8);
		out[done + 4] = (uint8_t)length;
		memcpy(out + done + 5, record + at, length);
		done += 5 + length;
	}
	return done;
}

static void test_hellos(void)
{
	static uint8_t data[PEEK_MAX], parts[8 * PEEK_MAX];
	char name[DOMAIN_NAME_MAX + 1];

	for (size_t i = 0; i < ARRAY_SIZE(corpus); i++) {
		size_t size = read_corpus(corpus[i].file, data), wrong = 0;

		is_peek(data, size, corpus[i].peek, corpus[i].name, corpus[i].file);
		for (size_t part = 2; part < size - 5; part++) {
			size_t all = cut(data, size, part, parts);

			if (all <= PEEK_MAX && (peek(parts, all, name) != corpus[i].peek ||
						strcmp(name, corpus[i].name) != 0))
				wrong++;
		}
		is_int(wrong, 0, "%s: in records of any size", corpus[i].file);
	}
}

static void test_records(void)
{
	static uint8_t data[PEEK_MAX + 1];
	char name[DOMAIN_NAME_MAX + 1];
	size_t size = read_corpus("tls-fragments", data);

	is_peek(data, size, PEEK_NAME, "a.example", "seven bytes a record");
	data[12] = 23;
	is_str(peeks[peek(data, size, name)], "bad", "another record in between");
	size = read_corpus("tls-two-messages", data);
	is_str(peeks[peek(data, size, name)], "name", "what follows the hello is no matter");
	size = read_corpus("openssl-tls13", data);
	data[size - 1]++;
	is_str(peeks[peek(data, size, name)], "name", "nor are other extensions");
	data[5] = 2;
	is_str(peeks[peek(data, size, name)], "bad", "another message");
	data[5] = 1;
	data[6] = 1;
	is_str(peeks[peek(data, size, name)], "bad", "a message that is too long");
	data[6] = 0;
	data[4]++;
	is_str(peeks[peek(data, size, name)], "name", "a longer record that has not come whole");
	data[8]++;
	is_str(peeks[peek(data, size, name)], "more", "a longer message that has not either");
	data[3] = data[4] = 0;
	is_str(peeks[peek(data, size, name)], "bad", "an empty record");
	data[3] = 0x40;
	data[4] = 1;
	is_str(peeks[peek(data, size, name)], "bad", "a record that is too long");
	memset(data, 0, sizeof(data));
	memcpy(data, "\x16\x03\x01\x40\x00\x01\x00\x3f\xfc", 9);
	is_str(peeks[peek(data, PEEK_MAX - 1, name)], "more", "not all of a long hello");
	is_str(peeks[peek(data, PEEK_MAX, name)], "bad", "the longest that is looked at");
	is_str(peeks[peek(data, PEEK_MAX + 1, name)], "bad", "and more");
}

static const struct {
	const char *text;
	enum peek peek;
	const char *name;
} requests[] = {
	{ "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", PEEK_NAME, "a.example" },
	{ "GET / HTTP/1.1\nhost:A.Example.\n\n", PEEK_NAME, "a.example" },
	{ "\r\n\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n", PEEK_NAME, "a.example" },
	{ "POST /x HTTP/1.0\r\nA: b\r\nHost:\ta.example:8080 \r\n\r\n", PEEK_NAME, "a.example" },
	{ "GET / HTTP/1.1\r\nHost: a.example:\r\n\r\n", PEEK_NAME, "a.example" },
	{ "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", PEEK_NAME, "a.example" },
	{ "GET HTTP://A.example:80?x HTTP/1.1\r\nHost: a.EXAMPLE\r\n\r\n", PEEK_NAME, "a.example" },
	{ "GET http://a.example/ HTTP/1.0\r\n\r\n", PEEK_NAME, "a.example" },
	{ "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", PEEK_NAME, "a.example" },
	{ "CONNECT b.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", PEEK_BAD, "" },
	{ "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", PEEK_BAD, "" },
	{ "GET http://1.1.1.1/ HTTP/1.1\r\nHost: a.example\r\n\r\n", PEEK_BAD, "" },
	{ "GET http://a.example/ HTTP/1.1\r\nHost:\r\n\r\n", PEEK_BAD, "" },
	{ "GET http://me@a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", PEEK_BAD, "" },
	{ "GET / HTTP/1.1\r\nHost: a.example\r\nhost: a.example\r\n\r\n", PEEK_BAD, "" },
	{ "GET / HTTP/1.1\r\nHost: a.example\r\nHost:\r\n\r\n", PEEK_BAD, "" },
	{ "GET / HTTP/1.1\r\nHost:\r\n a.example\r\n\r\n", PEEK_BAD, "" },
	{ "GET / HTTP/1.1\r\nHost : a.example\r\n\r\n", PEEK_BAD, "" },
	{ "GET / HTTP/1.1\r\nHost: a.example\rHost: b.example\r\n\r\n", PEEK_BAD, "" },
	{ "GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n", PEEK_BAD, "" },
	{ "GET / HTTP/1.1\r\nHost: a.example:x\r\n\r\n", PEEK_BAD, "" },
	{ "GET / HTTP/1.1\r\nHost: a.example/\r\n\r\n", PEEK_BAD, "" },
	{ "GET / HTTP/1.1 \r\nHost: a.example\r\n\r\n", PEEK_BAD, "" },
	{ "GET /\xc3\xbc HTTP/1.1\r\nHost: a.example\r\n\r\n", PEEK_BAD, "" },
	{ "GET / HTTP/1.2\r\nHost: a.example\r\n\r\n", PEEK_BAD, "" },
	{ "GET / HTTP/1.1\r\nHost: 1.1.1.1:80\r\n\r\n", PEEK_NONE, "" },
	{ "GET / HTTP/1.1\r\nHost: [2606:4700::1]\r\n\r\n", PEEK_NONE, "" },
	{ "GET / HTTP/1.1\r\nHost:\r\n\r\n", PEEK_NONE, "" },
	{ "GET / HTTP/1.0\r\nA: b\r\n\r\n", PEEK_NONE, "" },
	{ "GET /\r\n", PEEK_NONE, "" },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", PEEK_NONE, "" },
	{ "SSH-2.0-OpenSSH_9.2\r\n", PEEK_NONE, "" },
	{ "\x80\x2e\x01\x03\x01", PEEK_NONE, "" },
	{ "\x15\x03\x01\x00\x02", PEEK_NONE, "" },
	{ "\x16\x02\x01", PEEK_NONE, "" },
	{ "\x13"
	  "BitTorrent protocol",
	  PEEK_NONE, "" },
	{ "\xff\xfe\x01\x02", PEEK_NONE, "" },
	{ "GET /\xc3\xa9 HTTP/1.1\r\nHost: a.b\r\n\r\n", PEEK_BAD, "" },
	{ "\x16", PEEK_MORE, "" },
	{ "", PEEK_MORE, "" },
	{ "\r\n", PEEK_MORE, "" },
	{ "GE", PEEK_MORE, "" },
	{ "GET / HTTP/1.1\r\nHost: a.example\r\n", PEEK_MORE, "" },
};

static void test_requests(void)
{
	static char head[PEEK_MAX + 64];
	char name[DOMAIN_NAME_MAX + 1];
	size_t size;

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		is_peek((const uint8_t *)requests[i].text, strlen(requests[i].text),
			requests[i].peek, requests[i].name, requests[i].text);
	is_str(peeks[peek("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 30, name)], "bad", "a NUL");
	size = (size_t)sprintf(head, "GET / HTTP/1.1\r\nHost: a.example\r\nA: ");
	memset(head + size, 'a', PEEK_MAX);
	memcpy(head + PEEK_MAX - 4, "\r\n\r\n", 4);
	is_str(peeks[peek(head, PEEK_MAX, name)], "name", "a head as long as may be");
	memcpy(head + PEEK_MAX - 4, "aaa\r\n\r\n", 7);
	is_str(peeks[peek(head, PEEK_MAX - 1, name)], "more", "a longer one that has not come");
	is_str(peeks[peek(head, PEEK_MAX + 3, name)], "bad", "a longer one");
}

static void test_names(void)
{
	char long_name[256], name[DOMAIN_NAME_MAX + 1];
	size_t size;

	for (size = 0; size < 250; size += 50) {
		memset(long_name + size, 'a', 49);
		long_name[size + 49] = '.';
	}
	memcpy(long_name + 250, "aaa", 3);
	is_int(host_name_parse(name, long_name, 253), 0, "253 bytes");
	long_name[253] = '.';
	is_int(host_name_parse(name, long_name, 254), 0, "and a dot");
	is_int(strlen(name), 253, "which is not kept");
	long_name[253] = 'a';
	ok(host_name_parse(name, long_name, 254) < 0, "254 bytes");
	memset(long_name, 'a', 64);
	is_int(host_name_parse(name, long_name, 63), 0, "a label of 63");
	ok(host_name_parse(name, long_name, 64) < 0, "a label of 64");
	ok(host_name_parse(name, ".", 1) < 0, "the root");
	ok(host_name_parse(name, "a..", 3) < 0, "two dots");
	is_int(host_name_parse(name, "1.a", 3), 0, "digits before a name");
}

int main(void)
{
	test_hellos();
	test_records();
	test_requests();
	test_names();
	return done_testing();
}
