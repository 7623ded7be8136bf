/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's load: a server for the pod's netns, and clients that measure.
 *
 * A connection says by its first byte what it is. LOAD_ECHO: this byte and all others
 * come back. LOAD_BULK: it is that of a struct bulk_request, and pages follow in the directions that
 * it asks for.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOAD_ECHO 'e'
#define LOAD_BULK 'b'

/* What is still missing so long after a run was to end is taken for a hang. */
#define GRACE_MS 15000

enum bulk_direction { BULK_UP = 1, BULK_DOWN = 2 };

/* Both programs are the same one on one machine, so this goes as it is in memory. */
struct bulk_request {
	uint8_t kind;       /* LOAD_BULK */
	uint8_t directions; /* enum bulk_direction, seen from the client */
	uint16_t unused;
	uint32_t ms;    /* send for so long, */
	uint64_t bytes; /* or so much, whatever comes first */
};

/* net.c: what all need; failures end the program with a line on stderr. */
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ns(void);
uint64_t number_arg(const char *text, const char *what);
void connect_at(const char *address); /* in place of 127.0.0.1 */
int tcp_listen(uint16_t port);
int tcp_connect(uint16_t port);       /* blocking, without delay */
int tcp_connect_start(uint16_t port); /* not blocking; may still be under way */
void set_reset_on_close(int fd);
void set_no_delay(int fd);
void write_all(int fd, const void *data, size_t size);
void read_all(int fd, void *data, size_t size);

/* Prints "p50_us":...,"p99_us":...,"min_us":... of nanoseconds, which it sorts. */
void print_times(uint64_t *ns, size_t count);

/* bulk.c: both ends of bulk connections. Verifies what it receives; dies when it is wrong. */
struct bulk_result {
	uint64_t up, down; /* bytes of payload, delivered */
	double seconds;    /* until the last byte was delivered and confirmed */
};

struct bulk_result bulk_client(uint16_t port, size_t connections,
			       const struct bulk_request *request);
void bulk_server(int fd, const struct bulk_request *request); /* closes fd */

/* serve.c */
int serve_main(uint16_t port);

/* latency.c */
int ping_main(uint16_t port, uint32_t ms, const struct bulk_request *under);
int startup_main(unsigned count, char **command);

/* connect.c */
int connect_main(uint16_t port, size_t at_a_time, uint32_t ms, uint64_t count);
int idle_main(uint16_t port, size_t connections);

#endif
