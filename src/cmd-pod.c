/* SPDX-License-Identifier: MIT */
/*
 * `vzfwd pod`: adds, removes and shows registered pods.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "call.h"
#include "command.h"

enum { OPT_HANDLE, OPT_TOKEN_FILE, OPT_REPLACE, OPT_JSON };

/* What a command line said, and the registry's folder. */
struct pod_args {
	const char *handle, *token_file;
	bool replace, json;
	const char **operands;
	int count;
	char *dir;
};

static void args_clear(struct pod_args *args)
{
	free(args->operands);
	free(args->dir);
}
#define _cleanup_args_ __attribute__((cleanup(args_clear)))

static int handle_option(int id, const char *value, void *arg, struct error *err)
{
	struct pod_args *args = arg;

	(void)err;
	switch (id) {
	case OPT_HANDLE:
		args->handle = value;
		break;
	case OPT_TOKEN_FILE:
		args->token_file = value;
		break;
	case OPT_REPLACE:
		args->replace = true;
		break;
	case OPT_JSON:
		args->json = true;
		break;
	}
	return 0;
}

/* Fills *args, with `min` to `max` operands. 0, or a negative number with *err. */
static int args_parse(struct pod_args *args, struct cli *cli, const struct command *cmd, int argc,
		      char **argv, int min, int max, struct error *err)
{
	args->operands = xcalloc((size_t)argc, sizeof(*args->operands));
	args->count = command_parse(cli, cmd, argc, argv, handle_option, args, args->operands);
	if (args->count < min || args->count > max)
		return error_set(err, REASON_INVALID, EINVAL, "usage: vzfwd %s%s%s", cmd->name,
				 *cmd->synopsis ? " " : "", cmd->synopsis);
	args->dir = pods_dir(cli->pods_dir, err);
	return args->dir ? 0 : -EINVAL;
}

static const struct command cmd_add, cmd_rm, cmd_list, cmd_show;

/* The path from /: the pod is used from other folders too. */
static char *absolute_path(const char *path)
{
	_cleanup_free_ char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);

	return cwd ? xasprintf("%s/%s", cwd, path) : xstrdup(path);
}

static int add_pod(const struct pod_args *args, struct error *err)
{
	struct pod pod = { 0 };
	int ret = endpoint_parse(&pod.endpoint, args->operands[1], err);

	if (ret == 0) {
		pod.name = xstrdup(args->operands[0]);
		pod.handle = args->handle ? xstrdup(args->handle) : NULL;
		pod.token_file = args->token_file ? absolute_path(args->token_file) : NULL;
		ret = pods_add(args->dir, &pod, args->replace, err);
	}
	pod_clear(&pod);
	return ret;
}

static int run_add(struct cli *cli, int argc, char **argv)
{
	_cleanup_args_ struct pod_args args = { 0 };
	struct error err;

	if (args_parse(&args, cli, &cmd_add, argc, argv, 2, 2, &err) < 0 ||
	    add_pod(&args, &err) < 0)
		return command_fail(cmd_add.name, &err);
	return 0;
}

/* Removes what it can; the exit code is that of the first name that failed. */
static int run_rm(struct cli *cli, int argc, char **argv)
{
	_cleanup_args_ struct pod_args args = { 0 };
	struct error err;
	int code = 0;

	if (args_parse(&args, cli, &cmd_rm, argc, argv, 1, INT_MAX, &err) < 0)
		return command_fail(cmd_rm.name, &err);
	for (int i = 0; i < args.count; i++) {
		if (pods_remove(args.dir, args.operands[i], &err) < 0) {
			int failed = command_fail(cmd_rm.name, &err);

			code = code ? code : failed;
		}
	}
	return code;
}

static void print_json(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	putchar('\n');
}

static void print_json_list(const struct pod *pods, size_t count)
{
	_cleanup_json_ json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, pod_to_json(&pods[i]));
	print_json(array);
}

/* The endpoint as text, with nothing in it that could steer a terminal; owned by the caller. */
static char *endpoint_escaped(const struct pod *pod)
{
	_cleanup_free_ char *text = endpoint_format(&pod->endpoint);

	return escape_bytes(text, strlen(text));
}

static void print_table(const struct pod *pods, size_t count)
{
	int name_width = (int)strlen("NAME"), endpoint_width = (int)strlen("ENDPOINT");

	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *endpoint = endpoint_escaped(&pods[i]);

		if ((int)strlen(pods[i].name) > name_width)
			name_width = (int)strlen(pods[i].name);
		if ((int)strlen(endpoint) > endpoint_width)
			endpoint_width = (int)strlen(endpoint);
	}
	if (count > 0)
		printf("%-*s  %-*s  HANDLE\n", name_width, "NAME", endpoint_width, "ENDPOINT");
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *endpoint = endpoint_escaped(&pods[i]);

		printf("%-*s  %-*s  %s\n", name_width, pods[i].name, endpoint_width, endpoint,
		       pods[i].handle);
	}
}

