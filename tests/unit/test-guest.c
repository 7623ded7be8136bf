/* SPDX-License-Identifier: MIT */
/*
 * The dialer without root: state files of container runtimes, what addresses mean, names of
 * pods, who may connect, and a whole call in our own netns.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h> /* older linux/vm_sockets.h needs it before */
#include <sys/stat.h>
#ifdef HAVE_VSOCK
#include <linux/vm_sockets.h>
#endif

#include "lib/caps.h"
#include "guest/dial.h"
#include "guest/dialer.h"
#include "guest/listen.h"
#include "guest/oci.h"
#include "lib/sock.h"
#include "tests/tap.h"

static const struct {
	const char *text;
	int pid; /* 0: refused */
	uint64_t start;
} states[] = {
	/* as runc 1.1 writes it */
	{ "{\"id\":\"web\",\"init_process_pid\":6315,\"init_process_start\":107201,"
	  "\"created\":\"2026-11-21T23:13:29Z\",\"config\":{\"rootfs\":\"/r\"}}",
	  6315, 107201 },
	/* as crun 1.8 writes it */
	{ "{\n    \"pid\": 6536,\n    \"process-start-time\": 108743,\n    \"cgroup-path\": \"\","
	  "\n    \"owner\": \"root\"\n}\n",
	  6536, 108743 },
	{ "{\"pid\":1}", 1, 0 },
	{ "{\"pid\":0,\"process-start-time\":5}", 0, 0 },
	{ "{\"pid\":-1}", 0, 0 },
	{ "{\"pid\":4294967297}", 0, 0 },
	{ "{\"pid\":1,\"process-start-time\":-5}", 0, 0 },
	{ "{\"pid\":\"1\"}", 0, 0 },
	{ "{\"pid\":1,\"pid\":2}", 0, 0 },
	{ "[1]", 0, 0 },
	{ "{}", 0, 0 },
	{ "{", 0, 0 },
	{ "", 0, 0 },
};

static void test_oci_parse(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		struct oci_state state = { 0 };
		struct error err;
		int rc = oci_state_parse(states[i].text, strlen(states[i].text), &state, &err);

		is_int(rc == 0 ? state.pid : 0, states[i].pid, "state %zu: pid", i);
		if (rc == 0)
			is_int((long long)state.start, (long long)states[i].start,
			       "state %zu: start", i);
		else
			is_str(reason_name(err.reason), "not-running", "state %zu: reason", i);
	}
}

static void write_file(int dirfd, const char *path, const char *text, size_t padding)
{
	int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	for (size_t i = 0; i < padding; i++) {
		if (write(fd, " ", 1) != 1)
			break;
	}
	ok(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "wrote %s", path);
	close(fd);
}

static void remove_dir(const char *path)
{
	_cleanup_free_ char *command = xasprintf("rm -rf %s", path);

	ok(system(command) == 0, "removed the folder");
}

static void test_oci_read(void)
{
	static const struct {
		const char *id;
		int pid;
		const char *reason;
	} wants[] = {
		{ "runc", 7, NULL },         { "crun", 8, NULL },
		{ "big", 0, "not-running" }, { "empty", 0, "not-found" },
		{ "link", 0, "not-found" },  { "none", 0, "not-found" },
		{ "linked", 0, "denied" },
	};
	char root[] = "/tmp/test-guest.XXXXXX";
	int dirfd;

	ok(mkdtemp(root) != NULL, "a folder");
	dirfd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(wants); i++) {
		if (strcmp(wants[i].id, "link") != 0 && strcmp(wants[i].id, "none") != 0)
			mkdirat(dirfd, wants[i].id, 0700);
	}
	write_file(dirfd, "runc/state.json", "{\"init_process_pid\":7}", 0);
	write_file(dirfd, "crun/status", "{\"pid\":8}", 100000);
	write_file(dirfd, "big/status", "{\"pid\":8}", 1024 * 1024);
	symlinkat("runc", dirfd, "link");
	symlinkat("../runc/state.json", dirfd, "linked/state.json");
	for (size_t i = 0; i < ARRAY_SIZE(wants); i++) {
		struct oci_state state = { 0 };
		struct error err = { 0 };
		int rc = oci_state_read(root, wants[i].id, &state, &err);

		is_int(state.pid, wants[i].pid, "%s: pid", wants[i].id);
		is_str(rc < 0 ? reason_name(err.reason) : NULL, wants[i].reason, "%s: reason",
		       wants[i].id);
	}
	close(dirfd);
	remove_dir(root);
}

