/* SPDX-License-Identifier: MIT */
/*
 * The methods: what each wants for parameters, the order in which they are checked, and
 * what its result looks like.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "lib/pods.h"
#include "accept.h"
#include "dial.h"
#include "dial-unix.h"
#include "dialer.h"
#include "hosts-block.h"
#include "ports.h"
#include "ports-watch.h"

#define METHOD_INFO "guest.info"
#define DNS_PORT 53

struct dialer {
	struct loop *loop;
	struct dialer_config config;
	struct port_watches *watches;
	struct accepts *accepts;
};

/* A pod.portDial under way. The other methods answer at once and need none. */
struct dialer_call {
	struct dial *dial; /* one of the two */
	struct dial_unix *dial_unix;
	enum framing framing;
	enum network network; /* tcp or udp */
	dialer_cb cb;
	void *arg;
};

struct dialer *dialer_new(struct loop *loop, const struct dialer_config *config)
{
	struct dialer *dialer = xcalloc(1, sizeof(*dialer));

	dialer->loop = loop;
	dialer->config = *config;
	dialer->accepts = accepts_get(loop);
	dialer->watches = port_watches_new(loop, config->source, dialer->accepts);
	return dialer;
}

void dialer_free(struct dialer *dialer)
{
	port_watches_free(dialer->watches);
	accepts_put(dialer->accepts);
	free(dialer);
}

int dialer_authorize(const struct dialer *dialer, const char *method,
		     const struct rpc_params *params, struct error *err)
{
	const char *token;

	if (dialer->config.token == NULL)
		return 0;
	if (rpc_get_string(method, params, "token", false, &token, err) < 0)
		return -EPROTO;
	if (!token_equal(dialer->config.token, token))
		return error_set(err, REASON_DENIED, 0, "%s: %s token", method,
				 token == NULL ? "missing" : "wrong");
	return 0;
}

/* Token, handle, containerID: what every method that touches a pod begins with. */
static int open_pod(struct dialer *dialer, const char *method, const struct rpc_params *params,
		    struct netns **ns, struct error *err)
{
	const char *handle, *container_id;
	struct error bad_id;
	int bad, rc;

	if (dialer_authorize(dialer, method, params, err) < 0 ||
	    rpc_get_string(method, params, "handle", true, &handle, err) < 0)
		return -EPROTO;
	/* What is wrong with the handle is told before what is wrong with the containerID. */
	bad = rpc_get_string(method, params, "containerID", false, &container_id, &bad_id);
	rc = netns_open(dialer->config.source, handle, container_id, ns, err);
	if (bad < 0 &&
	    (rc == 0 || (err->reason != REASON_INVALID && err->reason != REASON_NOT_FOUND))) {
		if (rc == 0)
			netns_close(*ns);
		*err = bad_id;
		return bad;
	}
	if (rc < 0 && err->reason == REASON_INVALID)
		error_prefix(err, "%s", method);
	return rc;
}

/* The pods' names, or none if the token that is asked for is not there. */
static json_t *info_pods(struct dialer *dialer, const struct rpc_params *params)
{
	json_t *array = json_array();
	char **names;
	size_t count;

	if (dialer_authorize(dialer, METHOD_INFO, params, NULL) < 0 ||
	    netns_source_names(dialer->config.source, &names, &count) < 0)
		return array;
	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_string(names[i]));
	names_free(names, count);
	return array;
}

static int info_answer(struct dialer *dialer, const struct rpc_params *params, json_t **result,
		       struct error *err)
{
	json_t *names = json_array();
	bool accepts = dialer->config.allow_expose || dialer->config.allow_egress;

	(void)err;
	for (size_t i = 0; i < RPC_NETWORKS; i++)
		json_array_append_new(names, json_string(network_name(rpc_networks[i])));
	*result = json_pack("{s:s, s:s, s:i, s:[s,s,s,s*,s*], s:o, s:o}", "name", "vzfwd-guest",
			    "version", PACKAGE_VERSION, "protocol", RPC_PROTOCOL, "methods",
			    METHOD_INFO, METHOD_PORTS, METHOD_PORT_DIAL,
			    accepts ? METHOD_PORT_ACCEPT : NULL, accepts ? METHOD_HOSTS : NULL,
			    "networks", names, "pods", info_pods(dialer, params));
	return 0;
}

static int ports_answer(struct dialer *dialer, const struct rpc_params *params,
			struct dialer_answer *answer, struct error *err)
{
	const char *handle = NULL, *container_id = NULL;
	struct netns *ns;
	bool watch;
	int rc = open_pod(dialer, METHOD_PORTS, params, &ns, err);

