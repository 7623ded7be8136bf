/* SPDX-License-Identifier: MIT */
/* The registry: what is written is read again, listed, found and removed. */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/test-pods.h"

static mode_t mode_of(const char *path)
{
	struct stat st;

	return lstat(path, &st) < 0 ? 0 : st.st_mode & 07777;
}

static void test_add_and_load(void)
{
	_cleanup_free_ char *dir = xasprintf("%s/new/parents/pods", tmp);
	_cleanup_free_ char *parent = xasprintf("%s/new/parents", tmp);
	_cleanup_free_ char *file = xasprintf("%s/web.json", dir);
	_cleanup_free_ char *endpoint = NULL;
	struct pod pod;
	struct error err;

	is_int(add(dir, "web", "hvsock:///run/v.sock:52", "w", "/run/t", false, &err), 0,
	       "a pod is added where no folder is");
	is_int(mode_of(file), 0600, "the file's mode");
	is_int(mode_of(dir), 0700, "the folder's mode");
	is_int(mode_of(parent), 0755, "its parent's mode");
	is_int(pods_load(dir, "web", &pod, &err), 0, "it is read again");
	is_str(pod.name, "web", "name");
	is_str(pod.handle, "w", "handle");
	is_str(pod.token_file, "/run/t", "token file");
	endpoint = endpoint_format(&pod.endpoint);
	is_str(endpoint, "hvsock:///run/v.sock:52", "endpoint");
	pod_clear(&pod);

	is_int(add(dir, "web", "vsock://3", NULL, NULL, false, &err), -EEXIST, "not twice");
	is_str(reason_name(err.reason), "exhausted", "a pod that exists is exhausted");
	is_int(pods_load(dir, "web", &pod, &err), 0, "the first one is still there");
	is_int(pod.endpoint.type, ENDPOINT_HVSOCK, "as it was");
	pod_clear(&pod);

	is_int(add(dir, "web", "vsock://3", NULL, NULL, true, &err), 0, "but it can be replaced");
	is_int(pods_load(dir, "web", &pod, &err), 0, "the second one is read");
	is_int(pod.endpoint.type, ENDPOINT_VSOCK, "its endpoint");
	is_str(pod.handle, "web", "the handle is the name if none was given");
	is_str(pod.token_file, NULL, "and there is no token file");
	pod_clear(&pod);
	run("test \"$(ls -A %s)\" = web.json", dir);

	is_int(pods_remove(dir, "web", &err), 0, "it is removed");
	is_int(pods_remove(dir, "web", &err), -ENOENT, "not twice");
	is_str(reason_name(err.reason), "not-found", "what is not there is not found");
	refused(dir, "web", REASON_NOT_FOUND, &err, "a removed pod");
	refused("/nonexistent/pods", "web", REASON_NOT_FOUND, &err, "no folder");
	is_int(pods_remove("/nonexistent/pods", "web", &err), -ENOENT, "no folder to remove from");
}

