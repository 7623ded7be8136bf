/* SPDX-License-Identifier: MIT */
/*
 * What listens in a netns. sock_diag tells the sockets and their inodes; whose they are is
 * found by looking once through the descriptors of the processes that live in that netns.
 */
#include "config.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/rpc.h"
#include "accept.h"
#include "netlink.h"
#include "ports.h"

#define PORTS_MAX 16384 /* at 60 bytes and more each, about what fits an answer */

/* The kernel's own numbers (include/net/tcp_states.h); UDP sockets have them too. */
#define STATE_CLOSE 7
#define STATE_LISTEN 10

struct port {
	const char *network;
	struct address addr;
	uint32_t inode;
	pid_t pid; /* 0: not known */
	char name[64];
};

struct port_list {
	unsigned refs;
	struct port *ports;
	size_t count;
	/* Of the dump that runs: */
	const char *network;
	const struct accepts *accepts;
	/* Finding the processes: */
	pid_t next;      /* those before it have been looked at in this pass; 0: none has */
	unsigned passes; /* that are to come, with this one */
};

struct port_list *port_list_new(void)
{
	struct port_list *list = xcalloc(1, sizeof(*list));

	list->refs = 1;
	return list;
}

struct port_list *port_list_ref(struct port_list *list)
{
	list->refs++;
	return list;
}

void port_list_unref(struct port_list *list)
{
	if (list == NULL || --list->refs > 0)
		return;
	free(list->ports);
	free(list);
}

bool port_list_is_matched(const struct port_list *list)
{
	return list->passes == 0;
}

size_t port_list_count(const struct port_list *list)
{
	return list->count;
}

static int port_add(const struct nlmsghdr *header, const void *payload, size_t length, void *arg)
{
	const struct inet_diag_msg *msg = payload;
	struct port_list *list = arg;
	struct port *port;

	if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY || length < sizeof(*msg))
		return -EPROTO;
	if (msg->id.idiag_sport == 0 || accepts_own(list->accepts, msg->idiag_inode))
		return 0;
	if (list->count == PORTS_MAX)
		return -EMSGSIZE;
	/* Doubles when full: the count is a power of two then. */
	if ((list->count & (list->count - 1)) == 0)
		list->ports = xrealloc(list->ports,
				       (list->count ? list->count * 2 : 1) * sizeof(*list->ports));
	port = &list->ports[list->count++];
	*port = (struct port){ .network = list->network, .inode = msg->idiag_inode };
	port->addr.port = ntohs(msg->id.idiag_sport);
	port->addr.family = msg->idiag_family;
	memcpy(&port->addr.v6, msg->id.idiag_src, sizeof(port->addr.v6));
	/* A wildcard stays what it is, so this is not address_normalise(). */
	if (msg->idiag_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&port->addr.v6)) {
		port->addr.family = AF_INET;
		port->addr.v6 = in6addr_any;
		memcpy(&port->addr.v4, &msg->id.idiag_src[3], sizeof(port->addr.v4));
	}
	return 0;
}

/* Asks for the sockets of one family and protocol in one state. */
static int ports_dump(int fd, struct port_list *list, uint8_t family, uint8_t protocol,
		      struct error *err)
{
	struct inet_diag_req_v2 request = {
		.sdiag_family = family,
		.sdiag_protocol = protocol,
		.idiag_states = 1u << (protocol == IPPROTO_TCP ? STATE_LISTEN : STATE_CLOSE),
	};
	int rc;

	list->network = protocol == IPPROTO_TCP ? "tcp" : "udp";
	rc = netlink_dump(fd, SOCK_DIAG_BY_FAMILY, &request, sizeof(request), port_add, list);
	/* A kernel may know TCP's and not UDP's (CONFIG_INET_UDP_DIAG), or have no IPv6. */
	if (rc == -ENOENT && (protocol == IPPROTO_UDP || family == AF_INET6))
		return 0;
	if (rc == -EMSGSIZE)
		return error_set(err, REASON_EXHAUSTED, 0, "more ports than an answer can hold");
	if (rc == -ENOENT)
		return error_set(err, REASON_UNSUPPORTED, ENOENT, "this kernel has no inet_diag");
	return rc < 0 ? netns_error(err, -rc, "cannot list the pod's sockets") : 0;
}