	if (rc < 0)
		return rc;
	rc = rpc_get_boolean(METHOD_PORTS, params, "watch", &watch, err);
	if (rc == 0 && watch) {
		rpc_get_string(METHOD_PORTS, params, "handle", true, &handle, NULL);
		rpc_get_string(METHOD_PORTS, params, "containerID", false, &container_id, NULL);
		rc = port_watch_new(dialer->watches, handle, container_id, ns, &answer->watch,
				    &answer->result, err);
	} else if (rc == 0) {
		rc = ports_list(ns, dialer->accepts, &answer->result, err);
	}
	netns_close(ns);
	return rc;
}

static int accept_allowed(const struct dialer *dialer, const struct accept_target *target,
			  struct error *err)
{
	bool dns = target->network != NETWORK_UNIX && target->addr.port == DNS_PORT;

	if (dialer->config.one_link)
		return error_set(err, REASON_UNSUPPORTED, 0,
				 METHOD_PORT_ACCEPT
				 ": not by vzfwd-guest --stdio, which has one link");
	/* Names are a part of what leaves a pod. */
	if ((!target->egress && dialer->config.allow_expose) ||
	    ((target->egress || dns) && dialer->config.allow_egress))
		return 0;
	return error_set(err, REASON_DENIED, 0,
			 METHOD_PORT_ACCEPT ": not allowed by vzfwd-guest; see %s",
			 target->egress ? "--allow-egress" : "--allow-expose");
}

static int accept_answer(struct dialer *dialer, const struct rpc_params *params,
			 struct dialer_answer *answer, struct error *err)
{
	struct accept_pod pod = { .source = dialer->config.source };
	struct accept_target target;
	struct netns *ns;
	int rc = open_pod(dialer, METHOD_PORT_ACCEPT, params, &ns, err);

	if (rc < 0)
		return rc;
	rpc_get_string(METHOD_PORT_ACCEPT, params, "handle", true, &pod.handle, NULL);
	rpc_get_string(METHOD_PORT_ACCEPT, params, "containerID", false, &pod.container_id, NULL);
	rc = rpc_get_accept_target(params, &target, err);
	if (rc == 0)
		rc = accept_allowed(dialer, &target, err);
	if (rc < 0) {
		netns_close(ns);
		return rc;
	}
	if (accept_park(dialer->accepts, &pod, ns, dialer->config.policy, &target, &answer->parked,
			err) < 0)
		return error_prefix(err, METHOD_PORT_ACCEPT);
	answer->framing = target.framing;
	answer->result = rpc_port_parked(&target);
	return 0;
}

static int hosts_answer(struct dialer *dialer, const struct rpc_params *params,
			struct dialer_answer *answer, struct error *err)
{
	struct accept_pod pod = { .source = dialer->config.source };
	struct hosts_request request;
	struct netns *ns;
	int rc = open_pod(dialer, METHOD_HOSTS, params, &ns, err);

	if (rc < 0)
		return rc;
	rpc_get_string(METHOD_HOSTS, params, "handle", true, &pod.handle, NULL);
	rpc_get_string(METHOD_HOSTS, params, "containerID", false, &pod.container_id, NULL);
	rc = rpc_get_hosts(params, &request, err);
	if (rc == 0 && !dialer->config.allow_expose && !dialer->config.allow_egress)
		rc = error_set(err, REASON_DENIED, 0,
			       METHOD_HOSTS ": not allowed by vzfwd-guest; see --allow-expose");
	if (rc < 0) {
		netns_close(ns);
	} else if (hosts_block_new(dialer->loop, &pod, ns, dialer->config.policy, &request,
				   &answer->hosts, err) < 0) {
		rc = error_prefix(err, METHOD_HOSTS);
	} else {
		answer->result = rpc_hosts_written(request.path);
	}
	free(request.lines);
	return rc;
}

/* What leads from the pod to the host does not lead back. */
static int target_allowed(const struct dialer *dialer, struct netns *ns,
			  const struct port_target *target, struct error *err)
{
	enum network network = network_is_udp(target->network) ? NETWORK_UDP : NETWORK_TCP;
	char text[ADDRESS_TEXT_MAX];

	if (accepts_have(dialer->accepts, ns, network, &target->addr))
		return error_set(err, REASON_DENIED, 0, "%s is an address of vzfwd's own",
				 address_format(&target->addr, text));
	return dial_allowed(dialer->config.policy, ns, &target->addr, err);
}

/* Everything that is checked before connect. On success *ns is the caller's. */
static int port_dial_check(struct dialer *dialer, const struct rpc_params *params,
			   struct port_target *target, struct netns **ns, struct error *err)
{
	int rc = open_pod(dialer, METHOD_PORT_DIAL, params, ns, err);

