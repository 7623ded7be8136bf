/* SPDX-License-Identifier: MIT */
/* vzfwd-guest's command line. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/opts.h"
#include "options.h"

enum option_id {
	OPTION_LISTEN,
	OPTION_STDIO,
	OPTION_POD_NETNS,
	OPTION_NETNS,
	OPTION_NETNS_DIR,
	OPTION_OCI_ROOT,
	OPTION_ALLOW,
	OPTION_ALLOW_UNIX,
	OPTION_ALLOW_EXPOSE,
	OPTION_ALLOW_EGRESS,
	OPTION_HOSTS_FILE,
	OPTION_ALLOW_CID,
	OPTION_PRIVILEGED_PEER,
	OPTION_TOKEN_FILE,
	OPTION_MAX_CONNECTIONS,
	OPTION_USER
};

static const struct option_def options[] = {
	{ 0, "listen", VALUE_TEXT, "ENDPOINT", NULL,
	  "vsock://any[:PORT] or unix:///PATH; may be repeated (default: vsock://any:893)",
	  OPTION_LISTEN },
	{ 0, "stdio", VALUE_NONE, NULL, NULL, "serve one link on stdin and stdout", OPTION_STDIO },
	{ 0, "pod-netns", VALUE_FILE, "PATH", NULL, "the pod's netns (default: our own)",
	  OPTION_POD_NETNS },
	{ 0, "netns", VALUE_TEXT, "NAME=PATH", NULL, "a pod or container by name", OPTION_NETNS },
	{ 0, "netns-dir", VALUE_DIR, "DIR", NULL, "pods or containers by name, as in /run/netns",
	  OPTION_NETNS_DIR },
	{ 0, "oci-root", VALUE_DIR, "DIR", NULL,
	  "containers by ID: runc's or crun's state directory", OPTION_OCI_ROOT },
	{ 0, "allow", VALUE_TEXT, "CIDR[:PORT[-PORT]]", NULL,
	  "allow targets that are not the pod's own addresses", OPTION_ALLOW },
	{ 0, "allow-unix", VALUE_TEXT, "PATTERN", NULL,
	  "allow Unix sockets in the pod whose path matches (/run/app/*.sock)", OPTION_ALLOW_UNIX },
	{ 0, "allow-expose", VALUE_NONE, NULL, NULL,
	  "let the host have ports and Unix sockets in the pod lead to it", OPTION_ALLOW_EXPOSE },
	{ 0, "allow-egress", VALUE_NONE, NULL, NULL,
	  "let the host have all that leaves the pod lead to it", OPTION_ALLOW_EGRESS },
	{ 0, "hosts-file", VALUE_TEXT, "PATTERN", NULL,
	  "with these two: hosts files in the pod, beside /etc/hosts, that names may be written to",
	  OPTION_HOSTS_FILE },
	{ 0, "allow-cid", VALUE_NUMBER, "CID", NULL,
	  "who may connect over vsock (default: 2, the host)", OPTION_ALLOW_CID },
	{ 0, "privileged-peer", VALUE_NONE, NULL, NULL,
	  "take vsock peers only from ports below 1024", OPTION_PRIVILEGED_PEER },
	{ 0, "token-file", VALUE_FILE, "FILE", NULL, "the secret that requests have to carry",
	  OPTION_TOKEN_FILE },
	{ 0, "max-connections", VALUE_NUMBER, "N", NULL,
	  "connections at a time (default: by the descriptor limit)", OPTION_MAX_CONNECTIONS },
	{ 0, "user", VALUE_TEXT, "UID[:GID]", NULL, "run as this user once listening",
	  OPTION_USER },
	COMMON_OPTIONS,
};

static int option_listen(struct guest_options *o, const char *value, struct error *err)
{
	struct endpoint endpoint;

	if (endpoint_parse_listen(&endpoint, value, err) < 0)
		return error_prefix(err, "--listen");
	o->listen = xrealloc(o->listen, (o->listen_count + 1) * sizeof(*o->listen));
	o->listen[o->listen_count++] = endpoint;
	return 0;
}

static int option_allow_cid(struct peer_rules *peers, const char *value, struct error *err)
{
	uint64_t cid;

	if (opts_number("allow-cid", value, 0, VSOCK_CID_ANY - 1, &cid, err) < 0)
		return -EINVAL;
	peers->cids = xrealloc(peers->cids, (peers->cid_count + 1) * sizeof(*peers->cids));
	peers->cids[peers->cid_count++] = (uint32_t)cid;
	return 0;
}

/* The options that say where pods are. */
static int option_source(struct netns_source *source, int id, const char *value, struct error *err)
{
	static const struct {
		const char *name;
		int (*set)(struct netns_source *source, const char *value, struct error *err);
	} setters[] = {
		[OPTION_POD_NETNS] = { "--pod-netns", netns_source_set_pod },
		[OPTION_NETNS] = { "--netns", netns_source_add_name },
		[OPTION_NETNS_DIR] = { "--netns-dir", netns_source_add_dir },
		[OPTION_OCI_ROOT] = { "--oci-root", netns_source_add_oci_root },
	};

	if (setters[id].set(source, value, err) < 0)
		return error_prefix(err, "%s", setters[id].name);
	return 0;
}

