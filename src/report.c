/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "lib/acceptor.h"
#include "lib/session.h"
#include "lib/sock.h"
#include "lib/trusted.h"
#include "report.h"

#define ASKERS_MAX 4
#define REQUESTS_MAX 16 /* an asker's */

struct report {
	struct loop *loop;
	const char *command;
	json_t *(*list)(void *arg);
	void *arg;
	char *path;
	struct sock_file file;
	struct accept_limit limit;
	struct acceptor *acceptor; /* NULL: closed; freed with the last asker */
	TAILQ_HEAD(, asker) askers;
	uint64_t last_id;
};

struct asker {
	TAILQ_ENTRY(asker) next;
	struct session session;
	struct report *report;
};

static struct asker *asker_of(struct session *session)
{
	return container_of(session, struct asker, session);
}

json_t *report_result(const char *command, json_t *forwards)
{
	return xcheck(json_pack("{s:{s:I, s:s}, s:o}", "process", "pid", (json_int_t)getpid(),
				"command", command, "forwards", forwards));
}

static void asker_request(struct session *session)
{
	struct report *report = asker_of(session)->report;
	_cleanup_json_ json_t *result = NULL;
	struct error err;

	if (strcmp(session->request.method, "forward.list") == 0) {
		result = report_result(report->command, report->list(report->arg));
		session_answer_result(session, result);
		return;
	}
	error_set(&err, REASON_UNSUPPORTED, 0, "unsupported method \"%.64s\"",
		  session->request.method);
	session_fail(session, &err, SESSION_GO_ON);
}

static void asker_closed(struct session *session)
{
	(void)session;
}

static void report_free(struct report *report)
{
	free(report->path);
	free(report);
}

static void asker_freed(struct session *session)
{
	struct asker *asker = asker_of(session);
	struct report *report = asker->report;

	TAILQ_REMOVE(&report->askers, asker, next);
	free(asker);
	accept_limit_release(&report->limit);
	if (report->acceptor == NULL && TAILQ_EMPTY(&report->askers))
		report_free(report);
}

static const struct session_ops asker_ops = {
	.label = "status",
	.requests_max = REQUESTS_MAX,
	.request = asker_request,
	.closed = asker_closed,
	.freed = asker_freed,
};

static void report_accepted(int fd, const struct sockaddr_storage *peer, void *arg)
{
	struct report *report = arg;
	struct asker *asker;
	struct error err;
	uid_t uid;

	(void)peer;
	asker = xcalloc(1, sizeof(*asker));
	asker->report = report;
	TAILQ_INSERT_TAIL(&report->askers, asker, next);
	if (sock_peer_uid(fd, &uid) == 0 && (uid == 0 || uid == geteuid())) {
		session_start(&asker->session, &asker_ops, report->loop, ++report->last_id, fd, fd);
		return;
	}
	error_set(&err, REASON_DENIED, EACCES, "that is for another user");
	session_refuse(&asker->session, &asker_ops, report->loop, ++report->last_id, fd, &err);
}

/* The listener, or a negative number with *err. */
static int report_listen(struct report *report, struct error *err)
{
	_cleanup_free_ char *dir = run_path(REPORT_DIR, err);
	_cleanup_close_ int dir_fd = -1;

	if (dir == NULL)
		return -EINVAL;
	dir_fd = trusted_open_dir(dir, true, err);
	if (dir_fd < 0)
		return dir_fd;
	report->path = xasprintf("%s/%d.sock", dir, (int)getpid());
	return sock_listen_unix(report->path, err);
}

struct report *report_open(struct loop *loop, const char *command, json_t *(*list)(void *arg),
			   void *arg)
{
	struct report *report = xcalloc(1, sizeof(*report));
	struct error err;
	int fd;

	*report = (struct report){ .loop = loop, .command = command, .list = list, .arg = arg };
	TAILQ_INIT(&report->askers);
	accept_limit_init(&report->limit, ASKERS_MAX);
	fd = report_listen(report, &err);
	if (fd < 0) {
		log_debug(NULL, "nothing for vzfwd status: %s", err.message);
		report_free(report);
		return NULL;
	}
	report->file = sock_file_of(report->path);
	report->acceptor =
		acceptor_new(loop, fd, &report->limit, "status", report_accepted, report);
	return report;
}

void report_close(struct report *report)
{
	struct asker *asker;

	if (report == NULL)
		return;
	sock_file_unlink(&report->file, report->path);
	acceptor_free(report->acceptor);
	report->acceptor = NULL;
	TAILQ_FOREACH (asker, &report->askers, next) {
		if (asker->session.state != SESSION_CLOSED)
			session_close(&asker->session);
	}
	if (TAILQ_EMPTY(&report->askers))
		report_free(report);
}
