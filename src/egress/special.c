/* SPDX-License-Identifier: MIT */
/*
 * IANA's registries of special-purpose addresses (RFC 6890), the ranges of multicast and of future use, and addresses at
 * which clouds tell virtual machines their secrets.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "special.h"

struct range {
	uint8_t bytes[16];
	uint8_t bits;
};

static const struct range ranges_v4[] = {
	{ { 0 }, 8 },                   /* this network */
	{ { 10 }, 8 },                  /* private (RFC 1918) */
	{ { 100, 64 }, 10 },            /* behind a carrier's NAT (RFC 6598) */
	{ { 100, 100, 100, 200 }, 32 }, /* metadata */
	{ { 127 }, 8 },                 /* loopback */
	{ { 168, 63, 129, 16 }, 32 },   /* metadata */
	{ { 169, 254 }, 16 },           /* link-local */
	{ { 169, 254, 169, 254 }, 32 }, /* metadata */
	{ { 169, 254, 170, 2 }, 32 },   /* metadata */
	{ { 169, 254, 170, 23 }, 32 },  /* metadata */
	{ { 172, 16 }, 12 },            /* private */
	{ { 192, 0, 0 }, 24 },          /* protocol assignments */
	{ { 192, 0, 0, 192 }, 32 },     /* metadata */
	{ { 192, 0, 2 }, 24 },          /* documentation */
	{ { 192, 88, 99 }, 24 },        /* relays of 6to4 */
	{ { 192, 168 }, 16 },           /* private */
	{ { 198, 18 }, 15 },            /* benchmarks */
	{ { 198, 51, 100 }, 24 },       /* documentation */
	{ { 203, 0, 113 }, 24 },        /* documentation */
	{ { 224 }, 4 },                 /* multicast */
	{ { 240 }, 4 },                 /* reserved */
	{ { 255, 255, 255, 255 }, 32 }, /* broadcast */
};

/* All but 2000::/3 is special, and some of that. */
static const struct range ranges_v6[] = {
	{ { 0x00 }, 3 },
	{ { 0x40 }, 2 },
	{ { 0x80 }, 1 },
	{ { 0 }, 96 },                                          /* IPv4-compatible */
	{ { [15] = 0 }, 128 },                                  /* unspecified */
	{ { [15] = 1 }, 128 },                                  /* loopback */
	{ { [8] = 0xff, 0xff }, 96 },                           /* SIIT */
	{ { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 48 },         /* NAT64 of a site */
	{ { 0x01 }, 64 },                                       /* discard */
	{ { 0x20, 0x01 }, 23 },                                 /* protocol assignments */
	{ { 0x20, 0x01, 0, 0 }, 32 },                           /* Teredo */
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32 },                     /* documentation */
	{ { 0x20, 0x02 }, 16 },                                 /* 6to4 */
	{ { 0x3f, 0xff }, 20 },                                 /* documentation */
	{ { 0x5f }, 16 },                                       /* SRv6 segments */
	{ { 0xfc }, 7 },                                        /* unique local */
	{ { 0xfd, 0x00, 0x0e, 0xc2, [14] = 0x00, 0x23 }, 128 }, /* metadata */
	{ { 0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, 0x54 }, 128 }, /* metadata */
	{ { 0xfd, 0x20, 0x00, 0xce, [14] = 0x02, 0x54 }, 128 }, /* metadata */
	{ { 0xfe, 0x80 }, 10 },                                 /* link-local */
	{ { 0xfe, 0xc0 }, 10 },                                 /* site-local */
	{ { 0xff }, 8 },                                        /* multicast */
};

/* IPv6 addresses with an IPv4 one `at` a bit. */
static const struct scheme {
	struct range range;
	uint8_t at;
	bool inverted;
	bool public; /* what it stands for decides */
} schemes[] = {
	{ { { 0x00, 0x64, 0xff, 0x9b }, 96 }, 96, false, true },
	{ { { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 48 }, 96, false, false },
	{ { { 0x20, 0x02 }, 16 }, 16, false, false },
	{ { { 0x20, 0x01, 0, 0 }, 32 }, 96, true, false },
	{ { { [8] = 0xff, 0xff }, 96 }, 96, false, false },
	{ { { 0 }, 96 }, 96, false, false },
};

static bool in_range(const struct range *range, const uint8_t *bytes)
{
	size_t whole = range->bits / 8;
	uint8_t mask = (uint8_t)(0xff00u >> range->bits % 8);

	return memcmp(range->bytes, bytes, whole) == 0 &&
	       (mask == 0 || ((range->bytes[whole] ^ bytes[whole]) & mask) == 0);
}

/* The length of the narrowest range that the address is in. */
static unsigned narrowest(const struct range *ranges, size_t count, const uint8_t *bytes)
{
	unsigned bits = 0;

	for (size_t i = 0; i < count; i++) {
		if (ranges[i].bits > bits && in_range(&ranges[i], bytes))
			bits = ranges[i].bits;
	}
	return bits;
}

static const struct scheme *find_scheme(const struct address *addr, struct address *v4)
{
	const struct scheme *scheme = schemes;
	uint8_t bytes[4];

	if (addr->family != AF_INET6)
		return NULL;
	while (!in_range(&scheme->range, addr->v6.s6_addr)) {
		if (++scheme == schemes + ARRAY_SIZE(schemes))
			return NULL;
	}
	memcpy(bytes, addr->v6.s6_addr + scheme->at / 8, sizeof(bytes));
	for (size_t i = 0; scheme->inverted && i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)~bytes[i];
	*v4 = (struct address){ .family = AF_INET, .port = addr->port };
	memcpy(&v4->v4, bytes, sizeof(bytes));
	return scheme;
}

int special_embedded(const struct address *addr, struct address *v4)
{
	return find_scheme(addr, v4) != NULL ? 0 : -ENOENT;
}

static bool is_own(const struct address *addr, const struct address *own, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (address_same_host(&own[i], addr))
			return true;
	}
	return false;
}

unsigned special_prefix(const struct address *addr, const struct address *own, size_t count)
{
	const struct scheme *scheme;
	struct address v4;
	unsigned bits, inner;

	if (is_own(addr, own, count))
		return addr->family == AF_INET ? 32 : 128;
	if (addr->family == AF_INET)
		return narrowest(ranges_v4, ARRAY_SIZE(ranges_v4), (const uint8_t *)&addr->v4);
	bits = narrowest(ranges_v6, ARRAY_SIZE(ranges_v6), addr->v6.s6_addr);
	scheme = find_scheme(addr, &v4);
	if (scheme == NULL)
		return bits;
	inner = special_prefix(&v4, own, count);
	if (inner == 0)
		return scheme->public ? 0 : bits;
	inner += scheme->at;
	return inner > bits ? inner : bits;
}
