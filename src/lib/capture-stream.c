/* SPDX-License-Identifier: MIT */
/* Packets are raw IP (LINKTYPE_RAW), with the headers of RFC 791, 8200, 9293 and 768 and right checksums. */
#include "config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "capture-file.h"
#include "endpoint.h"

#define SEGMENT_MAX 32768 /* bytes of a stream in one packet */

#define PORT_UNKNOWN 1

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10

struct capture_stream {
	struct tap tap; /* the first member */
	TAILQ_ENTRY(capture_stream) next;
	struct capture *capture; /* NULL: it was closed */
	enum capture_type type;
	struct address address[2]; /* of the client, the target; of one family */
	uint32_t seq[2];
	bool ended[2], over;
};

static void put16(uint8_t *at, size_t n)
{
	at[0] = (uint8_t)(n >> 8);
	at[1] = (uint8_t)n;
}

static void put32(uint8_t *at, uint32_t n)
{
	put16(at, n >> 16);
	put16(at + 2, n & 0xffff);
}

/* RFC 1071. What is summed up in pieces has them of even length, but for the last. */
static uint32_t sum_up(uint32_t sum, const uint8_t *data, size_t size)
{
	uint64_t total = sum;

	for (size_t i = 0; i + 1 < size; i += 2)
		total += (uint32_t)data[i] << 8 | data[i + 1];
	if (size & 1)
		total += (uint32_t)data[size - 1] << 8;
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint32_t)total;
}

/* The IP header for so much behind it; returns its size, and in *sum the sum of the pseudo-header. */
static size_t put_ip(struct capture_stream *s, int from, size_t size, uint32_t *sum)
{
	uint8_t *ip = s->capture->packet, tail[4] = { 0 };
	const struct address *src = &s->address[from], *dst = &s->address[!from];
	uint8_t protocol = s->type == CAPTURE_TCP ? IPPROTO_TCP : IPPROTO_UDP;
	size_t header = src->family == AF_INET ? 20 : 40;

	memset(ip, 0, header);
	tail[1] = protocol;
	put16(tail + 2, size);
	if (src->family == AF_INET) {
		ip[0] = 0x45;
		put16(ip + 2, header + size);
		put16(ip + 4, ++s->capture->ip_id);
		put16(ip + 6, 0x4000); /* don't fragment */
		ip[8] = 64;
		ip[9] = protocol;
		memcpy(ip + 12, &src->v4, 4);
		memcpy(ip + 16, &dst->v4, 4);
		put16(ip + 10, ~sum_up(0, ip, header) & 0xffff);
		*sum = sum_up(0, ip + 12, 8);
	} else {
		ip[0] = 0x60;
		put16(ip + 4, size);
		ip[6] = protocol;
		ip[7] = 64;
		memcpy(ip + 8, &src->v6, 16);
		memcpy(ip + 24, &dst->v6, 16);
		*sum = sum_up(0, ip + 8, 32);
	}
	*sum = sum_up(*sum, tail, sizeof(tail));
	return header;
}

static void segment(struct capture_stream *s, int from, uint8_t flags, const uint8_t *data,
		    size_t size)
{
	/* A window that nobody fills: MSS, and the largest scale. */
	static const uint8_t options[8] = { 2, 4, 0xff, 0xd7, 1, 3, 3, 14 };
	size_t header = flags & TCP_SYN ? 20 + sizeof(options) : 20, ip;
	uint8_t *tcp;
	uint32_t sum;

	ip = put_ip(s, from, header + size, &sum);
	tcp = s->capture->packet + ip;
	memset(tcp, 0, 20);
	put16(tcp, s->address[from].port);
	put16(tcp + 2, s->address[!from].port);
	put32(tcp + 4, s->seq[from]);
	if (flags & TCP_ACK)
		put32(tcp + 8, s->seq[!from]);
	tcp[12] = (uint8_t)(header / 4 << 4);
	tcp[13] = flags;
	put16(tcp + 14, UINT16_MAX);
	if (flags & TCP_SYN)
		memcpy(tcp + 20, options, sizeof(options));
	if (size > 0)
		memcpy(tcp + header, data, size);
	put16(tcp + 16, ~sum_up(sum, tcp, header + size) & 0xffff);
	s->seq[from] += (uint32_t)size + ((flags & (TCP_SYN | TCP_FIN)) != 0);
	capture_write(s->capture, ip + header + size);
}

static void datagram(struct capture_stream *s, int from, const uint8_t *data, size_t size)
{
	size_t ip;
	uint8_t *udp;
	uint32_t sum, checksum;

	ip = put_ip(s, from, 8 + size, &sum);
	udp = s->capture->packet + ip;
	put16(udp, s->address[from].port);
	put16(udp + 2, s->address[!from].port);
	put16(udp + 4, 8 + size);
	put16(udp + 6, 0);
	memcpy(udp + 8, data, size);
	checksum = ~sum_up(sum, udp, 8 + size) & 0xffff;
	put16(udp + 6, checksum != 0 ? checksum : 0xffff); /* 0 means that there is none */
	capture_write(s->capture, ip + 8 + size);
}

