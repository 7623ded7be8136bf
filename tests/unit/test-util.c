/* SPDX-License-Identifier: MIT */
/* Number parsing, escaping of untrusted text, names. */
#include "config.h"

#include <errno.h>

#include "lib/util.h"
#include "tests/tap.h"

static void test_parse_uint(void)
{
	static const struct {
		const char *text;
		uint64_t max;
		int result;
		uint64_t value;
	} cases[] = {
		{ "0", 65535, 0, 0 },
		{ "80", 65535, 0, 80 },
		{ "0080", 65535, 0, 80 },
		{ "65535", 65535, 0, 65535 },
		{ "65536", 65535, -ERANGE, 0 },
		{ "9", 5, -ERANGE, 0 },
		{ "0", 0, 0, 0 },
		{ "1", 0, -ERANGE, 0 },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999", UINT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999x", UINT64_MAX, -EINVAL, 0 },
		{ "", 65535, -EINVAL, 0 },
		{ "-1", 65535, -EINVAL, 0 },
		{ "+1", 65535, -EINVAL, 0 },
		{ " 1", 65535, -EINVAL, 0 },
		{ "1 ", 65535, -EINVAL, 0 },
		{ "0x10", 65535, -EINVAL, 0 },
		{ "1e3", 65535, -EINVAL, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 4711, want = cases[i].result ? 4711 : cases[i].value;
		int r = parse_uint(cases[i].text, cases[i].max, &value);

		ok(r == cases[i].result && value == want, "parse_uint \"%s\": %d, %llu",
		   cases[i].text, r, (unsigned long long)value);
	}
}

/* One character each, at the ends of what UTF-8 allows, and just beyond. */
static void test_utf8(void)
{
	static const struct {
		const char *bytes;
		bool valid;
	} cases[] = {
		{ "\x7f", true },
		{ "\xc2\x80", true },
		{ "\xdf\xbf", true },
		{ "\xe0\xa0\x80", true },
		{ "\xed\x9f\xbf", true },
		{ "\xee\x80\x80", true },
		{ "\xef\xbf\xbf", true },
		{ "\xf0\x90\x80\x80", true },
		{ "\xf4\x8f\xbf\xbf", true },
		{ "\x80", false }, /* a continuation byte alone */
		{ "\xc2", false }, /* cut short */
		{ "\xe2\x82", false },
		{ "\xf0\x9f\x98", false },
		{ "\xc2\xc2", false }, /* no continuation byte */
		{ "\xc0\x80", false }, /* overlong forms */
		{ "\xc1\xbf", false },
		{ "\xe0\x9f\xbf", false },
		{ "\xf0\x8f\xbf\xbf", false },
		{ "\xed\xa0\x80", false }, /* surrogates */
		{ "\xed\xbf\xbf", false },
		{ "\xf4\x90\x80\x80", false }, /* past the last character */
		{ "\xf7\xbf\xbf\xbf", false },
		{ "\xf8\x88\x80\x80\x80", false },
		{ "\xf9\x80\x80\x80", false },
		{ "\xff", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t length = strlen(cases[i].bytes);
		_cleanup_free_ char *text = escape_not_utf8(cases[i].bytes, length);

		if (cases[i].valid)
			is_str(text, cases[i].bytes, "UTF-8 case %zu stays as it is", i);
		else
			is_int((long long)strlen(text), (long long)(4 * length),
			       "UTF-8 case %zu is escaped byte by byte", i);
	}
}

static void test_escape(void)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "", "" },
		{ "plain text, 100 %", "plain text, 100 %" },
		{ "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
		  "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "back\\slash", "back\\slash" },
		{ "a\nb\r\tc", "a\\x0ab\\x0d\\x09c" },
		{ "\x1b[31mred\x7f", "\\x1b[31mred\\x7f" },
		{ "csi\xc2\x9b", "csi\\xc2\\x9b" },
		{ "\xe2\x80\xae"
		  "evil",
		  "\\xe2\\x80\\xaeevil" },                      /* right-to-left override */
		{ "\xe2\x81\xa6", "\\xe2\\x81\\xa6" },          /* isolate */
		{ "\xd8\x9c", "\\xd8\\x9c" },                   /* Arabic letter mark */
		{ "\xe2\x80\xa8", "\\xe2\\x80\\xa8" },          /* line separator */
		{ "\xe2\x80\x8b", "\\xe2\\x80\\x8b" },          /* zero-width space */
		{ "\xef\xbb\xbf", "\\xef\\xbb\\xbf" },          /* byte order mark */
		{ "\xf3\xa0\x81\x81", "\\xf3\\xa0\\x81\\x81" }, /* a tag character */
		{ "\xff\xc3(", "\\xff\\xc3(" },
		{ "\xe2\x80\xa7\xe2\x80\xaf", "\xe2\x80\xa7\xe2\x80\xaf" }, /* beside the range */
	};
	char buf[64];
	char *fresh;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		is_str(escape_text(buf, sizeof(buf), cases[i].text), cases[i].want,
		       "escape_text case %zu", i);
		is_str(escape_text(buf, sizeof(buf), cases[i].want), cases[i].want,
		       "escape_text case %zu twice changes nothing more", i);
	}
	is_str(escape_text(buf, 1, "abc"), "", "no room at all");
	is_str(escape_text(buf, 4, "abcdef"), "abc", "cut to fit");
	is_str(escape_text(buf, 5, "ab\n"), "ab", "an escape is not split");
	is_str(escape_text(buf, 7, "ab\n"), "ab\\x0a", "an escape just fits");
	is_str(escape_text(buf, 4, "ab\xc3\xbc"), "ab", "a character is not split");
	is_str(escape_text(buf, 8, "\xc2\x9b"), "", "nor the escapes of one character");
	is_str(escape_text_n(buf, sizeof(buf), "a\0b", 3),
	       "a\\x00"
	       "b",
	       "a NUL among the bytes");
	is_str(escape_text_n(buf, sizeof(buf), "\xe2\x82\xac", 2), "\\xe2\\x82", "not a byte more");
	fresh = escape_bytes("\0\xff\n", 3);
	is_str(fresh, "\\x00\\xff\\x0a", "escape_bytes");
	free(fresh);
	fresh = escape_not_utf8("a\0\xff\n\xe2\x80\xae", 7);
	is_mem(fresh, 11, "a\0\\xff\n\xe2\x80\xae", 11, "escape_not_utf8 leaves controls");
	free(fresh);
	fresh = escape_bytes("", 0);
	is_str(fresh, "", "escape_bytes of nothing");
	free(fresh);
}

