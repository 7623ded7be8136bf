/* SPDX-License-Identifier: MIT */
/* getaddrinfo(3) of whatever libc this is compiled with: the addresses of a name, sorted, in one line, or what went wrong. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MAX 512

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

int main(int argc, char **argv)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
	static char texts[MAX][INET6_ADDRSTRLEN];
	size_t count = 0;
	int rc = argc > 1 ? getaddrinfo(argv[1], NULL, &hints, &list) : EAI_NONAME;

	if (rc != 0) {
		puts(rc == EAI_NONAME ? "no such name" : gai_strerror(rc));
		return 1;
	}
	for (struct addrinfo *ai = list; ai != NULL && count < MAX; ai = ai->ai_next) {
		const void *address =
			ai->ai_family == AF_INET6
				? (void *)&((struct sockaddr_in6 *)ai->ai_addr)->sin6_addr
				: (void *)&((struct sockaddr_in *)ai->ai_addr)->sin_addr;

		inet_ntop(ai->ai_family, address, texts[count++], sizeof(texts[0]));
	}
	qsort(texts, count, sizeof(texts[0]), compare);
	for (size_t i = 0; i < count; i++)
		printf("%s%s", i > 0 ? " " : "", texts[i]);
	putchar('\n');
	freeaddrinfo(list);
	return 0;
}