static void test_bad_adds(void)
{
	_cleanup_free_ char *dir = new_dir("bad-adds");
	char name[300];
	char *command = xmalloc(70000);
	struct error err;
	static const struct {
		const char *name, *endpoint, *handle, *token_file, *why;
	} cases[] = {
		{ "", "vsock://3", NULL, NULL, "no name" },
		{ "../web", "vsock://3", NULL, NULL, "a name with a path" },
		{ ".web", "vsock://3", NULL, NULL, "a hidden name" },
		{ "w b", "vsock://3", NULL, NULL, "a name with a blank" },
		{ "web", "vsock://3", "", NULL, "an empty handle" },
		{ "web", "vsock://3", "a/b", NULL, "a bad handle" },
		{ "web", "fd:3", NULL, NULL, "a fd: endpoint" },
		{ "web", "vsock://3", NULL, "t", "a relative token file" },
		{ "web", "exec:\xff", NULL, NULL, "a command that is not UTF-8" },
		{ "web", "vsock://3", NULL, "/\xff", "a token file that is not UTF-8" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		err.reason = REASON_COUNT;
		ok(add(dir, cases[i].name, cases[i].endpoint, cases[i].handle, cases[i].token_file,
		       false, &err) < 0,
		   "%s: refused", cases[i].why);
		is_int(err.reason, REASON_INVALID, "%s: invalid", cases[i].why);
	}
	memset(command, 'a', 69999);
	memcpy(command, "exec:", 5);
	command[69999] = '\0';
	is_int(add(dir, "web", command, NULL, NULL, false, &err), -EINVAL, "a huge command");
	free(command);
	/* Valid as a name, but ".json" makes it too long for a file. */
	memset(name, 'a', 253);
	name[253] = '\0';
	is_int(add(dir, name, "vsock://3", NULL, NULL, false, &err), -ENAMETOOLONG, "a long name");
	is_int(err.reason, REASON_INVALID, "is invalid");
	refused(dir, name, REASON_NOT_FOUND, &err, "a long name to load");
	is_int(pods_remove(dir, name, &err), -ENOENT, "a long name to remove");
	run("test -z \"$(ls -A %s)\"", dir);
	refused(dir, "../web", REASON_INVALID, &err, "a path to load");
	is_int(pods_remove(dir, "../web", &err), -EINVAL, "a path to remove");
	run("mkdir %s/dir.json", dir);
	ok(add(dir, "dir", "vsock://3", NULL, NULL, true, &err) < 0, "a folder is not replaced");
	ok(pods_remove(dir, "dir", &err) < 0, "nor removed");
	run("test \"$(ls -A %s)\" = dir.json", dir);
}

/* A file that can't be written whole leaves the old one as it was, and nothing beside it. */
static void test_full_disk(void)
{
	_cleanup_free_ char *dir = new_dir("full");
	struct rlimit limit, none;
	struct error err;
	struct pod pod;
	int ret;

	add(dir, "web", "vsock://3", NULL, NULL, false, &err);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	none = limit;
	none.rlim_cur = 0;
	fflush(stdout);
	setrlimit(RLIMIT_FSIZE, &none);
	ret = add(dir, "web", "vsock://4", NULL, NULL, true, &err);
	setrlimit(RLIMIT_FSIZE, &limit);
	is_int(ret, -EFBIG, "a file that cannot be written");
	ok(strstr(err.message, "/full/web.json: "), "the error names it");
	is_int(pods_load(dir, "web", &pod, &err), 0, "the old one is still read");
	is_int(pod.endpoint.cid, 3, "as it was");
	pod_clear(&pod);
	run("test \"$(ls -A %s)\" = web.json", dir);
}

/* Of two who add the same name at once, one is told that it exists. */
static void test_concurrent_adds(void)
{
	_cleanup_free_ char *dir = new_dir("concurrent");
	pid_t pids[8];
	int added = 0;

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			struct error err;
			int ret = add(dir, "web", "vsock://3", NULL, NULL, false, &err);

			_exit(ret == 0 ? 0 : ret == -EEXIST ? 1 : 2);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		int status;

		waitpid(pids[i], &status, 0);
		added += status == 0 ? 1 : WEXITSTATUS(status) == 1 ? 0 : 100;
	}
	is_int(added, 1, "one of eight adds wins");
	run("test \"$(ls -A %s)\" = web.json", dir);
}

/* A pod that a server keeps for another user. */
static void test_lent(void)
{
	static const char *const malformed[] = { "-1", "4294967295", "\\\"0\\\"", "1.5", "null" };
	_cleanup_free_ char *dir = new_dir("lent");
	struct pod pod = { .name = (char *)"web", .lent = true, .added_by = 1000 }, loaded;
	json_t *json;
	struct error err;
	size_t count = 99;

	is_int(pods_count(dir, &count, &err), 0, "no folder");
	is_int((long long)count, 0, "has no pods");
	endpoint_parse(&pod.endpoint, "hvsock:///run/vm.sock", &err);
	is_int(pods_add(dir, &pod, false, &err), 0, "a pod of another user");
	endpoint_clear(&pod.endpoint);
	is_int(pods_load(dir, "web", &loaded, &err), 0, "is loaded");
	ok(loaded.lent && loaded.added_by == 1000, "as that user's");
	ok(loaded.endpoint.lent && loaded.endpoint.uid == 1000, "and so is the VMM");
	json = pod_to_json(&loaded);
	is_int(json_integer_value(json_object_get(json, "addedBy")), 1000, "its JSON says so");
	json_decref(json);
	pod_clear(&loaded);
	add(dir, "own", "vsock://3", NULL, NULL, false, &err);
	is_int(pods_load(dir, "own", &loaded, &err), 0, "a pod of our own");
	ok(!loaded.lent && !loaded.endpoint.lent, "is nobody else's");
	pod_clear(&loaded);
	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
		run("printf '{\"endpoint\":\"vsock://3\",\"addedBy\":%s}' >%s/bad.json",
		    malformed[i], dir);
		refused(dir, "bad", REASON_NOT_RUNNING, &err, malformed[i]);
	}
	is_int(pods_count(dir, &count, &err), 0, "pods are counted");
	is_int((long long)count, 3, "the malformed one too");
}