static void test_name_is_valid(void)
{
	static const struct {
		const char *name;
		bool valid;
	} cases[] = {
		{ "a", true },         { "web-1.prod_x", true }, { "0", true },   { "A.", true },
		{ "", false },         { ".hidden", false },     { "-x", false }, { "_x", false },
		{ "a/b", false },      { "a b", false },         { "..", false }, { "a\n", false },
		{ "\xc3\xbc", false },
	};
	char name[255];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		ok(name_is_valid(cases[i].name) == cases[i].valid, "name \"%s\" is %s",
		   cases[i].name, cases[i].valid ? "valid" : "not valid");
	memset(name, 'a', sizeof(name));
	name[253] = '\0';
	ok(name_is_valid(name), "253 bytes are a name");
	name[253] = 'a';
	name[254] = '\0';
	ok(!name_is_valid(name), "254 bytes are not");
}

static void test_host_name_is_valid(void)
{
	static const struct {
		const char *name;
		bool valid;
	} cases[] = {
		{ "a", true },         { "host.vz.internal", true },
		{ "A-1.b", true },     { "1.2", false },
		{ "1.b2", true },      { "", false },
		{ ".", false },        { "a.", false },
		{ ".a", false },       { "a..b", false },
		{ "-a", false },       { "a-", false },
		{ "a.b-.c", false },   { "a_b", false },
		{ "a b", false },      { "a\n", false },
		{ "\xc3\xbc", false },
	};
	char name[255];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		ok(host_name_is_valid(cases[i].name) == cases[i].valid, "host name \"%s\" is %s",
		   cases[i].name, cases[i].valid ? "valid" : "not valid");
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 64 == 63 ? '.' : 'a';
	name[253] = '\0';
	ok(host_name_is_valid(name), "253 bytes are a host name, in labels of 63");
	name[253] = 'a';
	name[254] = '\0';
	ok(!host_name_is_valid(name), "254 bytes are not");
	memset(name, 'a', 64);
	name[64] = '\0';
	ok(!host_name_is_valid(name), "nor is a label of 64");
}

static void test_memory(void)
{
	_cleanup_free_ char *text = xasprintf("%s-%d", "pod", 7);
	_cleanup_free_ char *copy = xstrndup(text, 3);
	_cleanup_free_ char *zeros = xcalloc(4, 2);
	_cleanup_free_ void *none = xcalloc(0, 8);
	char *grown = xmalloc(0);
	int fd = 7;

	is_str(text, "pod-7", "xasprintf");
	is_str(copy, "pod", "xstrndup");
	is_mem(zeros, 8, "\0\0\0\0\0\0\0\0", 8, "xcalloc");
	ok(none && grown, "nothing is memory too");
	grown = xrealloc(grown, 6);
	memcpy(grown, "grown", 6);
	is_str(grown, "grown", "xrealloc");
	grown = xrealloc(grown, 0);
	ok(grown, "xrealloc to nothing");
	free(grown);
	grown = xstrdup("copy");
	is_str(grown, "copy", "xstrdup");
	free(grown);
	is_int(steal_fd(&fd), 7, "steal_fd gives the descriptor");
	is_int(fd, -1, "and leaves -1");
}

static void test_put_uint(void)
{
	static const uint64_t numbers[] = { 0, 7, 10, 99, 255, 65535, 1ULL << 32, UINT64_MAX };
	char text[UINT_TEXT_MAX + 1], want[UINT_TEXT_MAX + 1];

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		const char *end = put_uint(text, numbers[i]);

		snprintf(want, sizeof(want), "%llu", (unsigned long long)numbers[i]);
		is_str(text, want, "digits");
		ok(end == text + strlen(want), "and where they end");
	}
}

int main(void)
{
	test_put_uint();
	int64_t before = now_ms();

	test_parse_uint();
	test_utf8();
	test_escape();
	test_name_is_valid();
	test_host_name_is_valid();
	test_memory();
	ok(now_ms() >= before && before > 0, "the clock goes forward");
	return done_testing();
}
