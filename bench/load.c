/* SPDX-License-Identifier: MIT */
/*
 * The command line of the benchmark's load. Clients print one line of JSON; a wrong byte, a lost
 * connection or a hang is a line on stderr and exit code 1.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static const char usage[] =
	"usage: load [--at ADDRESS] COMMAND; clients connect there, else to 127.0.0.1\n"
	"       load serve PORT\n"
	"       load bulk PORT up|down|both CONNECTIONS MS [BYTES]\n"
	"       load ping PORT MS [up|down|both]         alone, or beside a bulk connection\n"
	"       load connect PORT AT-A-TIME MS [COUNT]\n"
	"       load idle PORT CONNECTIONS               until a line on stdin\n"
	"       load startup COUNT COMMAND...            COMMAND: stdin and stdout lead to the "
	"server\n";

static struct bulk_request request_arg(const char *directions, uint64_t ms, uint64_t bytes)
{
	struct bulk_request request = { .kind = LOAD_BULK, .ms = (uint32_t)ms, .bytes = bytes };

	if (strcmp(directions, "up") == 0)
		request.directions = BULK_UP;
	else if (strcmp(directions, "down") == 0)
		request.directions = BULK_DOWN;
	else if (strcmp(directions, "both") == 0)
		request.directions = BULK_UP | BULK_DOWN;
	else
		die("up, down or both is wanted, not \"%s\"", directions);
	return request;
}

static int bulk_main(uint16_t port, size_t connections, const struct bulk_request *request)
{
	struct bulk_result result = bulk_client(port, connections, request);

	printf("{\"up\":%llu,\"down\":%llu,\"seconds\":%.6f}\n", (unsigned long long)result.up,
	       (unsigned long long)result.down, result.seconds);
	return 0;
}

int main(int argc, char **argv)
{
	const char *command;
	uint64_t first;
	uint16_t port;

	signal(SIGPIPE, SIG_IGN);
	if (argc > 2 && strcmp(argv[1], "--at") == 0) {
		connect_at(argv[2]);
		argc -= 2;
		argv += 2;
	}
	command = argc > 2 ? argv[1] : "";
	first = argc > 2 ? number_arg(argv[2], "a port or count") : 0;
	port = (uint16_t)first;
	if (strcmp(command, "serve") == 0 && argc == 3)
		return serve_main(port);
	if (strcmp(command, "bulk") == 0 && (argc == 6 || argc == 7)) {
		struct bulk_request request =
			request_arg(argv[3], number_arg(argv[5], "milliseconds"),
				    argc == 7 ? number_arg(argv[6], "bytes") : 0);

		return bulk_main(port, number_arg(argv[4], "a number of connections"), &request);
	}
	if (strcmp(command, "ping") == 0 && (argc == 4 || argc == 5)) {
		uint64_t ms = number_arg(argv[3], "milliseconds");
		struct bulk_request under;

		if (argc == 5)
			under = request_arg(argv[4], ms, 0);
		return ping_main(port, (uint32_t)ms, argc == 5 ? &under : NULL);
	}
	if (strcmp(command, "connect") == 0 && (argc == 5 || argc == 6))
		return connect_main(port, number_arg(argv[3], "connections at a time"),
				    (uint32_t)number_arg(argv[4], "milliseconds"),
				    argc == 6 ? number_arg(argv[5], "a count") : 0);
	if (strcmp(command, "idle") == 0 && argc == 4)
		return idle_main(port, number_arg(argv[3], "a number of connections"));
	if (strcmp(command, "startup") == 0 && argc > 3)
		return startup_main((unsigned)first, argv + 3);
	fputs(usage, stderr);
	return 64;
}