static void tap_data(struct tap *tap, int from, const uint8_t *data, size_t size)
{
	struct capture_stream *s = (struct capture_stream *)tap;

	if (s->capture == NULL || s->capture->ended || s->over || s->ended[from])
		return;
	if (s->type == CAPTURE_UDP) {
		datagram(s, from, data, size);
		return;
	}
	for (size_t at = 0; at < size; at += SEGMENT_MAX)
		segment(s, from, TCP_PSH | TCP_ACK, data + at,
			size - at < SEGMENT_MAX ? size - at : SEGMENT_MAX);
	if (size > 0)
		segment(s, !from, TCP_ACK, NULL, 0);
}

static void tap_end(struct tap *tap, int from)
{
	struct capture_stream *s = (struct capture_stream *)tap;

	if (s->capture == NULL || s->over || s->ended[from])
		return;
	s->ended[from] = true;
	segment(s, from, TCP_FIN | TCP_ACK, NULL, 0);
	segment(s, !from, TCP_ACK, NULL, 0);
}

static void tap_reset(struct tap *tap, int from)
{
	struct capture_stream *s = (struct capture_stream *)tap;

	if (s->capture == NULL || s->over)
		return;
	s->over = true;
	segment(s, from, TCP_RST | TCP_ACK, NULL, 0);
}

static void make_mapped(struct address *addr)
{
	struct in6_addr v6 = { 0 };

	if (addr->family == AF_INET6)
		return;
	v6.s6_addr[10] = v6.s6_addr[11] = 0xff;
	memcpy(&v6.s6_addr[12], &addr->v4, 4);
	addr->family = AF_INET6;
	addr->v6 = v6;
}

static bool same_conversation(const struct capture_stream *a, const struct capture_stream *b)
{
	for (int i = 0; i < 2; i++) {
		if (a->type != b->type || a->address[i].family != b->address[i].family ||
		    a->address[i].port != b->address[i].port ||
		    memcmp(&a->address[i].v6, &b->address[i].v6,
			   a->address[i].family == AF_INET ? 4 : 16) != 0)
			return false;
	}
	return true;
}

/* The same client and target may be two conversations, by two local ports, or in two pods. */
static bool is_taken(const struct capture_stream *s)
{
	const struct capture_stream *other;

	TAILQ_FOREACH (other, &s->capture->streams, next) {
		if (same_conversation(s, other))
			return true;
	}
	return false;
}

static void set_addresses(struct capture_stream *s, const struct sockaddr_storage *client,
			  const char *target, uint64_t id)
{
	struct address *c = &s->address[0], *t = &s->address[1];

	if (client == NULL || address_from_sockaddr(c, (const struct sockaddr *)client) < 0)
		*c = (struct address){ .family = AF_INET,
				       .v4.s_addr = htonl(INADDR_LOOPBACK),
				       .port = (uint16_t)(1024 + id % (UINT16_MAX - 1024)) };
	if (address_parse(t, target, NULL) < 0)
		*t = (struct address){ .family = AF_UNSPEC, .port = PORT_UNKNOWN };
	if (t->family == AF_UNSPEC) {
		t->family = AF_INET;
		t->v6 = (struct in6_addr){ 0 };
		t->v4.s_addr = htonl(INADDR_LOOPBACK);
	}
	if (c->family != t->family) {
		make_mapped(c);
		make_mapped(t);
	}
	while (is_taken(s))
		c->port = (uint16_t)(c->port < UINT16_MAX ? c->port + 1 : 1024);
}

static void stream_init(struct capture_stream *s, struct capture *capture, enum capture_type type,
			const struct sockaddr_storage *client, const char *target, uint64_t id)
{
	*s = (struct capture_stream){
		.tap = { .data = tap_data, .end = tap_end, .reset = tap_reset },
		.capture = capture,
		.type = type,
		/* The next one between the same two ports begins elsewhere. */
		.seq = { (uint32_t)(id * 2654435761u), (uint32_t)(id * 2246822519u) },
	};
	set_addresses(s, client, target, id);
}

struct capture_stream *capture_stream_new(struct capture *capture, enum capture_type type,
					  const struct sockaddr_storage *client, const char *target,
					  uint64_t id)
{
	struct capture_stream *s = xcalloc(1, sizeof(*s));

	stream_init(s, capture, type, client, target, id);
	TAILQ_INSERT_TAIL(&capture->streams, s, next);
	if (type == CAPTURE_TCP) {
		segment(s, 0, TCP_SYN, NULL, 0);
		segment(s, 1, TCP_SYN | TCP_ACK, NULL, 0);
		segment(s, 0, TCP_ACK, NULL, 0);
	}
	return s;
}

struct tap *capture_stream_tap(struct capture_stream *s)
{
	return s != NULL ? &s->tap : NULL;
}

void capture_stream_free(struct capture_stream *s)
{
	if (s == NULL)
		return;
	if (s->capture != NULL)
		TAILQ_REMOVE(&s->capture->streams, s, next);
	free(s);
}

void capture_refused(struct capture *capture, const struct sockaddr_storage *client,
		     const char *target, uint64_t id)
{
	struct capture_stream s;

	stream_init(&s, capture, CAPTURE_TCP, client, target, id);
	segment(&s, 0, TCP_SYN, NULL, 0);
	segment(&s, 1, TCP_RST | TCP_ACK, NULL, 0);
}

void capture_forget_streams(struct capture *capture)
{
	struct capture_stream *s;

	TAILQ_FOREACH (s, &capture->streams, next)
		s->capture = NULL;
}
