/* SPDX-License-Identifier: MIT */
/* The lines of --status-fd. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "status.h"

/* Takes the reference. */
static void status_write(int fd, json_t *status)
{
	_cleanup_free_ char *text =
		xcheck(json_dumps(xcheck(status), JSON_COMPACT | JSON_ENSURE_ASCII));
	_cleanup_free_ char *line = xasprintf("%s\n", text);
	size_t length = strlen(line), sent = 0;

	json_decref(status);
	while (sent < length) {
		ssize_t n = write(fd, line + sent, length - sent);

		if (n < 0 && errno != EINTR)
			return;
		sent += n > 0 ? (size_t)n : 0;
	}
}

void status_connected(int fd, const struct port_dialed *dialed)
{
	if (fd >= 0)
		status_write(fd,
			     json_pack("{ss ss ss ss ss}", "status", "connected", "network",
				       dialed->network, "remote", dialed->remote, "local",
				       dialed->local, "framing", framing_name(dialed->framing)));
}

void status_error(int fd, const struct error *err)
{
	if (fd >= 0)
		status_write(fd, json_pack("{ss si ss so}", "status", "error", "code", err->code,
					   "reason", reason_name(err->reason), "message",
					   rpc_system_string(err->message)));
}

void status_closed(int fd, const struct relay_result *result)
{
	if (fd >= 0)
		status_write(fd, json_pack("{ss ss sI sI}", "status", "closed", "reason",
					   relay_outcome_name(result->outcome), "bytesIn",
					   (json_int_t)result->bytes_in, "bytesOut",
					   (json_int_t)result->bytes_out));
}
