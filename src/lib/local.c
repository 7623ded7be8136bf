/* SPDX-License-Identifier: MIT */
/* The dialer in this process, for netns: and pid: endpoints. */
#include "config.h"

#include <errno.h>

#include "local.h"

#ifdef HAVE_SETNS

#include "dialer.h"
#include "ports-watch.h"

struct local {
	struct loop *loop;
	struct netns_source *source;
	struct dialer *dialer;
	struct policy none;
	struct port_watch *watch; /* NULL: none */
	void (*notified)(json_t *params, void *arg);
	void *notified_arg;
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
					 .policy = policy != NULL ? policy : &local->none };
	local->dialer = dialer_new(loop, &config);
	return local;
}

void local_close(struct local *local)
{
	if (local == NULL)
		return;
	port_watch_free(local->watch);
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

void local_notify(struct local *local, void (*cb)(json_t *params, void *arg), void *arg)
{
	local->notified = cb;
	local->notified_arg = arg;
	port_watch_listen(local->watch, local_changed, local);
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

#endif
