/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "policy.h"
#include "rpc-accept.h"

/* What can be listened on for others in the pod, and for nobody outside of it by accident. */
static int check_address(const struct address *addr, struct error *err)
{
	bool wild = addr->family == AF_INET    ? addr->v4.s_addr == htonl(INADDR_ANY)
		    : addr->family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&addr->v6)
					       : false;
	bool group = addr->family == AF_INET ? IN_MULTICAST(ntohl(addr->v4.s_addr)) ||
						       addr->v4.s_addr == htonl(INADDR_BROADCAST)
		     : addr->family == AF_INET6 ? IN6_IS_ADDR_MULTICAST(&addr->v6)
						: false;

	if (wild || group)
		return error_set(err, REASON_INVALID, EINVAL,
				 "listen must be one address of the pod, not %s",
				 wild ? "all of them" : "a group");
	return 0;
}

static int parse_listen(struct accept_target *target, const char *listen, struct error *err)
{
	sa_family_t family =
		target->network == NETWORK_TCP4 || target->network == NETWORK_UDP4   ? AF_INET
		: target->network == NETWORK_TCP6 || target->network == NETWORK_UDP6 ? AF_INET6
										     : AF_UNSPEC;
	struct address mapped;

	if (target->network == NETWORK_UNIX) {
		target->path = listen;
		return target_path_check(listen, err);
	}
	target->egress = strcmp(listen, ACCEPT_EGRESS) == 0;
	if (target->egress)
		return 0;
	if (address_parse(&target->addr, listen, err) < 0 || check_address(&target->addr, err) < 0)
		return -EPROTO;
	/* ::ffff:127.0.0.1 is the same place by another name. */
	mapped = target->addr;
	if (mapped.family != AF_UNSPEC)
		address_normalise(&mapped);
	target->addr = mapped;
	if (family == AF_UNSPEC)
		return 0;
	if (target->addr.family == AF_UNSPEC) {
		target->addr.family = family;
		if (family == AF_INET)
			target->addr.v4.s_addr = htonl(INADDR_LOOPBACK);
		else
			target->addr.v6 = in6addr_loopback;
	}
	if (target->addr.family != family)
		return error_set(err, REASON_INVALID, EINVAL, "%s is not an address for %s", listen,
				 network_name(target->network));
	return 0;
}

static int get_framing(const struct rpc_params *params, enum framing *framing, struct error *err)
{
	const char *name;

	*framing = FRAMING_RECORDS;
	if (rpc_get_string(METHOD_PORT_ACCEPT, params, "framing", false, &name, err) < 0)
		return -EPROTO;
	if (name != NULL && framing_from_name(name, framing) < 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 METHOD_PORT_ACCEPT
				 ": framing must be records or raw, got \"%.64s\"",
				 name);
	return 0;
}

static int get_owner(const struct rpc_params *params, const char **owner, struct error *err)
{
	if (rpc_get_string(METHOD_PORT_ACCEPT, params, "owner", false, owner, err) < 0)
		return -EPROTO;
	if (*owner == NULL)
		*owner = "";
	if (strlen(*owner) > ACCEPT_OWNER_MAX)
		return error_set(err, REASON_INVALID, EINVAL,
				 METHOD_PORT_ACCEPT ": owner is longer than %d bytes",
				 ACCEPT_OWNER_MAX);
	return 0;
}

int rpc_get_accept_target(const struct rpc_params *params, struct accept_target *target,
			  struct error *err)
{
	const char *network, *listen;

	*target = (struct accept_target){ 0 };
	if (rpc_get_string(METHOD_PORT_ACCEPT, params, "network", true, &network, err) < 0)
		return -EPROTO;
	if (rpc_network_parse(network, &target->network, err) < 0)
		return error_prefix(err, METHOD_PORT_ACCEPT);
	if (rpc_get_string(METHOD_PORT_ACCEPT, params, "listen", true, &listen, err) < 0)
		return -EPROTO;
	if (parse_listen(target, listen, err) < 0)
		return error_prefix(err, METHOD_PORT_ACCEPT);
	if (get_framing(params, &target->framing, err) < 0 ||
	    get_owner(params, &target->owner, err) < 0)
		return -EPROTO;
	if (network_is_udp(target->network) && target->framing == FRAMING_RAW)
		return error_set(err, REASON_INVALID, EINVAL,
				 METHOD_PORT_ACCEPT ": udp needs records, not raw");
	if (target->network != NETWORK_UNIX)
		target->network = network_is_udp(target->network) ? NETWORK_UDP : NETWORK_TCP;
	return 0;
}

json_t *rpc_port_accept_params(const char *handle, const char *container_id, enum network network,
			       const char *listen, const char *owner)
{
	return xcheck(json_pack(
		"{s:o, s:o*, s:s, s:o, s:s}", "handle", rpc_system_string(handle), "containerID",
		container_id ? rpc_system_string(container_id) : NULL, "network",
		network_name(network), "listen", rpc_system_string(listen), "owner", owner));
}

json_t *rpc_port_parked(const struct accept_target *target)
{
	char text[ADDRESS_TEXT_MAX];

	return xcheck(json_pack("{s:b, s:s, s:o, s:s}", "parked", 1, "network",
				network_name(target->network), "listen",
				rpc_system_string(target->egress ? ACCEPT_EGRESS
						  : target->network == NETWORK_UNIX
							  ? target->path
							  : address_format(&target->addr, text)),
				"framing", framing_name(target->framing)));
}

int rpc_check_port_parked(json_t *result, enum framing framing, struct error *err)
{
	const char *name = json_string_value(json_object_get(result, "framing"));

	if (!json_is_true(json_object_get(result, "parked")))
		return rpc_not_an_answer(err, "the link was not parked");
	if (name == NULL || strcmp(name, framing_name(framing)) != 0)
		return rpc_not_an_answer(err, "a framing nobody asked for");
	return 0;
}

static void put_address(json_t *params, const char *name, const struct address *addr)
{
	char text[ADDRESS_TEXT_MAX];

	if (addr->family != AF_UNSPEC)
		json_object_set_new(params, name, json_string(address_format(addr, text)));
}

json_t *rpc_port_accepted_params(const struct port_accepted *accepted)
{
	json_t *params = xcheck(json_object());

	put_address(params, "remote", &accepted->remote);
	put_address(params, "destination", &accepted->destination);
	return params;
}

static int get_address(json_t *params, const char *name, struct address *addr, struct error *err)
{
	json_t *value = json_object_get(params, name);

	*addr = (struct address){ 0 };
	if (value == NULL || json_is_null(value))
		return 0;
	if (!json_is_string(value) || address_parse(addr, json_string_value(value), NULL) < 0 ||
	    addr->family == AF_UNSPEC)
		return rpc_not_an_answer(err, "an address that is none");
	address_normalise(addr);
	return 0;
}

int rpc_port_accepted(json_t *params, struct port_accepted *accepted, struct error *err)
{
	int rc = get_address(params, "remote", &accepted->remote, err);

	return rc < 0 ? rc : get_address(params, "destination", &accepted->destination, err);
}