/* All of them, without their processes. The socket is not kept: it would keep the netns of a pod that has gone. */
static int ports_dump_all(struct netns *ns, const struct accepts *accepts, struct port_list *list,
			  struct error *err)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP };
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	_cleanup_close_ int fd = netns_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG, err);
	int rc = fd < 0 ? fd : 0;

	list->accepts = accepts;
	for (size_t i = 0; i < 4 && rc == 0; i++)
		rc = ports_dump(fd, list, families[i % 2], protocols[i / 2], err);
	return rc;
}

static int inode_compare(const void *a, const void *b)
{
	const struct port *pa = a, *pb = b;

	return pa->inode < pb->inode ? -1 : pa->inode > pb->inode;
}

/* By network, port, address. */
static int key_compare(const struct port *a, const struct port *b)
{
	int rc = strcmp(a->network, b->network);

	if (rc == 0)
		rc = (int)a->addr.port - (int)b->addr.port;
	if (rc == 0)
		rc = (int)a->addr.family - (int)b->addr.family;
	if (rc == 0)
		rc = memcmp(&a->addr.v6, &b->addr.v6,
			    a->addr.family == AF_INET ? sizeof(a->addr.v4) : sizeof(a->addr.v6));
	return rc;
}

/* The same, and of the same ones (SO_REUSEPORT) those with a process first. */
static int port_compare(const void *a, const void *b)
{
	const struct port *pa = a, *pb = b;
	int rc = key_compare(a, b);

	if (rc == 0)
		rc = (pa->pid == 0) - (pb->pid == 0);
	return rc != 0 ? rc : inode_compare(a, b);
}

/* Sorts, and leaves one of each. */
static void ports_unify(struct port_list *list)
{
	size_t count = 0;

	if (list->count > 0)
		qsort(list->ports, list->count, sizeof(*list->ports), port_compare);
	for (size_t i = 0; i < list->count; i++) {
		if (count == 0 || key_compare(&list->ports[i], &list->ports[count - 1]) != 0)
			list->ports[count++] = list->ports[i];
	}
	list->count = count;
}

/* /proc/PID/comm without its newline; "" if it can't be read. */
static void process_name(int procfd, const char *pid, char *name, size_t size)
{
	char path[32];
	_cleanup_close_ int fd = -1;
	ssize_t n = 0;

	snprintf(path, sizeof(path), "%.15s/comm", pid);
	fd = openat(procfd, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, name, size - 1);
	if (n > 0 && name[n - 1] == '\n')
		n--;
	name[n > 0 ? n : 0] = '\0';
}

/*
 * One process in the netns: gives its PID and name to the ports whose sockets it holds. Until `limit`:
 * the loop stands still meanwhile, and a pod may have a million descriptors.
 */
static void process_match(int procfd, const char *pid, struct port_list *list, int64_t limit)
{
	char path[32], target[64];
	struct dirent *entry;
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "%.15s/fd", pid);
	fd = openat(procfd, path, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL && now_ms() < limit) {
		ssize_t n = readlinkat(fd, entry->d_name, target, sizeof(target) - 1);
		struct port key = { 0 }, *port;

		if (n <= 0)
			continue;
		target[n] = '\0';
		if (sscanf(target, "socket:[%u]", &key.inode) != 1)
			continue;
		port = bsearch(&key, list->ports, list->count, sizeof(key), inode_compare);
		/* The lowest PID that holds it is the server itself; workers come after. */
		if (port == NULL || port->pid != 0)
			continue;
		port->pid = (pid_t)atoi(pid);
		process_name(procfd, pid, port->name, sizeof(port->name));
	}
	closedir(dir);
}

