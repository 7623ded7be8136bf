/* SPDX-License-Identifier: MIT */
/*
 * Gives the DNS library sockets, as a pod has them, for tests/e2e/dns-library.sh: port 53 of an address, UDP and TCP.
 *
 *	dns-serve ADDRESS RESOLV-CONF REFUSED [ZONE | +NAME=ADDRESS]...
 *
 * What resolvers may not be asked for is the name REFUSED. stdout gets a line for each name that has resolved.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "dns/server.h"
#include "dns/stream.h"
#include "sock.h"
#include "watch.h"

static struct loop loop;
static struct dns_server *server;
static const char *refused;

/* A question under way: of a datagram, or of a connection. */
struct asked {
	LIST_ENTRY(asked) next; /* of a connection */
	struct dns_ask *ask;
	int fd;
	struct sockaddr_storage from;
	socklen_t from_len;
	struct bufferevent *bev;
};

struct client {
	struct bufferevent *bev;
	struct dns_stream stream;
	LIST_HEAD(, asked) asks;
};

static void udp_answered(const uint8_t *answer, size_t size, void *arg)
{
	struct asked *asked = arg;

	if (size > 0)
		sendto(asked->fd, answer, size, 0, (struct sockaddr *)&asked->from,
		       asked->from_len);
	free(asked);
}

static void udp_ready(struct watch *watch, unsigned ready)
{
	(void)ready;
	for (;;) {
		struct asked *asked = xcalloc(1, sizeof(*asked));
		ssize_t n;

		asked->fd = watch->fd;
		asked->from_len = sizeof(asked->from);
		n = recvfrom(watch->fd, loop.scratch, DNS_MESSAGE_MAX, 0,
			     (struct sockaddr *)&asked->from, &asked->from_len);
		if (n < 0) {
			free(asked);
			return;
		}
		dns_server_ask(server, false, loop.scratch, (size_t)n, udp_answered, asked);
	}
}

static void tcp_answered(const uint8_t *answer, size_t size, void *arg)
{
	struct asked *asked = arg;

	bufferevent_write(asked->bev, answer, size);
	LIST_REMOVE(asked, next);
	free(asked);
}

static void client_free(struct client *client)
{
	struct asked *asked;

	while ((asked = LIST_FIRST(&client->asks)) != NULL) {
		LIST_REMOVE(asked, next);
		dns_server_cancel(asked->ask);
		free(asked);
	}
	dns_stream_clear(&client->stream);
	bufferevent_free(client->bev);
	free(client);
}

static void tcp_read(struct bufferevent *bev, void *arg)
{
	struct client *client = arg;
	uint8_t bytes[4096];
	const uint8_t *data = bytes;
	size_t size;
	int rc = 0;

	while ((size = bufferevent_read(bev, bytes, sizeof(bytes))) > 0 && rc >= 0) {
		for (data = bytes;
		     (rc = dns_stream_take(&client->stream, DNS_QUERY_MAX, &data, &size)) > 0;) {
			struct asked *asked = xcalloc(1, sizeof(*asked));
			struct dns_ask *ask;

			asked->bev = bev;
			LIST_INSERT_HEAD(&client->asks, asked, next);
			ask = dns_server_ask(server, true, client->stream.message,
					     client->stream.size, tcp_answered, asked);
			if (ask != NULL)
				asked->ask = ask;
		}
	}
	if (rc < 0)
		client_free(client);
}

static void tcp_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)what;
	client_free(arg);
}

static void tcp_accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa,
			 int len, void *arg)
{
	struct client *client = xcalloc(1, sizeof(*client));

	(void)listener;
	(void)sa;
	(void)len;
	(void)arg;
	LIST_INIT(&client->asks);
	client->bev = bufferevent_socket_new(loop.base, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(client->bev, tcp_read, NULL, tcp_event, client);
	bufferevent_enable(client->bev, EV_READ | EV_WRITE);
}

static bool hook_allowed(const char *name, uint16_t type, void *arg)
{
	(void)type;
	(void)arg;
	return strcmp(name, refused) != 0;
}

static void hook_resolved(const char *name, const struct address *addresses, size_t count,
			  uint32_t ttl, void *arg)
{
	char text[INET6_ADDRSTRLEN];

	(void)arg;
	printf("%s %u", name, ttl);
	for (size_t i = 0; i < count; i++)
		printf(" %s", inet_ntop(addresses[i].family, &addresses[i].v4, text, sizeof(text)));
	putchar('\n');
	fflush(stdout);
}

static int die(const struct error *err)
{
	fprintf(stderr, "dns-serve: %s\n", err->message);
	return 1;
}

static int add(struct zones *zones, char *text, struct error *err)
{
	char *value = strchr(text, '=');
	struct address address = { 0 };

	if (*text != '+')
		return zones_parse(zones, text, err);
	*value++ = '\0';
	if (address_parse_host(&address, value, err) < 0)
		return -EINVAL;
	return zones_add(zones, text + 1, &address, err);
}

int main(int argc, char **argv)
{
	struct zones *zones = zones_new();
	struct address address = { 0 };
	struct sockaddr_storage ss;
	struct watch watch = { 0 };
	struct error err;
	socklen_t len;
	int fd;

	if (argc < 4 || address_parse_host(&address, argv[1], &err) < 0 || loop_init(&loop) < 0)
		return 64;
	refused = argv[3];
	for (int i = 4; i < argc; i++)
		if (add(zones, argv[i], &err) < 0)
			return die(&err);
	address.port = 53;
	len = address_to_sockaddr(&address, &ss);
	fd = sock_new(ss.ss_family, SOCK_DGRAM, 0);
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 ||
	    watch_start(&loop, &watch, fd, WATCH_READ, udp_ready) < 0 ||
	    evconnlistener_new_bind(loop.base, tcp_accepted, NULL,
				    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, -1,
				    (struct sockaddr *)&ss, (int)len) == NULL)
		return 1;
	server = dns_server_new(&loop, &(struct dns_server_config){ .zones = zones,
								    .resolv_conf = argv[2],
								    .allowed = hook_allowed,
								    .resolved = hook_resolved });
	return loop_run(&loop);
}
