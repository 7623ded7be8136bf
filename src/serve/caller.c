/* SPDX-License-Identifier: MIT */
/* Callers: who may be one, and which part of the server answers what. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "lib/sock.h"
#include "caller.h"

static struct caller *caller_of(struct session *session)
{
	return container_of(session, struct caller, session);
}

void caller_unlimit(struct caller *c)
{
	if (!c->limited)
		return;
	c->limited = false;
	caller_share(c)->callers--;
	accept_limit_release(&c->serve->callers_limit);
}

static void caller_closed(struct session *session)
{
	struct caller *c = caller_of(session);

	caller_dial_cancel(c);
	caller_ports_cancel(c);
	caller_watch_stop(c);
	caller_unlimit(c);
	forwards_release(c->serve, &c->authority);
}

static void caller_freed(struct session *session)
{
	struct caller *c = caller_of(session);
	struct serve *serve = c->serve;

	TAILQ_REMOVE(&serve->callers, c, next);
	free(c);
	serve_check_idle(serve);
}

static void caller_handed_over(struct session *session)
{
	caller_become_stream(caller_of(session));
}

static char *caller_notification(struct session *session)
{
	return caller_watch_notification(caller_of(session));
}

static void caller_request(struct session *session)
{
	struct caller *c = caller_of(session);
	const struct rpc_request *request = &session->request;
	_cleanup_json_ json_t *result = NULL;
	struct error err;

	if (strcmp(request->method, METHOD_PORT_DIAL) == 0)
		caller_dial(c);
	else if (strcmp(request->method, "pod.ports") == 0)
		caller_ports(c);
	else if (method_call(c->serve, &c->authority, request->method, &request->params, &result,
			     &err) < 0)
		session_fail(session, &err, SESSION_GO_ON);
	else
		session_answer_result(session, result);
}

static const struct session_ops caller_ops = {
	.label = "caller",
	.may_idle = true,
	.request = caller_request,
	.notification = caller_notification,
	.handed_over = caller_handed_over,
	.closed = caller_closed,
	.freed = caller_freed,
};

/* Who it is: 0, or a negative number with why this peer is not served. */
static int check_peer(const struct serve *serve, int fd, struct authority *who, struct error *err)
{
	const struct serve_config *config = &serve->config;
	int rc = sock_peer_uid(fd, &who->uid);
	bool allowed;

	who->kind = CALLER_STRANGER;
	if (rc < 0)
		return error_set(err, REASON_DENIED, -rc, "can't tell who calls: %s",
				 errno_text(-rc));
	allowed = who->uid == 0;
	for (size_t i = 0; i < config->uid_count; i++)
		allowed |= config->uids[i] == who->uid;
	if (who->uid == geteuid())
		who->kind = CALLER_OWN;
	else if (allowed)
		who->kind = CALLER_OTHER;
	else
		return error_set(err, REASON_DENIED, EACCES, "uid %u may not call; see --allow-uid",
				 (unsigned)who->uid);
	return 0;
}

void serve_accepted(int fd, const struct sockaddr_storage *peer, void *arg)
{
	struct serve *serve = arg;
	struct authority who = { 0 };
	struct share *share;
	struct caller *c;
	struct error err;
	int rc = check_peer(serve, fd, &who, &err);

	(void)peer;
	share = &serve->shares[who.kind];
	/* No answer: it would take up a place that is not theirs for a while. */
	if (share->callers >= share->callers_max) {
		log_debug(NULL, "too many callers: closed one of uid %u", (unsigned)who.uid);
		close(fd);
		accept_limit_release(&serve->callers_limit);
		return;
	}
	c = xcalloc(1, sizeof(*c));
	c->serve = serve;
	c->authority = who;
	c->authority.connection = ++serve->last_id;
	c->stream = -1;
	c->limited = true;
	share->callers++;
	TAILQ_INSERT_TAIL(&serve->callers, c, next);
	if (rc < 0)
		session_refuse(&c->session, &caller_ops, serve->config.loop,
			       c->authority.connection, fd, &err);
	else
		session_start(&c->session, &caller_ops, serve->config.loop, c->authority.connection,
			      fd, fd);
}