static void test_resolve(void)
{
	static const struct {
		const char *address;
		enum network network;
		const char *want; /* NULL: refused */
	} cases[] = {
		{ ":80", NETWORK_TCP, "localhost:80" },
		{ ":80", NETWORK_TCP4, "127.0.0.1:80" },
		{ "localhost:80", NETWORK_TCP6, "[::1]:80" },
		{ "10.0.0.1:80", NETWORK_TCP, "10.0.0.1:80" },
		{ "10.0.0.1:80", NETWORK_TCP4, "10.0.0.1:80" },
		{ "10.0.0.1:80", NETWORK_TCP6, NULL },
		{ "[fd00::1]:80", NETWORK_TCP, "[fd00::1]:80" },
		{ "[fd00::1]:80", NETWORK_TCP4, NULL },
		{ "0.0.0.0:80", NETWORK_TCP, "127.0.0.1:80" },
		{ "[::]:80", NETWORK_TCP, "[::1]:80" },
		{ "[::ffff:10.0.0.1]:80", NETWORK_TCP4, "10.0.0.1:80" },
		{ "[::ffff:10.0.0.1]:80", NETWORK_TCP6, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address addr;
		struct error err;
		char text[ADDRESS_TEXT_MAX];
		int rc = address_parse(&addr, cases[i].address, &err);

		if (rc == 0)
			rc = dial_resolve(&addr, cases[i].network, &err);
		is_str(rc == 0 ? address_format(&addr, text) : NULL, cases[i].want, "%s over %s",
		       cases[i].address, network_name(cases[i].network));
	}
}

static void test_allowed(void)
{
	static const struct {
		const char *address;
		bool allowed;
	} cases[] = {
		{ ":80", true },
		{ "127.3.2.1:80", true },
		{ "[::1]:80", true },
		{ "10.255.1.1:80", false },
		{ "192.0.2.1:443", true },
		{ "192.0.2.1:444", false },
		{ "[2001:db8::1]:1", false },
	};
	struct netns_source *source = netns_source_new();
	struct policy policy = { 0 };
	struct netns *ns = NULL;
	struct error err;

	is_int(policy_allow(&policy, "192.0.2.0/24:443", &err), 0, "a rule");
	is_int(netns_open(source, "any", NULL, &ns, &err), 0, "our own netns");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address addr;
		int rc = address_parse(&addr, cases[i].address, &err);

		if (rc == 0)
			rc = dial_allowed(&policy, ns, &addr, &err);
		is_int(rc == 0, cases[i].allowed, "%s", cases[i].address);
		if (rc < 0)
			is_str(reason_name(err.reason), "denied", "%s: reason", cases[i].address);
	}
	netns_close(ns);
	policy_clear(&policy);
	netns_source_free(source);
}

static const char *open_reason(struct netns_source *source, const char *handle, const char *id)
{
	struct netns *ns = NULL;
	struct error err;
	int rc = netns_open(source, handle, id, &ns, &err);

	netns_close(ns);
	return rc < 0 ? reason_name(err.reason) : "open";
}

