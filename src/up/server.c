/* SPDX-License-Identifier: MIT */
/*
 * The client of a `vzfwd serve` (vzfwd-serve(7)). Its calls block: nothing else goes on in this process, and the
 * server answers them at once.
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <string.h>

#include "lib/line.h"
#include "lib/rpc.h"
#include "lib/sock.h"
#include "up.h"

#define ANSWER_MS 5000

/* A forward that it holds for us: a handle. */
struct held {
	TAILQ_ENTRY(held) next;
	json_int_t id;
	json_t *listeners; /* of strings */
};

struct up_server {
	int fd;
	bool lost; /* nothing can be asked any more */
	json_int_t last_id;
	struct event *event;
	TAILQ_HEAD(, held) held;
	void (*gone)(void *arg);
	void *arg;
};

/* on_readable() tells of it too. */
static int lost(struct up_server *server, struct error *err, int rc)
{
	server->lost = true;
	shutdown(server->fd, SHUT_RDWR);
	return error_set(err, rc == -EAGAIN ? REASON_TIMEOUT : REASON_UNREACHABLE, -rc,
			 "the server: %s",
			 rc == 0         ? "it has gone"
			 : rc == -EAGAIN ? "no answer"
					 : errno_text(-rc));
}

/* 0, or -EAGAIN when the time is over. */
static int wait_for(int fd, short events, int64_t until)
{
	struct pollfd pfd = { .fd = fd, .events = events };
	int64_t left = until - now_ms();

	if (left <= 0 || (poll(&pfd, 1, (int)left) == 0))
		return -EAGAIN;
	return 0;
}

static int write_all(struct up_server *server, const char *text, int64_t until, struct error *err)
{
	size_t length = strlen(text), sent = 0;

	while (sent < length) {
		ssize_t n = send(server->fd, text + sent, length - sent, MSG_NOSIGNAL);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno != EINTR &&
			 (errno != EAGAIN || wait_for(server->fd, POLLOUT, until) < 0))
			return lost(server, err, -errno);
	}
	return 0;
}

static int read_answer(struct up_server *server, struct line *line, int64_t until,
		       struct error *err)
{
	int rc = line_read(line, server->fd);

	while (rc == -EAGAIN && wait_for(server->fd, POLLIN, until) == 0)
		rc = line_read(line, server->fd);
	return rc == 1 ? 0 : lost(server, err, rc);
}

/* The params' reference is taken. 0 and a new one in *result, or a negative number with *err. */
static int call(struct up_server *server, const char *method, json_t *params, json_t **result,
		struct error *err)
{
	struct line line = { .max = RPC_ANSWER_MAX };
	int64_t until = now_ms() + ANSWER_MS;
	json_int_t id = ++server->last_id;
	_cleanup_free_ char *request = rpc_format_request(id, method, params);
	int rc = server->lost ? lost(server, err, 0) : write_all(server, request, until, err);

	json_decref(params);
	if (rc == 0)
		rc = read_answer(server, &line, until, err);
	if (rc == 0)
		rc = rpc_parse_answer(line.text, line.length, id, result, err);
	line_clear(&line);
	return rc;
}

/* As forward.add takes it: a relative path is from our folder, not from the server's. */
static char *listen_text(const struct forward_spec *spec)
{
	_cleanup_free_ char *folder = NULL;
	char text[ADDRESS_TEXT_MAX];
	struct address bind = spec->bind;

	switch (spec->bind_type) {
	case BIND_ALL:
		return xasprintf("*:%u", spec->local_port);
	case BIND_ADDRESS:
		bind.port = spec->local_port;
		return xstrdup(address_format(&bind, text));
	case BIND_UNIX:
		if (spec->local_path[0] == '/')
			return xasprintf("unix:%s", spec->local_path);
		folder = getcwd(NULL, 0);
		return xasprintf("unix:%s/%s", folder != NULL ? folder : "", spec->local_path);
	default:
		return xasprintf("localhost:%u", spec->local_port);
	}
}

