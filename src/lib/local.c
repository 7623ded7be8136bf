/* SPDX-License-Identifier: MIT */
/* The dialer in this process, for netns: and pid: endpoints. */
#include "config.h"

#include <errno.h>

#include "local.h"

#ifdef HAVE_SETNS

#include "accept.h"
#include "datagrams.h"
#include "dialer.h"
#include "hosts-block.h"
#include "ports-watch.h"
#include "sock.h"
#include "udp.h"

struct local {
	struct loop *loop;
	struct netns_source *source;
	struct dialer *dialer;
	struct policy none;
	struct port_watch *watch;  /* NULL: none */
	struct hosts_block *hosts; /* NULL: none */
	void (*notified)(json_t *params, void *arg);
	void *notified_arg;
	struct parked *parked;       /* NULL: none */
	struct accept_client client; /* that it is for now, as far as it was not taken */
	bool has_client;
	void (*accepted)(int fd, const struct port_accepted *told, void *arg);
	void *accepted_arg;
	struct loop_task telling;
};

struct local_call {
	struct local *local;
	struct dialer_call *call; /* NULL once it is answered */
	struct loop_task task;
	json_t *result; /* NULL: dialed */
	struct port_dialed dialed;
	int fd;
	bool failed;
	struct error err;
	local_cb cb;
	void *arg;
};

struct local *local_open(struct loop *loop, const struct endpoint *ep, const struct policy *policy,
			 struct error *err)
{
	struct local *local = xcalloc(1, sizeof(*local));
	struct dialer_config config;
	int rc;

	local->loop = loop;
	local->client.fd = -1;
	local->source = netns_source_new();
	if (ep->type == ENDPOINT_PID)
		rc = netns_source_set_pid(local->source, ep->pid, err);
	else
		rc = netns_source_set_pod(local->source, ep->text, err);
	if (rc < 0) {
		local_close(local);
		return NULL;
	}
	config = (struct dialer_config){ .source = local->source,
					 .policy = policy != NULL ? policy : &local->none,
					 .allow_expose = true,
					 .allow_egress = true };
	local->dialer = dialer_new(loop, &config);
	return local;
}

void local_close(struct local *local)
{
	if (local == NULL)
		return;
	port_watch_free(local->watch);
	hosts_block_free(local->hosts);
	loop_cancel(&local->telling);
	parked_free(local->parked);
	datagrams_client_release(local->client.datagrams);
	accept_release(local->client.listener, false);
	if (local->client.fd >= 0)
		sock_close_reset(local->client.fd);
	if (local->dialer != NULL)
		dialer_free(local->dialer);
	netns_source_free(local->source);
	free(local);
}

static void local_call_free(struct local_call *call)
{
	loop_cancel(&call->task);
	json_decref(call->result);
	if (call->fd >= 0)
		close(call->fd);
	free(call);
}

static void local_tell(void *arg)
{
	struct local_call *call = arg;

	call->cb(call->result, call->result == NULL && !call->failed ? &call->dialed : NULL,
		 steal_fd(&call->fd), call->failed ? &call->err : NULL, call->arg);
	local_call_free(call);
}

/* The dialer may answer before dialer_call() returns: keep it for the loop. */
static void local_answer(const struct dialer_answer *answer, const struct error *err, void *arg)
{
	struct local_call *call = arg;

	call->call = NULL;
	call->failed = err != NULL;
	if (err != NULL) {
		call->err = *err;
		call->err.answered = true;
	} else {
		call->result = json_incref(answer->result);
		if (answer->dialed != NULL)
			call->dialed = *answer->dialed;
		if (answer->watch != NULL) {
			port_watch_free(call->local->watch);
			call->local->watch = answer->watch;
		}
		if (answer->hosts != NULL) {
			hosts_block_free(call->local->hosts);
			call->local->hosts = answer->hosts;
		}
		if (answer->parked != NULL) {
			parked_free(call->local->parked);
			call->local->parked = answer->parked;
		}
		/* The socket itself is given, whatever was asked for. */
		call->dialed.framing = FRAMING_RAW;
		call->fd = answer->fd;
	}
	loop_later(call->local->loop, &call->task, 0, local_tell, call);
}