static void test_source(void)
{
	static const char *const bad_names[] = { "", "a", "a=", "=/x", "a b=/x", "../a=/x" };
	char root[] = "/tmp/test-guest.XXXXXX";
	struct netns_source *source = netns_source_new();
	_cleanup_free_ char *listed = NULL;
	struct error err;
	char **names;
	size_t count;
	int dirfd;

	is_str(open_reason(source, "any", NULL), "open", "any handle means the pod");
	is_str(open_reason(source, "any", "c"), "not-found", "no container ID means anything");
	is_str(open_reason(source, "a/b", NULL), "invalid", "an invalid handle");
	for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++)
		ok(netns_source_add_name(source, bad_names[i], &err) < 0, "--netns %s",
		   bad_names[i]);
	ok(netns_source_set_pid(source, 0, &err) < 0, "no process 0");

	ok(mkdtemp(root) != NULL, "a folder");
	dirfd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	write_file(dirfd, "web", "", 0);
	write_file(dirfd, "dup", "", 0);
	write_file(dirfd, ".hidden", "", 0);
	close(dirfd);
	is_int(netns_source_add_name(source, "self=/proc/self/ns/net", &err), 0, "--netns");
	ok(netns_source_add_name(source, "self=/other", &err) < 0, "--netns given twice");
	is_int(netns_source_add_name(source, "dup=/none", &err), 0, "--netns");
	is_int(netns_source_add_name(source, "uts=/proc/self/ns/uts", &err), 0, "--netns");
	is_int(netns_source_add_dir(source, root, &err), 0, "--netns-dir");
	is_str(open_reason(source, "self", NULL), "open", "by name");
	is_str(open_reason(source, "self", "self"), "open", "container by name");
	is_str(open_reason(source, "dup", NULL), "not-running", "a name goes before the folder");
	is_str(open_reason(source, "uts", NULL), "not-running", "another kind of namespace");
	is_str(open_reason(source, "web", NULL), "not-running", "a plain file");
	is_str(open_reason(source, "any", NULL), "not-found", "with names, others are none");
	is_int(netns_source_names(source, &names, &count), 0, "names");
	listed = xstrdup("");
	for (size_t i = 0; i < count; i++) {
		char *more = xasprintf("%s %s", listed, names[i]);

		free(listed);
		listed = more;
	}
	is_str(listed, " dup self uts web", "sorted, each once");
	names_free(names, count);
	netns_source_free(source);
	remove_dir(root);
}

static void test_user(void)
{
	static const struct {
		const char *text;
		bool valid;
		uid_t uid;
		gid_t gid;
	} cases[] = {
		{ "1000", true, 1000, 1000 },  { "1000:5", true, 1000, 5 },
		{ "0:0", true, 0, 0 },         { "", false, 0, 0 },
		{ "root", false, 0, 0 },       { "1:", false, 0, 0 },
		{ ":1", false, 0, 0 },         { "1:2:3", false, 0, 0 },
		{ "4294967295", false, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct caps_user user = { 0 };
		struct error err;

		is_int(caps_user_parse(&user, cases[i].text, &err) == 0, cases[i].valid,
		       "--user \"%s\"", cases[i].text);
		ok(user.uid == cases[i].uid && user.gid == cases[i].gid, "its numbers");
	}
}

static void test_unix_peer(void)
{
	const struct peer_rules rules = { 0 };
	struct sockaddr_storage peer = { .ss_family = AF_UNIX };
	char text[PEER_TEXT_MAX];
	int sv[2];

	is_int(sock_pair(sv), 0, "a pair of sockets");
	ok(peer_allowed(&rules, sv[0], &peer, text), "we may talk to ourselves");
	close(sv[0]);
	close(sv[1]);
}

static void test_vsock_peer(void)
{
#ifdef HAVE_VSOCK
	static const struct {
		uint32_t cid, port;
		bool allowed, allowed_privileged;
		const char *text;
	} cases[] = {
		{ 2, 1023, true, true, "vsock 2:1023" },
		{ 2, 1024, true, false, "vsock 2:1024" },
		{ 7, 5000, true, false, "vsock 7:5000" },
		{ 3, 1, false, false, "vsock 3:1" },
		{ UINT32_MAX, UINT32_MAX, false, false, "vsock 4294967295:4294967295" },
	};
	uint32_t cids[] = { 2, 7 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct peer_rules rules = { .cids = cids, .cid_count = ARRAY_SIZE(cids) };
		struct sockaddr_storage peer = { 0 };
		struct sockaddr_vm *svm = (struct sockaddr_vm *)&peer;
		char text[PEER_TEXT_MAX];

		svm->svm_family = AF_VSOCK;
		svm->svm_cid = cases[i].cid;
		svm->svm_port = cases[i].port;
		is_int(peer_allowed(&rules, -1, &peer, text), cases[i].allowed, "%s",
		       cases[i].text);
		is_str(text, cases[i].text, "its name");
		rules.privileged = true;
		is_int(peer_allowed(&rules, -1, &peer, text), cases[i].allowed_privileged,
		       "%s with --privileged-peer", cases[i].text);
	}
#else
	skip("no AF_VSOCK here");
#endif
}

/* What a call answered, with the loop stopped. */
struct outcome {
	struct loop *loop;
	bool done;
	int fd;
	char text[ERROR_MESSAGE_MAX];
};

static void on_answer(const struct dialer_answer *answer, const struct error *err, void *arg)
{
	struct outcome *outcome = arg;
	char *json = answer == NULL           ? NULL
		     : answer->dialed != NULL ? rpc_format_port_dialed(NULL, answer->dialed)
					      : json_dumps(answer->result, JSON_COMPACT);

	outcome->done = true;
	outcome->fd = answer != NULL ? answer->fd : -1;
	snprintf(outcome->text, sizeof(outcome->text), "%s", json != NULL ? json : err->message);
	free(json);
	loop_stop(outcome->loop);
}

static void call(struct dialer *dialer, const char *method, const char *params,
		 struct outcome *outcome)
{
	_cleanup_json_ json_t *json = json_loads(params, 0, NULL);

	outcome->done = false;
	dialer_call(dialer, method, &(struct rpc_params){ .json = json }, on_answer, outcome);
	if (!outcome->done)
		loop_run(outcome->loop);
}

/* A TCP listener on 127.0.0.1, and its port. */
static int listener_new(uint16_t *port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = sock_new(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&sin, len) < 0 || listen(fd, 4) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) < 0)
		return -1;
	*port = ntohs(sin.sin_port);
	return fd;
}