struct bad {
	char text[256];
};

static void note_bad(const char *name, const struct error *err, void *arg)
{
	struct bad *bad = arg;
	size_t length = strlen(bad->text);

	snprintf(bad->text + length, sizeof(bad->text) - length, "%s:%s ", name,
		 reason_name(err->reason));
}

static void test_list(void)
{
	_cleanup_free_ char *dir = new_dir("list");
	_cleanup_free_ char *unsafe = xasprintf("%s/b.json", dir);
	struct bad bad = { "" };
	struct error err;
	struct pod *pods;
	size_t count;

	is_int(pods_list("/nonexistent/pods", &pods, &count, note_bad, &bad, &err), 0,
	       "no folder is no error");
	is_int(count, 0, "and has no pods");
	pods_list_free(pods, count);
	is_int(pods_list(dir, &pods, &count, note_bad, &bad, &err), 0, "an empty folder");
	is_int(count, 0, "has no pods");
	pods_list_free(pods, count);

	write_pod(dir, "web", "{\"endpoint\":\"vsock://3\"}");
	write_pod(dir, "db", "{\"endpoint\":\"vsock://4\"}");
	write_pod(dir, "a", "{");
	write_pod(dir, "b", "{\"endpoint\":\"vsock://5\"}");
	write_pod(dir, "c d", "{\"endpoint\":\"vsock://6\"}");
	write_pod(dir, ".tmp-1-0", "{\"endpoint\":\"vsock://7\"}");
	run("touch %s/README %s/.json", dir, dir);
	chmod(unsafe, 0666);
	is_int(pods_list(dir, &pods, &count, note_bad, &bad, &err), 0, "good and bad ones");
	is_int(count, 2, "the good ones are listed");
	is_str(count == 2 ? pods[0].name : NULL, "db", "the first by name");
	is_str(count == 2 ? pods[1].name : NULL, "web", "the second");
	is_str(bad.text, "a:not-running b:denied c d:not-running ", "the bad ones are told");
	pods_list_free(pods, count);
	is_int(pods_list(dir, &pods, &count, NULL, NULL, &err), 0, "or not");
	pods_list_free(pods, count);
	chmod(dir, 0777);
	ok(pods_list(dir, &pods, &count, note_bad, &bad, &err) < 0, "an unsafe folder");
	is_int(err.reason, REASON_DENIED, "is denied");
}

/* Resolves and tells what came: the pod's name (or its endpoint) and handle, or the message. */
static const char *resolved(const char *dir, const char *pod_arg)
{
	static char text[ERROR_MESSAGE_MAX];
	_cleanup_free_ char *endpoint = NULL;
	struct error err;
	struct pod pod;

	if (pods_resolve(dir, pod_arg, &pod, &err) < 0)
		return strcpy(text, err.message);
	endpoint = endpoint_format(&pod.endpoint);
	snprintf(text, sizeof(text), "%s %s %s", pod.name ? pod.name : "-", endpoint, pod.handle);
	pod_clear(&pod);
	return text;
}