/* Tells of a file that is no pod's; *arg is the exit code of the first one. */
static void warn_bad(const char *name, const struct error *err, void *arg)
{
	int *code = arg;
	int failed = command_fail(cmd_list.name, err);

	(void)name;
	*code = *code ? *code : failed;
}

static int run_list(struct cli *cli, int argc, char **argv)
{
	_cleanup_args_ struct pod_args args = { 0 };
	struct pod *pods;
	struct error err;
	size_t count;
	int code = 0;

	if (args_parse(&args, cli, &cmd_list, argc, argv, 0, 0, &err) < 0 ||
	    pods_list(args.dir, &pods, &count, warn_bad, &code, &err) < 0)
		return command_fail(cmd_list.name, &err);
	if (args.json)
		print_json_list(pods, count);
	else
		print_table(pods, count);
	pods_list_free(pods, count);
	if (stdout_flush(&err) < 0)
		return command_fail(cmd_list.name, &err);
	return code;
}

static void print_pod(const struct pod *pod)
{
	_cleanup_free_ char *endpoint = endpoint_escaped(pod);

	printf("name:       %s\nendpoint:   %s\nhandle:     %s\n", pod->name, endpoint,
	       pod->handle);
	if (pod->token_file) {
		_cleanup_free_ char *path = escape_bytes(pod->token_file, strlen(pod->token_file));

		printf("token file: %s\n", path);
	}
}

static int run_show(struct cli *cli, int argc, char **argv)
{
	_cleanup_args_ struct pod_args args = { 0 };
	struct error err;
	struct pod pod;

	if (args_parse(&args, cli, &cmd_show, argc, argv, 1, 1, &err) < 0 ||
	    pods_load(args.dir, args.operands[0], &pod, &err) < 0)
		return command_fail(cmd_show.name, &err);
	if (args.json) {
		_cleanup_json_ json_t *json = pod_to_json(&pod);

		print_json(json);
	} else {
		print_pod(&pod);
	}
	pod_clear(&pod);
	return stdout_flush(&err) < 0 ? command_fail(cmd_show.name, &err) : 0;
}

static const struct option_def add_options[] = {
	OPTION_HANDLE(OPT_HANDLE),
	{ 0, "token-file", VALUE_FILE, "FILE", NULL, "the secret that the dialer asks for",
	  OPT_TOKEN_FILE },
	{ 0, "replace", VALUE_NONE, NULL, NULL, "replace a pod of this name", OPT_REPLACE },
	{ 0 },
};

static const struct option_def json_options[] = {
	{ 0, "json", VALUE_NONE, NULL, NULL, "print JSON", OPT_JSON },
	{ 0 },
};

static const struct command cmd_add = {
	.name = "pod add",
	.synopsis = "NAME ENDPOINT",
	.summary = "register a pod",
	.details = "ENDPOINT is where the pod's dialer is reached:\n"
		   "  vsock://CID[:PORT]      AF_VSOCK (QEMU, any Linux host)\n"
		   "  hvsock:///PATH[:PORT]   Firecracker, Cloud Hypervisor, Kata\n"
		   "  unix:///PATH            vfkit, krunkit, libkrun\n"
		   "  exec:COMMAND            stdin and stdout of a shell command\n"
		   "  netns:PATH, pid:N       a netns of this host, without a dialer",
	.options = add_options,
	.operands = { VALUE_TEXT, VALUE_ENDPOINT },
	.run = run_add,
};

static const struct command cmd_rm = {
	.name = "pod rm",
	.synopsis = "NAME...",
	.summary = "forget registered pods",
	.operands = { VALUE_POD },
	.run = run_rm,
};

static const struct command cmd_list = {
	.name = "pod list",
	.synopsis = "",
	.summary = "list the registered pods",
	.options = json_options,
	.run = run_list,
};

static const struct command cmd_show = {
	.name = "pod show",
	.synopsis = "NAME",
	.summary = "show a registered pod",
	.options = json_options,
	.operands = { VALUE_POD },
	.run = run_show,
};

static const struct command *const pod_commands[] = {
	&cmd_add, &cmd_rm, &cmd_list, &cmd_show, NULL,
};

const struct command cmd_pod = {
	.name = "pod",
	.synopsis = "COMMAND [ARGUMENT]...",
	.summary = "add, remove and list registered pods",
	.subcommands = pod_commands,
};