static void test_call(void)
{
	struct netns_source *source = netns_source_new();
	struct policy policy = { 0 };
	struct dialer_config config = { .source = source, .policy = &policy };
	struct loop loop;
	struct outcome outcome = { .loop = &loop };
	struct dialer *dialer;
	_cleanup_free_ char *params = NULL, *remote = NULL;
	uint16_t port = 0;
	int listener = listener_new(&port), client;

	is_int(loop_init(&loop), 0, "a loop");
	dialer = dialer_new(&loop, &config);
	ok(listener >= 0, "a listener");
	params = xasprintf("{\"handle\":\"x\",\"network\":\"tcp\",\"port\":%u}", port);
	remote = xasprintf("\"remote\":\"127.0.0.1:%u\"", port);
	call(dialer, METHOD_PORT_DIAL, params, &outcome);
	ok(strstr(outcome.text, remote) != NULL, "a dial tells its remote: %s", outcome.text);
	ok(outcome.fd >= 0 && (fcntl(outcome.fd, F_GETFL) & O_NONBLOCK), "and gives the socket");
	client = sock_accept(listener, &(struct sockaddr_storage){ 0 },
			     &(socklen_t){ sizeof(struct sockaddr_storage) });
	ok(client >= 0, "that the listener sees");
	close(client);
	close(outcome.fd);
	close(listener);
	call(dialer, METHOD_PORT_DIAL, params, &outcome);
	ok(strncmp(outcome.text, "127.0.0.1:", 10) == 0 ||
		   strcmp(outcome.text, "connection refused") == 0,
	   "nobody listens: %s", outcome.text);
	is_int(outcome.fd, -1, "no socket then");
	call(dialer, "pod.ports", "{\"handle\":\"x\"}", &outcome);
	ok(strncmp(outcome.text, "{\"ports\":[", 10) == 0, "pod.ports");
	call(dialer, "pod.nothing", "{}", &outcome);
	is_str(outcome.text, "unsupported method \"pod.nothing\"", "an unknown method");
	dialer_free(dialer);
	loop_clear(&loop);
	netns_source_free(source);
}

int main(void)
{
	test_oci_parse();
	test_oci_read();
	test_resolve();
	test_allowed();
	test_source();
	test_user();
	test_unix_peer();
	test_vsock_peer();
	test_call();
	return done_testing();
}
