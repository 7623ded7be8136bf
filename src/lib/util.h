/* SPDX-License-Identifier: MIT */
/*
 * Small things every file needs: cleanup attributes, allocation that cannot
 * fail, strict number parsing, escaping of untrusted text, the clock.
 */
#ifndef VZFWD_UTIL_H
#define VZFWD_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* From a member, as a callback gets it, to the struct that it is in. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define _cleanup_free_ __attribute__((cleanup(cleanup_free)))
#define _cleanup_close_ __attribute__((cleanup(cleanup_close)))

/* FNV-1a, from HASH_START or the hash of what comes before; its low bits are to be used behind hash_bits(). */
#define HASH_START 2166136261u
uint32_t hash_bytes(uint32_t hash, const void *data, size_t size);
static inline uint32_t hash_bits(uint32_t hash)
{
	return hash ^ hash >> 16;
}

/* Allocation: these print one line and abort(3) when memory is out; never NULL. */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* p, for who allocates in other ways (json_pack): as above if it is NULL. */
void *xcheck(void *p);

/* Gives the fd away: returns it and leaves -1 behind. */
static inline int steal_fd(int *fd)
{
	int f = *fd;

	*fd = -1;
	return f;
}

/*
 * Parses all of `s` as an unsigned decimal number (digits only: no sign, no
 * space, no 0x) that is at most `max`. 0 or -EINVAL (not a number) or -ERANGE.
 */
int parse_uint(const char *s, uint64_t max, uint64_t *out);

/*
 * Copies `src` (any bytes, NUL-terminated) into dst of `size` bytes, always
 * terminated, with what could steer a terminal made visible: C0, DEL, C1,
 * Unicode bidi and other format controls, line separators and bytes that are
 * not UTF-8 become \xNN (each byte of the character); a backslash stays as it is.
 * Never splits an escape or a character. Returns dst.
 */
char *escape_text(char *dst, size_t size, const char *src);

/* The same for `len` bytes, NULs among them. */
char *escape_text_n(char *dst, size_t size, const char *src, size_t len);

/* The same for `len` bytes, into fresh memory. */
char *escape_bytes(const char *src, size_t len);

/* Only what is not UTF-8 becomes \xNN: text for JSON. Fresh memory. */
char *escape_not_utf8(const char *src, size_t len);

/* Writes decimal digits and a NUL, like stpcpy(3); snprintf(3) costs twenty times as much. */
#define UINT_TEXT_MAX 20 /* digits */
char *put_uint(char *at, uint64_t n);

/* CLOCK_MONOTONIC in milliseconds. */
int64_t now_ms(void);

/* Now, as RFC 3339 has it: "2026-11-22T08:30:00.123Z". Returns out. */
#define TIME_TEXT_MAX 40
char *format_time(char out[TIME_TEXT_MAX]);

/* True if `s` matches [A-Za-z0-9][A-Za-z0-9._-]{0,252}: pod names, handles, container IDs. */
bool name_is_valid(const char *s);

/*
 * True for a name that DNS and hosts files can have: letters, digits and hyphens in labels of at most 63, 253 in all, the last one
 * of more than digits (RFC 1123, 2.1): else it would be taken for an address.
 */
bool host_name_is_valid(const char *name);

#endif
