/* SPDX-License-Identifier: MIT */
/* What a request's params say about a target in a pod: network, address or port, and how to connect. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "rpc.h"

const enum network rpc_networks[RPC_NETWORKS] = { NETWORK_TCP, NETWORK_TCP4, NETWORK_TCP6,
						  NETWORK_UDP, NETWORK_UDP4, NETWORK_UDP6,
						  NETWORK_UNIX };

int rpc_network_parse(const char *name, enum network *network, struct error *err)
{
	char supported[64], *at = supported;

	for (size_t i = 0; i < RPC_NETWORKS; i++) {
		if (strcmp(network_name(rpc_networks[i]), name) == 0) {
			*network = rpc_networks[i];
			return 0;
		}
		at = stpcpy(stpcpy(at, i > 0 ? ", " : ""), network_name(rpc_networks[i]));
	}
	return error_set(err, REASON_UNSUPPORTED, 0, "unsupported network \"%.64s\"; supported: %s",
			 name, supported);
}

static int get_network(const char *method, const struct rpc_params *params,
		       struct port_target *target, struct error *err)
{
	const char *name;

	if (rpc_get_string(method, params, "network", true, &name, err) < 0)
		return -EPROTO;
	if (rpc_network_parse(name, &target->network, err) < 0)
		return error_prefix(err, "%s", method);
	return 0;
}

static int get_port(const struct rpc_params *params, struct address *addr, struct error *err)
{
	json_int_t number;

	if (rpc_get_integer(params, "port", &number) < 0 || number < 1 || number > UINT16_MAX) {
		_cleanup_free_ char *got = rpc_param_text(params, "port");

		return error_set(err, REASON_INVALID, 0,
				 "port must be between 1 and 65535, got %.64s", got);
	}
	*addr = (struct address){ .family = AF_UNSPEC, .port = (uint16_t)number };
	return 0;
}

static int get_path(const char *address, const char **path, struct error *err)
{
	if (address == NULL)
		return error_set(err, REASON_INVALID, 0, "unix needs an address, which is a path");
	*path = address;
	return target_path_check(address, err);
}

/* "address" or "port". */
static int get_where(const char *method, const struct rpc_params *params,
		     struct port_target *target, struct error *err)
{
	json_int_t number;
	bool has_port = rpc_get_integer(params, "port", &number) != 0;
	const char *address;
	int rc;

	if (rpc_get_string(method, params, "address", false, &address, err) < 0)
		return -EPROTO;
	if ((address != NULL) == has_port)
		rc = error_set(err, REASON_INVALID, 0, "either address or port is needed");
	else if (target->network == NETWORK_UNIX)
		rc = get_path(address, &target->path, err);
	else if (address != NULL)
		rc = address_parse(&target->addr, address, err);
	else
		rc = get_port(params, &target->addr, err);
	return rc < 0 ? error_prefix(err, "%s", method) : 0;
}

static int get_options(const char *method, const struct rpc_params *params,
		       struct port_target *target, struct error *err)
{
	json_int_t timeout_ms = TIMEOUT_MS_DEFAULT;
	const char *framing;

	if (rpc_get_integer(params, "timeoutMs", &timeout_ms) < 0 || timeout_ms < 1 ||
	    timeout_ms > TIMEOUT_MS_MAX)
		return error_set(err, REASON_INVALID, 0,
				 "%s: timeoutMs must be an integer from 1 to %d", method,
				 TIMEOUT_MS_MAX);
	target->timeout_ms = (int)timeout_ms;
	if (rpc_get_string(method, params, "framing", false, &framing, err) < 0)
		return -EPROTO;
	if (framing != NULL && framing_from_name(framing, &target->framing) < 0)
		return error_set(err, REASON_INVALID, 0,
				 "%s: framing must be records or raw, got \"%s\"", method, framing);
	if (network_is_udp(target->network) && target->framing != FRAMING_RECORDS)
		return error_set(err, REASON_INVALID, 0, "%s: udp is framed in records", method);
	return 0;
}

int rpc_get_port_target(const char *method, const struct rpc_params *params, enum framing framing,
			struct port_target *target, struct error *err)
{
	int rc = get_network(method, params, target, err);

	if (rc < 0)
		return rc;
	target->framing = network_is_udp(target->network) ? FRAMING_RECORDS : framing;
	rc = get_where(method, params, target, err);
	if (rc == 0)
		rc = get_options(method, params, target, err);
	return rc;
}
