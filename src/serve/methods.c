/* SPDX-License-Identifier: MIT */
/*
 * The table of methods, and those of pods. A pod's endpoint can be a command, so what callers of other users may
 * register or take away are pods in VMs and nothing else.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "lib/pods.h"
#include "methods.h"

#define PODS_MAX 1000 /* that callers of other users may make it */

static int denied(struct error *err, const char *method, const char *what)
{
	return error_set(err, REASON_DENIED, EPERM, "%s: other users may not %s", method, what);
}

int method_pod(struct serve *serve, const char *method, const struct rpc_params *params,
	       const char *name, struct pod *pod, struct error *err)
{
	const char *value;

	memset(pod, 0, sizeof(*pod));
	if (rpc_get_string(method, params, name, true, &value, err) < 0 ||
	    pods_load(serve->config.pods_dir, value, pod, err) < 0)
		return -EPROTO;
	return 0;
}

/* Whether the caller may take away the pod of that name, if there is one: others those that they have added. */
static int check_removal(struct serve *serve, const struct authority *caller, const char *method,
			 const char *name, struct error *err)
{
	struct pod pod = { 0 };
	int rc = 0;

	if (caller->kind == CALLER_OWN)
		return 0;
	if (pods_load(serve->config.pods_dir, name, &pod, err) < 0)
		rc = err->reason == REASON_NOT_FOUND ? 0 : -EPROTO;
	else if (!pod.lent || pod.added_by != caller->uid)
		rc = denied(err, method, "remove or replace a pod that is not theirs");
	pod_clear(&pod);
	return rc;
}

/* What callers of other users may add: marked as theirs. */
static int check_addition(struct serve *serve, const struct authority *caller, const char *method,
			  struct pod *pod, struct error *err)
{
	size_t count;

	if (caller->kind == CALLER_OWN)
		return 0;
	if ((pod->endpoint.type != ENDPOINT_VSOCK && pod->endpoint.type != ENDPOINT_HVSOCK) ||
	    pod->token_file != NULL)
		return denied(err, method, "add pods but vsock:// and hvsock:// without a token");
	pod->lent = true;
	pod->added_by = caller->uid;
	if (pods_count(serve->config.pods_dir, &count, err) < 0)
		return -EPROTO;
	return count < PODS_MAX
		       ? 0
		       : error_set(err, REASON_EXHAUSTED, 0,
				   "%s: %zu pods: no more until one is removed", method, count);
}

static int parse_pod(const char *method, const struct rpc_params *params, struct pod *pod,
		     bool *replace, struct error *err)
{
	const char *name, *endpoint, *handle, *token_file;

	if (rpc_get_string(method, params, "name", true, &name, err) < 0 ||
	    rpc_get_string(method, params, "endpoint", true, &endpoint, err) < 0 ||
	    rpc_get_string(method, params, "handle", false, &handle, err) < 0 ||
	    rpc_get_string(method, params, "tokenFile", false, &token_file, err) < 0 ||
	    rpc_get_boolean(method, params, "replace", replace, err) < 0)
		return -EINVAL;
	if (endpoint_parse(&pod->endpoint, endpoint, err) < 0)
		return error_prefix(err, "%s", method);
	pod->name = xstrdup(name);
	pod->handle = xstrdup(handle != NULL ? handle : name);
	pod->token_file = token_file != NULL ? xstrdup(token_file) : NULL;
	return 0;
}

static int pod_add(struct serve *serve, const struct authority *caller, const char *method,
		   const struct rpc_params *params, json_t **result, struct error *err)
{
	struct pod pod = { 0 };
	bool replace;
	int rc = parse_pod(method, params, &pod, &replace, err);

	if (rc == 0)
		rc = check_addition(serve, caller, method, &pod, err);
	if (rc == 0 && replace)
		rc = check_removal(serve, caller, method, pod.name, err);
	if (rc == 0) {
		rc = pods_add(serve->config.pods_dir, &pod, replace, err);
		if (rc < 0)
			error_prefix(err, "%s", method);
	}
	if (rc == 0)
		*result = pod_to_json(&pod);
	pod_clear(&pod);
	return rc;
}

static int pod_remove(struct serve *serve, const struct authority *caller, const char *method,
		      const struct rpc_params *params, json_t **result, struct error *err)
{
	const char *name;

	if (rpc_get_string(method, params, "name", true, &name, err) < 0 ||
	    check_removal(serve, caller, method, name, err) < 0 ||
	    pods_remove(serve->config.pods_dir, name, err) < 0)
		return -EPROTO;
	*result = json_object();
	return 0;
}

/* Not a warning: callers may ask as often as they like. */
static void tell_bad(const char *name, const struct error *err, void *arg)
{
	(void)name;
	(void)arg;
	log_debug(NULL, "%s", err->message);
}

static int pod_list(struct serve *serve, const struct authority *caller, const char *method,
		    const struct rpc_params *params, json_t **result, struct error *err)
{
	json_t *array = json_array();
	struct pod *pods;
	size_t count;

	(void)caller;
	(void)method;
	(void)params;
	*result = json_pack("{s:o}", "pods", array);
	if (pods_list(serve->config.pods_dir, &pods, &count, tell_bad, NULL, err) < 0)
		return -EPROTO;
	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, pod_to_json(&pods[i]));
	pods_list_free(pods, count);
	return 0;
}

static const struct method {
	const char *name;
	int (*call)(struct serve *serve, const struct authority *caller, const char *method,
		    const struct rpc_params *params, json_t **result, struct error *err);
} methods[] = {
	{ "pod.add", pod_add },
	{ "pod.remove", pod_remove },
	{ "pod.list", pod_list },
	{ "forward.add", forwards_add },
	{ "forward.remove", forwards_remove },
	{ "forward.list", forwards_list },
};

int method_call(struct serve *serve, const struct authority *caller, const char *method,
		const struct rpc_params *params, json_t **result, struct error *err)
{
	int rc;

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (strcmp(methods[i].name, method) != 0)
			continue;
		*result = NULL;
		rc = methods[i].call(serve, caller, method, params, result, err);
		if (rc < 0) {
			json_decref(*result);
			*result = NULL;
		}
		return rc;
	}
	return error_set(err, REASON_UNSUPPORTED, 0, "unsupported method \"%.64s\"", method);
}