static json_t *add_params(const struct up_entry *entry, const struct held *predecessor)
{
	_cleanup_free_ char *listen = listen_text(&entry->spec);
	char address[ADDRESS_TEXT_MAX];
	const char *target = entry->spec.network == NETWORK_UNIX
				     ? entry->spec.remote_path
				     : address_format(&entry->spec.remote, address);
	json_t *params = json_pack("{s:s, s:s, s:s, s:s, s:s*, s:i, s:b}", "pod", entry->pod,
				   "listen", listen, "network", network_name(entry->spec.network),
				   "address", target, "containerID", entry->container_id,
				   "timeoutMs", entry->timeout_ms, "held", 1);

	if (predecessor != NULL)
		json_object_set_new(params, "replaces", json_integer(predecessor->id));
	return params;
}

static int server_add(void *arg, const struct up_entry *entry, void *predecessor, void **handle,
		      struct error *err)
{
	_cleanup_json_ json_t *result = NULL;
	struct up_server *server = arg;
	json_t *id, *listeners;
	struct held *held;
	int rc = call(server, "forward.add", add_params(entry, predecessor), &result, err);

	if (rc < 0)
		return rc;
	id = json_object_get(result, "id");
	listeners = json_object_get(result, "listeners");
	if (!json_is_integer(id) || !json_is_array(listeners))
		return error_set(err, REASON_INTERNAL, 0, "the server: forward.add has no id");
	held = xcalloc(1, sizeof(*held));
	held->id = json_integer_value(id);
	held->listeners = json_incref(listeners);
	TAILQ_INSERT_TAIL(&server->held, held, next);
	*handle = held;
	return 0;
}

static void held_free(struct up_server *server, struct held *held)
{
	TAILQ_REMOVE(&server->held, held, next);
	json_decref(held->listeners);
	free(held);
}

/* It can only fail with the server itself. */
static void server_remove(void *arg, void *handle)
{
	_cleanup_json_ json_t *result = NULL;
	struct held *held = handle;
	struct error err;

	if (call(arg, "forward.remove", json_pack("{s:I}", "id", held->id), &result, &err) < 0)
		log_warning(NULL, "up: forward %lld: %s", (long long)held->id, err.message);
	held_free(arg, held);
}

static const char *server_listener(const void *handle, size_t i)
{
	const struct held *held = handle;

	return json_string_value(json_array_get(held->listeners, i));
}

const struct up_backend up_server = { server_add, server_remove, server_listener };

/* Between calls a server says nothing but that it has gone. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct up_server *server = arg;

	(void)fd;
	(void)what;
	event_del(server->event);
	server->gone(server->arg);
}

static int server_connect(int fd, const char *path, struct error *err)
{
	struct sockaddr_storage ss;
	socklen_t length;
	uid_t uid;
	int rc = sock_unix_address(&ss, &length, path);

	if (rc < 0)
		return error_set(err, REASON_INVALID, -rc, "%s: %s", path, errno_text(-rc));
	if (connect(fd, (struct sockaddr *)&ss, length) < 0)
		return error_set(
			err, errno == EACCES || errno == EPERM ? REASON_DENIED : REASON_UNREACHABLE,
			errno, "%s: %s", path, errno_text(errno));
	rc = sock_peer_uid(fd, &uid);
	if (rc < 0 || (uid != 0 && uid != geteuid()))
		return error_set(err, REASON_DENIED, EPERM,
				 "%s: the server is neither root's nor yours", path);
	return 0;
}

struct up_server *up_server_open(struct loop *loop, const char *path, void (*gone)(void *arg),
				 void *arg, struct error *err)
{
	struct up_server *server = xcalloc(1, sizeof(*server));

	*server = (struct up_server){ .gone = gone, .arg = arg };
	TAILQ_INIT(&server->held);
	server->fd = sock_new(AF_UNIX, SOCK_STREAM, 0);
	if (server->fd < 0) {
		error_set(err, REASON_EXHAUSTED, -server->fd, "%s", errno_text(-server->fd));
		free(server);
		return NULL;
	}
	if (server_connect(server->fd, path, err) < 0) {
		up_server_close(server);
		return NULL;
	}
	server->event =
		event_new(loop->base, server->fd, EV_READ | EV_PERSIST, on_readable, server);
	if (server->event == NULL || event_add(server->event, NULL) < 0)
		abort();
	return server;
}

void up_server_close(struct up_server *server)
{
	if (server == NULL)
		return;
	while (!TAILQ_EMPTY(&server->held))
		held_free(server, TAILQ_FIRST(&server->held));
	if (server->event != NULL)
		event_free(server->event);
	close(server->fd);
	free(server);
}
