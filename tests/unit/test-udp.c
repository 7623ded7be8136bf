/* SPDX-License-Identifier: MIT */
/* Several sockets at one address: which of them the kernel gives a datagram to. */
#include "config.h"

#include "guest/udp.h"
#include "lib/sock.h"
#include "tests/tap.h"

#define CLIENTS 64

static int socket_at(struct sockaddr_in *at)
{
	socklen_t len = sizeof(*at);
	int fd = sock_new(AF_INET, SOCK_DGRAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)at, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)at, &len) < 0)
		ok(false, "bind");
	return fd;
}

static int count(int fd)
{
	char byte;
	int n = 0;

	while (recv(fd, &byte, 1, MSG_DONTWAIT) == 1)
		n++;
	return n;
}

int main(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in client = at;
	int first = socket_at(&at), other, clients[CLIENTS];

	is_int(udp_keep_all(first), 0, "the first one");
	other = socket_at(&at);
	for (int i = 0; i < CLIENTS; i++) {
		clients[i] = sock_new(AF_INET, SOCK_DGRAM, 0);
		if (connect(clients[i], (struct sockaddr *)&at, sizeof(at)) < 0 ||
		    send(clients[i], "x", 1, 0) != 1)
			ok(false, "client %d", i);
	}
	is_int(count(first), CLIENTS, "gets all");
	is_int(count(other), 0, "and another one nothing");
	getsockname(clients[0], (struct sockaddr *)&client, &(socklen_t){ sizeof(client) });
	is_int(connect(other, (struct sockaddr *)&client, sizeof(client)), 0,
	       "until that is connected");
	for (int i = 0; i < CLIENTS; i++)
		send(clients[i], "x", 1, 0);
	is_int(count(other), 1, "to one of them, whose it gets");
	is_int(count(first), CLIENTS - 1, "and nobody else's");
	for (int i = 0; i < CLIENTS; i++)
		close(clients[i]);
	close(other);
	close(first);
	return done_testing();
}
