/* SPDX-License-Identifier: MIT */
/*
 * TAP for the unit tests in C: checks print "ok"/"not ok" lines at once, and
 * done_testing() the plan. No assertion ends the test, so that one run tells all.
 *
 *	int main(void)
 *	{
 *		is_int(parse("80"), 80, "a bare port");
 *		return done_testing();
 *	}
 */
#ifndef VZFWD_TAP_H
#define VZFWD_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAP_PRINTF(fmt, args) __attribute__((unused, format(printf, fmt, args)))

static int tap_run, tap_failed;

/* One TAP line; the name may hold no newline and no '#', which would be a directive. */
TAP_PRINTF(2, 0) static bool tap_vresult(bool passed, const char *fmt, va_list ap)
{
	char name[512];

	vsnprintf(name, sizeof(name), fmt, ap);
	for (char *p = name; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
		else if (*p == '#')
			*p = '%';
	}
	tap_run++;
	if (!passed)
		tap_failed++;
	printf("%sok %d - %s\n", passed ? "" : "not ", tap_run, name);
	fflush(stdout);
	return passed;
}

/* A comment line: "# …". */
TAP_PRINTF(1, 2) static void diag(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("# ", stdout);
	vprintf(fmt, ap);
	putchar('\n');
	fflush(stdout);
	va_end(ap);
}

/* Bytes for a diagnosis: printable as they are, the others as \xNN, cut after 200. */
static inline void tap_diag_bytes(const char *label, const void *data, size_t length)
{
	const unsigned char *bytes = data;

	printf("# %s: ", label);
	if (!data) {
		puts("NULL");
		return;
	}
	putchar('"');
	for (size_t i = 0; i < length && i < 200; i++) {
		if (bytes[i] < ' ' || bytes[i] > '~')
			printf("\\x%02x", bytes[i]);
		else
			putchar(bytes[i]);
	}
	printf("\"%s (%zu bytes)\n", length > 200 ? "..." : "", length);
}

/* All checks return whether they passed. */
TAP_PRINTF(2, 3) static bool ok(bool passed, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tap_vresult(passed, fmt, ap);
	va_end(ap);
	return passed;
}

TAP_PRINTF(3, 4) static bool is_int(long long got, long long want, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (!tap_vresult(got == want, fmt, ap))
		diag("got %lld, want %lld", got, want);
	va_end(ap);
	return got == want;
}

/* Either may be NULL. */
TAP_PRINTF(3, 4) static bool is_str(const char *got, const char *want, const char *fmt, ...)
{
	bool same = got && want ? strcmp(got, want) == 0 : got == want;
	va_list ap;

	va_start(ap, fmt);
	if (!tap_vresult(same, fmt, ap)) {
		tap_diag_bytes(" got", got, got ? strlen(got) : 0);
		tap_diag_bytes("want", want, want ? strlen(want) : 0);
	}
	va_end(ap);
	return same;
}

/* memcmp(3) may not be given NULL, not even for no bytes. */
static bool tap_same(const unsigned char *a, const unsigned char *b, size_t length)
{
	while (length > 0 && *a == *b) {
		a++;
		b++;
		length--;
	}
	return length == 0;
}

TAP_PRINTF(5, 6)
static bool is_mem(const void *got, size_t got_length, const void *want, size_t want_length,
		   const char *fmt, ...)
{
	bool same = got_length == want_length && tap_same(got, want, got_length);
	va_list ap;

	va_start(ap, fmt);
	if (!tap_vresult(same, fmt, ap)) {
		tap_diag_bytes(" got", got, got_length);
		tap_diag_bytes("want", want, want_length);
	}
	va_end(ap);
	return same;
}

/* A check that can't run here: counted as passed, with the reason named. */
TAP_PRINTF(1, 2) static void skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("ok %d # SKIP ", ++tap_run);
	vprintf(fmt, ap);
	putchar('\n');
	fflush(stdout);
	va_end(ap);
}

/* A whole test program that can't run here: called before any check, and returned from main. */
TAP_PRINTF(1, 2) static int skip_all(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("1..0 # SKIP ", stdout);
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
	return 0;
}

/* Prints the plan; the exit status for main. */
__attribute__((unused)) static int done_testing(void)
{
	printf("1..%d\n", tap_run);
	if (tap_failed)
		diag("%d of %d checks failed", tap_failed, tap_run);
	fflush(stdout);
	return tap_failed || tap_run == 0 ? 1 : 0;
}

#endif