/* As far as /proc lets us see. A process that takes all of the time by itself is not looked at twice in a pass. */
void port_list_match(struct port_list *list, struct netns *ns, int ms)
{
	DIR *proc = list->count > 0 ? opendir("/proc") : NULL;
	int64_t limit = now_ms() + ms;
	struct dirent *entry;
	struct stat st;
	char path[40];

	if (proc == NULL) {
		list->next = 0;
		list->passes = 0;
		ports_unify(list);
		return;
	}
	qsort(list->ports, list->count, sizeof(*list->ports), inode_compare);
	while ((entry = readdir(proc)) != NULL && now_ms() < limit) {
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid <= 0 || pid < list->next)
			continue;
		list->next = pid + 1;
		snprintf(path, sizeof(path), "%.15s/ns/net", entry->d_name);
		if (fstatat(dirfd(proc), path, &st, 0) == 0 && netns_is(ns, &st))
			process_match(dirfd(proc), entry->d_name, list, limit);
	}
	if (entry == NULL) {
		list->next = 0;
		list->passes--;
	}
	closedir(proc);
	ports_unify(list);
}

static json_t *port_json(const struct port *port)
{
	char host[INET6_ADDRSTRLEN];
	json_t *json;

	inet_ntop(port->addr.family, &port->addr.v6, host, sizeof(host));
	json = json_pack("{s:s, s:s, s:i}", "network", port->network, "address", host, "port",
			 (int)port->addr.port);
	if (port->pid != 0)
		json_object_set_new(json, "process",
				    json_pack("{s:i, s:o}", "pid", (int)port->pid, "name",
					      rpc_system_string(port->name)));
	return json;
}

static json_t *ports_json(const struct port_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(array, port_json(&list->ports[i]));
	return json_pack("{s:o}", "ports", array);
}

/* What was known of the same sockets. What is new is looked for in the rest of this pass, and in a whole one. */
static void ports_carry_over(struct port_list *list, const struct port_list *known)
{
	list->next = known->next;
	list->passes = known->passes;
	for (size_t i = 0, k = 0; i < list->count; i++) {
		struct port *port = &list->ports[i];

		while (k < known->count && key_compare(&known->ports[k], port) < 0)
			k++;
		if (k < known->count && key_compare(&known->ports[k], port) == 0 &&
		    known->ports[k].inode == port->inode)
			*port = known->ports[k];
		else
			list->passes = list->next == 0 ? 1 : 2;
	}
}

int port_list_get(struct netns *ns, const struct accepts *accepts, const struct port_list *known,
		  struct port_list **out, struct error *err)
{
	struct port_list *list = port_list_new();
	int rc = ports_dump_all(ns, accepts, list, err);

	if (rc < 0) {
		port_list_unref(list);
		return rc;
	}
	ports_unify(list);
	ports_carry_over(list, known);
	*out = list;
	return 0;
}

int port_list_json(const struct port_list *list, json_t **out, struct error *err)
{
	_cleanup_json_ json_t *result = ports_json(list);
	_cleanup_free_ char *text = json_dumps(result, JSON_COMPACT);

	if (text == NULL || strlen(text) > RPC_ANSWER_MAX - RPC_LINE_MAX)
		return error_set(err, REASON_EXHAUSTED, 0, "more ports than an answer can hold");
	*out = json_incref(result);
	return 0;
}

int ports_list(struct netns *ns, const struct accepts *accepts, json_t **out, struct error *err)
{
	struct port_list *list = port_list_new();
	int rc = ports_dump_all(ns, accepts, list, err);

	if (rc == 0) {
		list->passes = 1;
		port_list_match(list, ns, PORT_LIST_MATCH_MS);
		rc = port_list_json(list, out, err);
	}
	port_list_unref(list);
	return rc;
}

json_t *port_list_changes(const struct port_list *from, const struct port_list *to)
{
	json_t *added = json_array(), *removed = json_array();
	size_t f = 0, t = 0;

	while (f < from->count || t < to->count) {
		int rc = f == from->count ? 1
			 : t == to->count ? -1
					  : key_compare(&from->ports[f], &to->ports[t]);

		if (rc < 0)
			json_array_append_new(removed, port_json(&from->ports[f]));
		else if (rc > 0)
			json_array_append_new(added, port_json(&to->ports[t]));
		f += rc <= 0;
		t += rc >= 0;
	}
	if (json_array_size(added) > 0 || json_array_size(removed) > 0)
		return json_pack("{s:o, s:o}", "added", added, "removed", removed);
	json_decref(added);
	json_decref(removed);
	return NULL;
}
