/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd dial`: one connection into a pod, relayed to stdin and stdout or to an inherited
 * socket, or handed over as a descriptor. stdout carries payload and nothing else.
 */
#include "config.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "dial-near.h"
#include "dial-options.h"
#include "dial-udp.h"
#include "lib/caps.h"
#include "lib/inherit.h"
#include "lib/link.h"
#include "lib/relay.h"
#include "lib/sock.h"
#include "signals.h"
#include "status.h"

enum { OPTION_STATUS_FD = 1, OPTION_HALF_CLOSE, OPTION_PASS_FD, OPTION_STREAM_FD, OPTION_FRAMING };

#define WHY_STOPPED "the dialing side was told to stop"

static const struct option_def options[] = {
	{ 0, "status-fd", VALUE_NUMBER, "N", NULL,
	  "write JSON lines about the connection to this descriptor", OPTION_STATUS_FD },
	{ 0, "half-close", VALUE_NONE, NULL, NULL,
	  "go on sending stdin after the target has closed its side", OPTION_HALF_CLOSE },
	{ 0, "pass-fd", VALUE_NONE, NULL, NULL,
	  "send the connected socket over stdout, a Unix socket, and exit", OPTION_PASS_FD },
	{ 0, "stream-fd", VALUE_NUMBER, "N", NULL,
	  "relay this inherited socket instead of stdin and stdout", OPTION_STREAM_FD },
	{ 0, "framing", VALUE_WORDS, "FRAMING", "records raw",
	  "how the link is framed (default: records; raw can't tell a cut from an end)",
	  OPTION_FRAMING },
	DIAL_UDP_OPTIONS,
	CAPTURE_OPTIONS,
	DIAL_OPTIONS,
	{ 0 },
};

struct dial {
	struct loop loop;
	struct dial_options options;
	int status_fd, stream_fd; /* -1: none */
	bool half_close, pass_fd;
	enum framing framing;
	struct dial_udp udp;
	enum network network;
	const char *address;
	char *what;                   /* "dial web tcp 127.0.0.1:80", for messages */
	struct relay_end_config near; /* until the relay has it */
	struct event *watch;          /* while dialing: does somebody read the output? */
	struct dialing *dialing;
	struct capture_options captures;
	struct capture *capture; /* NULL: none */
	struct capture_stream *captured;
	struct relay *relay; /* one of the two */
	struct datagrams *datagrams;
	pid_t child;
	int signal; /* the one that ended it */
	int code;
};

static int fd_option(const char *name, const char *value, int *fd, struct error *err)
{
	uint64_t n;
	int rc = opts_number(name, value, 0, INT32_MAX, &n, err);

	if (rc < 0)
		return rc;
	*fd = (int)n;
	if (fcntl(*fd, F_GETFD) < 0)
		return error_set(err, REASON_INVALID, EBADF, "--%s: descriptor %d is not open",
				 name, *fd);
	/* An exec: endpoint's command would hold it open. */
	if (*fd > STDERR_FILENO)
		fd_set_cloexec(*fd, true);
	return 0;
}

static int dial_handle_option(int id, const char *value, void *arg, struct error *err)
{
	struct dial *d = arg;

	switch (id) {
	case OPTION_STATUS_FD:
		return fd_option("status-fd", value, &d->status_fd, err);
	case OPTION_STREAM_FD:
		return fd_option("stream-fd", value, &d->stream_fd, err);
	case OPTION_HALF_CLOSE:
		d->half_close = true;
		return 0;
	case OPTION_PASS_FD:
		d->pass_fd = true;
		return 0;
	case OPTION_FRAMING:
		if (framing_from_name(value, &d->framing) < 0)
			return error_set(err, REASON_INVALID, EINVAL,
					 "--framing: \"%s\" is neither records nor raw", value);
		return 0;
	case CAPTURE_FILE:
	case CAPTURE_LIMIT:
		return capture_option(&d->captures, id, value, err);
	case DIAL_UDP_FRAMING:
	case DIAL_UDP_IDLE:
		return dial_udp_option(&d->udp, id, value, err);
	default:
		return dial_option(&d->options, id, value, err);
	}
}

/*
 * One line on stderr; but where nobody reads our output any more, as when an ssh whose
 * ProxyCommand we are has ended, dial is as silent as others are that die by SIGPIPE.
 */
static int tell(const struct dial *d, const struct error *err, bool is_output)
{
	if (is_output && (err->sys_errno == EPIPE || err->sys_errno == ECONNRESET))
		return reason_exit_code(err->reason);
	return command_fail(d->what, err);
}

static void dial_failed(struct dial *d, const struct error *err, bool is_output)
{
	if (d->capture != NULL && d->captured == NULL && d->dialing == NULL && !is_output)
		capture_refused(d->capture, NULL, d->address, (uint64_t)getpid());
	status_error(d->status_fd, err);
	d->code = tell(d, err, is_output);
	loop_stop(&d->loop);
}

static void dial_relayed(const struct relay_result *result, void *arg)
{
	struct dial *d = arg;

	d->relay = NULL;
	d->datagrams = NULL;
	status_closed(d->status_fd, result);
	if (result->outcome != RELAY_EOF && result->outcome != RELAY_SIGNAL)
		d->code = tell(d, &result->err, result->outcome == RELAY_LOCAL);
	loop_stop(&d->loop);
}

static void watch_end(struct dial *d)
{
	if (d->watch != NULL)
		event_free(d->watch);
	d->watch = NULL;
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;
	struct pollfd pfd = { .fd = fd };
	struct error err;

	(void)what;
	if (poll(&pfd, 1, 0) != 1 || !(pfd.revents & (POLLERR | POLLHUP)))
		return;
	error_set(&err, REASON_BROKEN, EPIPE, "%s", errno_text(EPIPE));
	dial_failed(d, &err, true);
}

/* A dial may take its time; who started it may be gone before it comes to an end. */
static void watch_start(struct dial *d)
{
	int fd = d->pass_fd ? STDOUT_FILENO : d->near.wfd;
	struct stat st;

	if (fstat(fd, &st) < 0 || !(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
		return;
	d->watch = xcheck(event_new(d->loop.base, fd, EV_WRITE | EV_ET | EV_PERSIST, on_watch, d));
	event_add(d->watch, NULL);
}

/* Over stdout goes the socket, in blocking mode; nobody of us stays in the path. */
static void pass(struct dial *d, const struct link_dialed *dialed)
{
	const struct relay_result left = { .outcome = RELAY_EOF };
	struct error err;
	int rc = fd_set_nonblock(dialed->fd, false);

	if (rc == 0)
		rc = sock_send_fd(STDOUT_FILENO, dialed->fd);
	close(dialed->fd);
	if (rc < 0) {
		error_set(&err, REASON_BROKEN, -rc, "--pass-fd: %s", errno_text(-rc));
		d->child = dialed->child;
		dial_failed(d, &err, true);
		return;
	}
	status_connected(d->status_fd, dialed->result);
	status_closed(d->status_fd, &left); /* as far as we are concerned */
	loop_stop(&d->loop);
}

/* A client that is none has the number of our process for a port. */
static struct tap *begin_capture(struct dial *d, enum capture_type type, const char *target)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	bool known = getpeername(d->near.rfd, (struct sockaddr *)&ss, &len) == 0;

	if (d->capture != NULL)
		d->captured = capture_stream_new(d->capture, type, known ? &ss : NULL, target,
						 (uint64_t)getpid());
	return capture_stream_tap(d->captured);
}

static void relay(struct dial *d, const struct link_dialed *dialed)
{
	struct relay_config config = { .done = dial_relayed, .arg = d, .name = { d->what, 0 } };

	config.end[0] = d->near;
	config.end[1] = (struct relay_end_config){ .rfd = dialed->fd,
						   .wfd = dialed->fd,
						   .framing = dialed->result->framing };
	config.tap = begin_capture(d, CAPTURE_TCP, dialed->result->remote);
	config.flags = RELAY_CONFIRM | RELAY_READER;
	if (d->child != 0)
		config.flags |= RELAY_COMMAND;
	/* A socket can be told that the target has ended, and go on sending; stdin can't. */
	if (!d->half_close && d->stream_fd < 0)
		config.flags |= RELAY_LEAVE;
	d->relay = relay_new(&d->loop, &config);
}

static void dial_connected(const struct link_dialed *dialed, const struct error *err, void *arg)
{
	struct dial *d = arg;
	struct error failed;

	d->dialing = NULL;
	watch_end(d);
	if (err != NULL) {
		dial_failed(d, err, false);
		return;
	}
	if (d->pass_fd) {
		pass(d, dialed);
		return;
	}
	d->child = dialed->child;
	/* All is open that takes privileges; but a command may not be root any more when it is ended. */
	if (caps_drop(d->child > 0 ? CAPS_KILL : CAPS_NONE, NULL, &failed) < 0) {
		close(dialed->fd);
		dial_failed(d, &failed, false);
		return;
	}
	status_connected(d->status_fd, dialed->result);
	if (network_is_udp(d->network))
		d->datagrams = dial_udp_start(&d->udp, &d->loop, &d->near, dialed,
					      begin_capture(d, CAPTURE_UDP, dialed->result->remote),
					      d->what, dial_relayed, d);
	else
		relay(d, dialed);
	d->near.rfd = d->near.wfd = -1;
}

/* The first one resets the stream, a second one does not wait for what is under way. */
static void on_signal(int number, short what, void *arg)
{
	struct dial *d = arg;
	struct error err;

	(void)what;
	if (d->relay != NULL) {
		relay_abort(d->relay, WHY_STOPPED);
	} else if (d->datagrams != NULL) {
		datagrams_abort(d->datagrams, WHY_STOPPED);
	} else {
		if (d->signal == 0) {
			error_set(&err, REASON_UNREACHABLE, EINTR,
				  "stopped before it was connected");
			status_error(d->status_fd, &err);
		}
		loop_stop(&d->loop);
	}
	d->signal = number;
}

static void run(struct dial *d)
{
	struct stop_signals signals = { 0 };
	struct error err;

	if (signals_catch(&signals, &d->loop, on_signal, d, &err) < 0) {
		dial_failed(d, &err, false);
	} else if (loop_run(&d->loop) < 0) {
		error_set(&err, REASON_INTERNAL, 0, "the event loop failed");
		dial_failed(d, &err, false);
	}
	/* An exec: endpoint's command is ended in any case. */
	signals_release(&signals);
	capture_stream_free(d->captured);
	capture_close(d->capture);
	watch_end(d);
	link_dial_cancel(d->dialing);
	child_end(&d->loop, d->child);
	loop_run(&d->loop);
}

/* True if the stream is to go there: a descriptor has one use. */
static bool is_taken(const struct dial *d, int fd)
{
	return d->stream_fd >= 0 ? fd == d->stream_fd : fd == STDIN_FILENO || fd == STDOUT_FILENO;
}

static int check_status_fd(struct dial *d, struct error *err)
{
	int fd = d->status_fd;

	if (!is_taken(d, fd))
		return 0;
	d->status_fd = -1; /* nor may this error go there */
	return error_set(err, REASON_INVALID, EBUSY, "--status-fd: descriptor %d is the stream's",
			 fd);
}

static int check_endpoint(const struct dial *d, const struct endpoint *ep, struct error *err)
{
	if (d->pass_fd && network_is_udp(d->network) && !link_is_local(ep))
		return error_set(
			err, REASON_INVALID, EINVAL,
			"--pass-fd: udp has a socket to pass only in netns: and pid: pods");
	if (ep->type == ENDPOINT_FD && (ep->fd == d->status_fd || is_taken(d, ep->fd)))
		return error_set(err, REASON_INVALID, EBUSY, "fd:%d has another use already",
				 ep->fd);
	return 0;
}

static int check_address(struct dial *d, const char *text, struct error *err)
{
	struct address address;

	/* A port alone will do. */
	if (d->network != NETWORK_UNIX && strchr(text, ':') == NULL)
		d->address = xasprintf(":%s", text);
	else
		d->address = xstrdup(text);
	return d->network == NETWORK_UNIX ? target_path_check(d->address, err)
					  : address_parse(&address, d->address, err);
}

/* Everything that can be told to be wrong before anything is connected. */
static int check(struct dial *d, const char *const *operands, int count, struct error *err)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	const char *network = count == 3 ? operands[1] : "tcp";
	int type;
	socklen_t type_len = sizeof(type);

	if (check_status_fd(d, err) < 0)
		return -EBUSY;
	if (count != 2 && count != 3)
		return error_set(err, REASON_INVALID, EINVAL,
				 "POD [NETWORK] ADDRESS is needed; see vzfwd dial --help");
	if (rpc_network_parse(network, &d->network, err) < 0 ||
	    dial_udp_check(&d->udp, d->network, d->framing, err) < 0 ||
	    check_address(d, operands[count - 1], err) < 0)
		return -EINVAL;
	free(d->what);
	d->what = xasprintf("dial %s %s %s", operands[0], network, operands[count - 1]);
	if (d->stream_fd >= 0 &&
	    (getsockopt(d->stream_fd, SOL_SOCKET, SO_TYPE, &type, &type_len) < 0 ||
	     type != SOCK_STREAM))
		return error_set(err, REASON_INVALID, ENOTSOCK, "--stream-fd: not a stream socket");
	if (!d->pass_fd)
		return 0;
	if (d->captures.file != NULL)
		return error_set(err, REASON_INVALID, EINVAL,
				 "--capture: nothing of what --pass-fd gives away is seen here");
	if (!network_is_udp(d->network))
		d->framing = FRAMING_RAW;
	if (d->stream_fd >= 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "--pass-fd and --stream-fd exclude each other");
	if (getsockname(STDOUT_FILENO, (struct sockaddr *)&ss, &len) < 0 || ss.ss_family != AF_UNIX)
		return error_set(err, REASON_INVALID, ENOTSOCK,
				 "--pass-fd: stdout is not a Unix socket");
	return 0;
}

static void start(struct dial *d, const struct pod *pod)
{
	struct link_options link = { .pod = (struct pod *)pod,
				     .policy = &d->options.policy,
				     .name = { d->what, 0 } };
	struct port_dial dial = {
		.handle = d->options.handle != NULL ? d->options.handle : pod->handle,
		.container_id = d->options.container,
		.network = d->network,
		.address = d->address,
		.timeout_ms = d->options.timeout_ms,
		.framing = d->framing,
	};

	watch_start(d);
	d->dialing = link_dial(&d->loop, &link, &dial, dial_connected, d);
}

static int prepare(struct dial *d, const struct pod *pod, struct error *err)
{
	if (check_endpoint(d, &pod->endpoint, err) < 0 ||
	    (!d->pass_fd && near_open(&d->near, d->stream_fd, err) < 0))
		return -EINVAL;
	if (loop_init(&d->loop) < 0)
		return error_set(err, REASON_EXHAUSTED, EMFILE, "%s", errno_text(EMFILE));
	return capture_start(&d->captures, &d->loop, &d->capture, err);
}

static int dial_run(struct cli *cli, int argc, char **argv)
{
	struct dial d = {
		.status_fd = -1,
		.stream_fd = -1,
		.framing = FRAMING_RECORDS,
		.udp = DIAL_UDP_DEFAULT,
		.near = { .rfd = -1, .wfd = -1, .framing = FRAMING_RAW },
		.options.timeout_ms = TIMEOUT_MS_DEFAULT,
		.what = xstrdup("dial"),
	};
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(char *));
	struct pod pod = { 0 };
	struct error err;
	int count = command_parse(cli, &cmd_dial, argc, argv, dial_handle_option, &d, operands);

	if (check(&d, operands, count, &err) < 0 ||
	    command_pod(cli, operands[0], d.options.handle, &pod, &err) < 0 ||
	    prepare(&d, &pod, &err) < 0) {
		status_error(d.status_fd, &err);
		d.code = command_fail(d.what, &err);
	} else {
		start(&d, &pod);
		run(&d);
	}
	near_close(&d.near);
	inherit_restore();
	if (d.signal != 0)
		signals_die(d.signal);
	pod_clear(&pod);
	policy_clear(&d.options.policy);
	loop_clear(&d.loop);
	free((char *)d.address);
	free(d.what);
	return d.code;
}

const struct command cmd_dial = {
	.name = "dial",
	.synopsis = "POD [NETWORK] ADDRESS",
	.summary = "connect stdin and stdout to a port in a pod",
	.details =
		"NETWORK is tcp (the default), tcp4, tcp6, udp, udp4, udp6 or unix. ADDRESS is\n"
		"127.0.0.1:80, [::1]:80, or a port alone, which means 127.0.0.1, then ::1; for\n"
		"unix the absolute path of a socket in the pod. With udp each read from stdin is\n"
		"one datagram.",
	.options = options,
	.operands = { VALUE_POD, VALUE_NETWORK, VALUE_ADDRESS },
	.run = dial_run,
};
