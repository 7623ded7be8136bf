/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "dial-options.h"
#include "dial-udp.h"

int dial_udp_option(struct dial_udp *udp, int id, const char *value, struct error *err)
{
	bool is_length = strcmp(value, "length") == 0;

	udp->given = true;
	if (id == DIAL_UDP_IDLE)
		return dial_seconds("udp-idle", value, &udp->idle_ms, err);
	udp->type = is_length ? DATAGRAMS_LENGTHS : DATAGRAMS_READS;
	if (!is_length && strcmp(value, "none") != 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "--udp-framing: \"%s\" is neither none nor length", value);
	return 0;
}

int dial_udp_check(const struct dial_udp *udp, enum network network, enum framing framing,
		   struct error *err)
{
	if (!network_is_udp(network) && udp->given)
		return error_set(err, REASON_INVALID, EINVAL,
				 "--udp-framing and --udp-idle are for udp");
	if (network_is_udp(network) && framing != FRAMING_RECORDS)
		return error_set(err, REASON_INVALID, EINVAL, "udp is framed in records");
	return 0;
}

struct datagrams *dial_udp_start(const struct dial_udp *udp, struct loop *loop,
				 const struct relay_end_config *near,
				 const struct link_dialed *dialed, struct tap *tap,
				 const char *name, relay_done_cb done, void *arg)
{
	const struct datagrams_config config = {
		.end = { { udp->type, near->rfd, near->wfd },
			 { datagrams_type_of(dialed->result->framing), dialed->fd, dialed->fd } },
		.linger_ms = udp->idle_ms,
		.tap = tap,
		.name = { name, 0 },
		.done = done,
		.arg = arg,
	};

	return datagrams_new(loop, &config);
}