struct local_call *local_call(struct local *local, const char *method, json_t *params, local_cb cb,
			      void *arg)
{
	struct local_call *call = xcalloc(1, sizeof(*call));

	*call = (struct local_call){ .local = local, .fd = -1, .cb = cb, .arg = arg };
	call->call = dialer_call(local->dialer, method, &(struct rpc_params){ .json = params },
				 local_answer, call);
	return call;
}

void local_cancel(struct local_call *call)
{
	if (call->call != NULL)
		dialer_cancel(call->call);
	local_call_free(call);
}

static void local_changed(void *arg)
{
	struct local *local = arg;
	_cleanup_json_ json_t *params = NULL;

	if (port_watch_is_over(local->watch)) {
		local->notified(NULL, local->notified_arg);
		return;
	}
	params = port_watch_take(local->watch);
	if (params != NULL)
		local->notified(params, local->notified_arg);
}

static void local_hosts_gone(void *arg)
{
	struct local *local = arg;

	local->notified(NULL, local->notified_arg);
}

void local_notify(struct local *local, void (*cb)(json_t *params, void *arg), void *arg)
{
	local->notified = cb;
	local->notified_arg = arg;
	if (local->watch != NULL)
		port_watch_listen(local->watch, local_changed, local);
	if (local->hosts != NULL)
		hosts_block_listen(local->hosts, local_hosts_gone, local);
}

static void local_tell_accepted(void *arg)
{
	struct local *local = arg;

	local->accepted(steal_fd(&local->client.fd), local->has_client ? &local->client.told : NULL,
			local->accepted_arg);
}

static void local_accepted(struct accept_client *client, void *arg)
{
	struct local *local = arg;

	local->has_client = client != NULL;
	if (client != NULL)
		local->client = *client;
	loop_later(local->loop, &local->telling, 0, local_tell_accepted, local);
}

void local_accept(struct local *local,
		  void (*cb)(int fd, const struct port_accepted *told, void *arg), void *arg)
{
	local->accepted = cb;
	local->accepted_arg = arg;
	parked_ready(local->parked, local_accepted, local);
}

struct datagrams_client *local_take_datagrams(struct local *local)
{
	struct datagrams_client *datagrams = local->client.datagrams;

	local->client.datagrams = NULL;
	return datagrams;
}

struct accept_listener *local_take_listener(struct local *local)
{
	struct accept_listener *listener = local->client.listener;

	local->client.listener = NULL;
	if (listener != NULL)
		accepts_get(local->loop);
	return listener;
}

void local_release(struct loop *loop, struct accept_listener *listener)
{
	if (listener == NULL)
		return;
	accept_release(listener, false);
	accepts_put(loop->accepts);
}

sa_family_t local_udp_loopback(uint16_t port)
{
	return udp_loopback(NULL, port);
}

#else

struct local *local_open(struct loop *loop, const struct endpoint *ep, const struct policy *policy,
			 struct error *err)
{
	(void)loop;
	(void)ep;
	(void)policy;
	error_set(err, REASON_UNSUPPORTED, ENOSYS, "this system has no network namespaces");
	return NULL;
}

void local_close(struct local *local)
{
	(void)local;
}

struct local_call *local_call(struct local *local, const char *method, json_t *params, local_cb cb,
			      void *arg)
{
	(void)local;
	(void)method;
	(void)params;
	(void)cb;
	(void)arg;
	return NULL;
}

void local_cancel(struct local_call *call)
{
	(void)call;
}

void local_notify(struct local *local, void (*cb)(json_t *params, void *arg), void *arg)
{
	(void)local;
	(void)cb;
	(void)arg;
}

void local_accept(struct local *local,
		  void (*cb)(int fd, const struct port_accepted *told, void *arg), void *arg)
{
	(void)local;
	(void)cb;
	(void)arg;
}

struct datagrams_client *local_take_datagrams(struct local *local)
{
	(void)local;
	return NULL;
}

struct accept_listener *local_take_listener(struct local *local)
{
	(void)local;
	return NULL;
}

void local_release(struct loop *loop, struct accept_listener *listener)
{
	(void)loop;
	(void)listener;
}

sa_family_t local_udp_loopback(uint16_t port)
{
	(void)port;
	return AF_INET;
}

#endif