static void test_resolve(void)
{
	_cleanup_free_ char *dir = new_dir("resolve");
	_cleanup_free_ char *none = xasprintf("no pod was named, and none is registered in %s "
					      "(vzfwd pod add NAME ENDPOINT)",
					      dir);
	_cleanup_free_ char *unknown = xasprintf("no pod nosuch is registered in %s", dir);
	_cleanup_free_ char *malformed =
		xasprintf("%s/web.json: malformed: endpoint is missing", dir);
	char long_name[200];
	struct error err;
	const char *text;

	unsetenv("VZFWD_POD");
	is_str(resolved(dir, NULL), none, "no pod at all");
	is_str(resolved("/nonexistent/pods", NULL),
	       "no pod was named, and none is registered in /nonexistent/pods "
	       "(vzfwd pod add NAME ENDPOINT)",
	       "no folder at all");
	is_str(resolved(dir, "vsock://7"), "- vsock://7 default", "an endpoint");
	is_str(resolved(dir, "fd:3"), "- fd:3 default", "a fd: endpoint");
	is_str(resolved(dir, "vsock:x"), "endpoint: must be vsock://CID[:PORT]", "a bad endpoint");
	is_str(resolved(dir, "nosuch"), unknown, "an unknown name");

	write_pod(dir, "web", "{}");
	is_str(resolved(dir, NULL), malformed, "the only one is malformed");
	add(dir, "web", "vsock://3", "w", NULL, true, &err);
	is_str(resolved(dir, NULL), "web vsock://3 w", "the only one");
	add(dir, "db", "vsock://4", NULL, NULL, false, &err);
	is_str(resolved(dir, NULL),
	       "no pod was named (-p or VZFWD_POD), and several are registered: db, web",
	       "one of several");
	is_str(resolved(dir, "db"), "db vsock://4 db", "by name");
	setenv("VZFWD_POD", "web", 1);
	is_str(resolved(dir, NULL), "web vsock://3 w", "by VZFWD_POD");
	is_str(resolved(dir, "db"), "db vsock://4 db", "what was named comes first");
	setenv("VZFWD_POD", "pid:1", 1);
	is_str(resolved(dir, NULL), "- pid:1 default", "an endpoint in VZFWD_POD");
	setenv("VZFWD_POD", "", 1);
	ok(strstr(resolved(dir, NULL), "several"), "an empty VZFWD_POD is none");
	setenv("VZFWD_PODS_DIR", dir, 1);
	is_str(resolved(NULL, "db"), "db vsock://4 db", "the default folder");
	unsetenv("VZFWD_PODS_DIR");

	memset(long_name, 'z', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = '\0';
	for (char c = 'a'; c < 'f'; c++) {
		long_name[0] = c;
		add(dir, long_name, "vsock://3", NULL, NULL, false, &err);
	}
	text = resolved(dir, NULL);
	ok(strlen(text) < ERROR_MESSAGE_MAX - 1 && !strcmp(text + strlen(text) - 5, ", ..."),
	   "a long list is cut");
	chmod(dir, 0777);
	ok(strstr(resolved(dir, NULL), "is writable by others"), "an unsafe folder");
}

static void test_dirs(void)
{
	_cleanup_free_ char *from_option = NULL, *from_environment = NULL, *standard = NULL;
	struct error err;

	setenv("VZFWD_PODS_DIR", "/env", 1);
	from_option = pods_dir("/option", &err);
	is_str(from_option, "/option", "--pods-dir comes first");
	from_environment = pods_dir(NULL, &err);
	is_str(from_environment, "/env", "then VZFWD_PODS_DIR");
	ok(!pods_dir("", &err) && err.reason == REASON_INVALID, "an empty --pods-dir is invalid");
	setenv("VZFWD_PODS_DIR", "", 1);
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	standard = pods_dir(NULL, &err);
	is_str(standard, geteuid() == 0 ? "/run/vzfwd/pods" : "/run/user/7/vzfwd/pods",
	       "then the user's own");
	if (geteuid() == 0) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			_cleanup_free_ char *dir = NULL;

			if (seteuid(OTHER_UID) < 0)
				_exit(9);
			dir = pods_dir(NULL, &err);
			if (!dir || strcmp(dir, "/run/user/7/vzfwd/pods") != 0)
				_exit(1);
			unsetenv("XDG_RUNTIME_DIR");
			_exit(pods_dir(NULL, &err) || err.reason != REASON_INVALID);
		}
		waitpid(pid, &status, 0);
		is_int(status, 0, "a user's folder, or none");
	} else {
		skip("needs root");
	}
	unsetenv("VZFWD_PODS_DIR");
}

int main(void)
{
	if (!make_tmp())
		return skip_all("cannot make a folder in /tmp");
	test_add_and_load();
	test_bad_adds();
	test_full_disk();
	test_concurrent_adds();
	test_lent();
	test_list();
	test_resolve();
	test_dirs();
	run("rm -rf %s", tmp);
	return done_testing();
}
