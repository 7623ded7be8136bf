/* SPDX-License-Identifier: MIT */
/*
 * Small things every file needs: allocation that cannot fail, strict number
 * parsing, escaping of untrusted text, the clock.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "util.h"

void *xcheck(void *p)
{
	static const char text[] = "vzfwd: out of memory\n";

	if (p)
		return p;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0) {
		/* there is nobody left to tell */
	}
	abort();
}

uint32_t hash_bytes(uint32_t hash, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 16777619u;
	return hash;
}

void *xmalloc(size_t size)
{
	return xcheck(malloc(size ? size : 1));
}

void *xcalloc(size_t n, size_t size)
{
	return xcheck(n && size ? calloc(n, size) : calloc(1, 1));
}

void *xrealloc(void *p, size_t size)
{
	return xcheck(realloc(p, size ? size : 1));
}

char *xstrdup(const char *s)
{
	return xcheck(strdup(s));
}

char *xstrndup(const char *s, size_t n)
{
	return xcheck(strndup(s, n));
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;
	int length;

	va_start(ap, fmt);
	length = vasprintf(&s, fmt, ap);
	va_end(ap);
	return xcheck(length < 0 ? NULL : s);
}

int parse_uint(const char *s, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (!*s || s[strspn(s, "0123456789")])
		return -EINVAL;
	for (; *s; s++) {
		unsigned digit = (unsigned)(*s - '0');

		if (digit > max || value > (max - digit) / 10)
			return -ERANGE;
		value = value * 10 + digit;
	}
	*out = value;
	return 0;
}

/*
 * The character that the first bytes of s[0..len), len > 0, are: its length (1..4), or 0 if
 * they are not well-formed UTF-8 (overlong forms and surrogates included).
 */
static size_t decode_utf8(const char *s, size_t len, uint32_t *character)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *bytes = (const unsigned char *)s;
	uint32_t c;
	size_t n;

	c = bytes[0];
	if (c < 0x80) {
		*character = c;
		return 1;
	}
	if (c < 0xc0 || c > 0xf7)
		return 0;
	n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (len < n)
		return 0;
	c &= 0x7fu >> n;
	for (size_t i = 1; i < n; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (bytes[i] & 0x3f);
	}
	if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*character = c;
	return n;
}

/*
 * True for characters that are no text of their own but act on what is around
 * them: controls (Cc), format characters (Cf: bidi, zero-width, tags) and the
 * line and paragraph separators (Zl, Zp).
 */
static bool is_steering(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0x0000, 0x001f },   { 0x007f, 0x009f },   { 0x00ad, 0x00ad },
		{ 0x0600, 0x0605 },   { 0x061c, 0x061c },   { 0x06dd, 0x06dd },
		{ 0x070f, 0x070f },   { 0x0890, 0x0891 },   { 0x08e2, 0x08e2 },
		{ 0x180e, 0x180e },   { 0x200b, 0x200f },   { 0x2028, 0x202e },
		{ 0x2060, 0x206f },   { 0xfeff, 0xfeff },   { 0xfff9, 0xfffb },
		{ 0x110bd, 0x110bd }, { 0x110cd, 0x110cd }, { 0x13430, 0x1343f },
		{ 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a }, { 0xe0000, 0xe007f },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges) && c >= ranges[i].first; i++) {
		if (c <= ranges[i].last)
			return true;
	}
	return false;
}

/* Escapes bytes that are not UTF-8, and characters that steer if told so. */
static char *escape(char *dst, size_t size, const char *src, size_t len, bool steering)
{
	static const char hex[] = "0123456789abcdef";
	char *out = dst, *end = dst + size - 1;

	while (len > 0) {
		uint32_t c;
		size_t n = decode_utf8(src, len, &c);
		bool plain = n > 0 && !(steering && is_steering(c));

		if (n == 0)
			n = 1;
		if ((size_t)(end - out) < (plain ? n : 4 * n))
			break;
		for (size_t i = 0; i < n; i++) {
			unsigned char byte = (unsigned char)src[i];

			if (plain) {
				*out++ = src[i];
				continue;
			}
			*out++ = '\\';
			*out++ = 'x';
			*out++ = hex[byte >> 4];
			*out++ = hex[byte & 15];
		}
		src += n;
		len -= n;
	}
	*out = '\0';
	return dst;
}

char *escape_text_n(char *dst, size_t size, const char *src, size_t len)
{
	return escape(dst, size, src, len, true);
}

char *escape_text(char *dst, size_t size, const char *src)
{
	return escape_text_n(dst, size, src, strlen(src));
}

char *escape_bytes(const char *src, size_t len)
{
	size_t size = 4 * len + 1;

	return escape(xmalloc(size), size, src, len, true);
}

char *escape_not_utf8(const char *src, size_t len)
{
	size_t size = 4 * len + 1;

	return escape(xmalloc(size), size, src, len, false);
}

char *put_uint(char *at, uint64_t n)
{
	char digits[UINT_TEXT_MAX];
	size_t i = sizeof(digits);

	do
		digits[--i] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	memcpy(at, digits + i, sizeof(digits) - i);
	at += sizeof(digits) - i;
	*at = '\0';
	return at;
}

char *format_time(char out[TIME_TEXT_MAX])
{
	struct timespec now;
	struct tm tm;
	size_t length;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	length = strftime(out, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + length, TIME_TEXT_MAX - length, ".%03dZ", (int)(now.tv_nsec / 1000000));
	return out;
}

int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool name_is_valid(const char *s)
{
	static const char first[] =
		"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	size_t length = strlen(s);

	if (length < 1 || length > 253 || !strchr(first, s[0]))
		return false;
	for (size_t i = 1; i < length; i++) {
		if (!strchr(first, s[i]) && !strchr("._-", s[i]))
			return false;
	}
	return true;
}

bool host_name_is_valid(const char *name)
{
	size_t label = 0, length = strlen(name);
	const char *last = strrchr(name, '.');

	if (length == 0 || length > 253)
		return false;
	last = last != NULL ? last + 1 : name;
	if (last[strspn(last, "0123456789")] == '\0')
		return false;
	for (size_t i = 0; i <= length; i++) {
		char c = name[i];

		if (c == '.' || c == '\0') {
			if (label == 0 || label > 63 || name[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    !(c == '-' && label > 0))
			return false;
		label++;
	}
	return true;
}