	if (rc < 0)
		return rc;
	rc = rpc_get_port_target(METHOD_PORT_DIAL, params, FRAMING_RECORDS, target, err);
	if (rc == 0 && target->network == NETWORK_UNIX) {
		rc = dial_unix_allowed(dialer->config.policy, target->path, err);
		if (rc < 0)
			error_prefix(err, METHOD_PORT_DIAL);
	} else if (rc == 0) {
		rc = dial_resolve(&target->addr, target->network, err);
		if (rc == 0)
			rc = target_allowed(dialer, *ns, target, err);
		if (rc < 0)
			error_prefix(err, METHOD_PORT_DIAL);
	}
	if (rc < 0)
		netns_close(*ns);
	return rc;
}

/* Answers, with the socket or the error, and frees the call. */
static void port_dial_answer(struct dialer_call *call, const struct dialer_answer *answer,
			     const struct error *err)
{
	dialer_cb cb = call->cb;
	void *arg = call->arg;

	free(call);
	cb(answer, err, arg);
}

static void unix_dialed(int fd, const char *path, const struct error *err, void *arg)
{
	struct dialer_call *call = arg;
	struct port_dialed result = { .framing = call->framing };
	struct dialer_answer answer = { .dialed = &result, .fd = fd };

	if (err == NULL) {
		strcpy(result.network, network_name(NETWORK_UNIX));
		if (strlen(path) < sizeof(result.remote)) /* else it stays untold */
			strcpy(result.remote, path);
	}
	port_dial_answer(call, err != NULL ? NULL : &answer, err);
}

static void port_dialed(const struct connected *dialed, const struct error *err, void *arg)
{
	struct dialer_call *call = arg;
	struct port_dialed result;
	struct dialer_answer answer = { .dialed = &result };

	if (err != NULL) {
		port_dial_answer(call, NULL, err);
		return;
	}
	result.framing = call->framing;
	strcpy(result.network, network_name(call->network));
	address_format(&dialed->remote, result.remote);
	*result.local = '\0';
	if (dialed->local.family != AF_UNSPEC) /* it could be told */
		address_format(&dialed->local, result.local);
	answer.port = dialed->remote.port;
	answer.is_udp = call->network == NETWORK_UDP;
	answer.fd = dialed->fd;
	port_dial_answer(call, &answer, NULL);
}

static struct dialer_call *port_dial(struct dialer *dialer, const struct rpc_params *params,
				     dialer_cb cb, void *arg)
{
	struct dialer_call *call;
	struct port_target target;
	struct dial_unix *dial_unix = NULL;
	struct dial *dial = NULL;
	struct netns *ns;
	struct error err;

	if (port_dial_check(dialer, params, &target, &ns, &err) < 0) {
		cb(NULL, &err, arg);
		return NULL;
	}
	call = xcalloc(1, sizeof(*call));
	call->framing = target.framing;
	call->network = network_is_udp(target.network) ? NETWORK_UDP : NETWORK_TCP;
	call->cb = cb;
	call->arg = arg;
	if (target.network == NETWORK_UNIX)
		dial_unix = dial_unix_start(dialer->loop, ns, dialer->config.policy, target.path,
					    target.timeout_ms, unix_dialed, call);
	else
		dial = dial_start(dialer->loop, ns, target.network, &target.addr, target.timeout_ms,
				  port_dialed, call);
	if (dial == NULL && dial_unix == NULL)
		return NULL; /* called back, and freed */
	call->dial = dial;
	call->dial_unix = dial_unix;
	return call;
}

struct dialer_call *dialer_call(struct dialer *dialer, const char *method,
				const struct rpc_params *params, dialer_cb cb, void *arg)
{
	struct dialer_answer answer = { .fd = -1 };
	struct error err;
	int rc;

	if (strcmp(method, METHOD_PORT_DIAL) == 0)
		return port_dial(dialer, params, cb, arg);
	if (strcmp(method, METHOD_INFO) == 0)
		rc = info_answer(dialer, params, &answer.result, &err);
	else if (strcmp(method, METHOD_PORTS) == 0)
		rc = ports_answer(dialer, params, &answer, &err);
	else if (strcmp(method, METHOD_PORT_ACCEPT) == 0)
		rc = accept_answer(dialer, params, &answer, &err);
	else if (strcmp(method, METHOD_HOSTS) == 0)
		rc = hosts_answer(dialer, params, &answer, &err);
	else
		rc = error_set(&err, REASON_UNSUPPORTED, 0, "unsupported method \"%.64s\"", method);
	cb(rc < 0 ? NULL : &answer, rc < 0 ? &err : NULL, arg);
	json_decref(answer.result);
	return NULL;
}

void dialer_cancel(struct dialer_call *call)
{
	if (call->dial != NULL)
		dial_cancel(call->dial);
	if (call->dial_unix != NULL)
		dial_unix_cancel(call->dial_unix);
	free(call);
}