static int option_take(int id, const char *value, void *arg, struct error *err)
{
	struct guest_options *o = arg;
	int rc = common_option(&o->common, id, value, err);

	if (rc <= 0)
		return rc;
	switch ((enum option_id)id) {
	case OPTION_LISTEN:
		return option_listen(o, value, err);
	case OPTION_STDIO:
		o->stdio = true;
		return 0;
	case OPTION_POD_NETNS:
	case OPTION_NETNS:
	case OPTION_NETNS_DIR:
	case OPTION_OCI_ROOT:
		return option_source(o->source, id, value, err);
	case OPTION_ALLOW:
		return policy_allow(&o->policy, value, err);
	case OPTION_ALLOW_UNIX:
		return policy_allow_unix(&o->policy, value, err);
	case OPTION_ALLOW_EXPOSE:
		o->allow_expose = true;
		return 0;
	case OPTION_ALLOW_EGRESS:
		o->allow_egress = true;
		return 0;
	case OPTION_HOSTS_FILE:
		return policy_allow_hosts(&o->policy, value, err);
	case OPTION_ALLOW_CID:
		return option_allow_cid(&o->peers, value, err);
	case OPTION_PRIVILEGED_PEER:
		o->peers.privileged = true;
		return 0;
	case OPTION_TOKEN_FILE:
		o->token_file = value;
		return 0;
	case OPTION_MAX_CONNECTIONS:
		return opts_number("max-connections", value, 1, CONNECTIONS_LIMIT,
				   &o->max_connections, err);
	case OPTION_USER:
		return caps_user_parse(&o->user, value, err);
	}
	return 0;
}

void options_help(void)
{
	puts("usage: vzfwd-guest [OPTION]...\n"
	     "       vzfwd-guest COMMAND [OPTION]... [ARGUMENT]...\n"
	     "\n"
	     "Opens connections to ports inside pods, for vzfwd on the host.\n"
	     "\n"
	     "Without --netns, --netns-dir and --oci-root every handle means the pod's netns.\n"
	     "\n"
	     "Options:");
	opts_print(options);
	puts("\nCommands, which are something else (vzfwd-guest COMMAND --help):");
	guest_commands_print();
}

int options_parse(struct guest_options *o, int argc, char **argv, struct error *err)
{
	_cleanup_free_ const char **operands = xcalloc((size_t)argc + 1, sizeof(*operands));
	int count;

	*o = (struct guest_options){ .source = netns_source_new(),
				     .common.log_level = LOG_LEVEL_INFO };
	count = opts_parse(argc, argv, options, NULL, option_take, o, operands, err);
	if (count < 0 || o->common.help || o->common.version)
		return count < 0 ? count : 0;
	if (count > 0)
		return error_set(err, REASON_INVALID, EINVAL, "unexpected operand %s", operands[0]);
	if (o->stdio && o->listen_count > 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "--stdio and --listen exclude each other");
	/* Links share what listens in a pod, and each has a process of its own then. */
	if (o->stdio && (o->allow_expose || o->allow_egress))
		return error_set(err, REASON_INVALID, EINVAL,
				 "--stdio excludes --allow-expose and --allow-egress");
	if (!o->stdio && o->listen_count == 0)
		option_listen(o, "vsock://any", err);
	if (o->peers.cid_count == 0)
		option_allow_cid(&o->peers, "2", err);
	return 0;
}

void options_clear(struct guest_options *o)
{
	for (size_t i = 0; i < o->listen_count; i++)
		endpoint_clear(&o->listen[i]);
	free(o->listen);
	free(o->peers.cids);
	policy_clear(&o->policy);
	netns_source_free(o->source);
}
