/* SPDX-License-Identifier: MIT */
/*
 * Files of the registry that are not what they should be, or that others could
 * have written, are refused.
 */
#include "config.h"

#include "tests/unit/test-pods.h"

static void test_malformed(void)
{
	_cleanup_free_ char *dir = new_dir("malformed");
	static const struct {
		const char *text, *message; /* how it begins, behind the file's name */
	} cases[] = {
		{ "", ":1:0: malformed: " },
		{ "{\n  \"endpoint\": vsock\n}\n", ":2:19: malformed: " },
		{ "{\"endpoint\":\"vsock://3\"} x", ":1:26: malformed: " },
		{ "{\"endpoint\":\"vsock://3\",\"endpoint\":\"vsock://4\"}", ":1:34: malformed: " },
		{ "[]", ": malformed: must be a JSON object" },
		{ "{}", ": malformed: endpoint is missing" },
		{ "{\"endpoint\":3}", ": malformed: endpoint must be a string" },
		{ "{\"endpoint\":null}", ": malformed: endpoint must be a string" },
		{ "{\"endpoint\":\"web\"}", NULL },
		{ "{\"endpoint\":\"fd:3\"}", NULL },
		{ "{\"endpoint\":\"exec:a\\u0000b\"}", NULL },
		{ "{\"endpoint\":\"exec:\xff\"}", NULL },
		{ "{\"endpoint\":\"vsock://3\",\"handle\":[]}",
		  ": malformed: handle must be a string" },
		{ "{\"endpoint\":\"vsock://3\",\"handle\":\"a/b\"}", NULL },
		{ "{\"endpoint\":\"vsock://3\",\"tokenFile\":false}",
		  ": malformed: tokenFile must be a string" },
		{ "{\"endpoint\":\"vsock://3\",\"tokenFile\":\"t\"}",
		  ": malformed: tokenFile must be an absolute path" },
	};
	char *big = xmalloc(65 * 1024);
	struct error err;
	struct pod pod;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *want = NULL;

		write_pod(dir, "web", cases[i].text);
		refused(dir, "web", REASON_NOT_RUNNING, &err, cases[i].text);
		if (!cases[i].message)
			continue;
		want = xasprintf("%s/web.json%s", dir, cases[i].message);
		if (!ok(!strncmp(err.message, want, strlen(want)), "what is said"))
			diag("%s", err.message);
	}
	write_pod(dir, "web", "{\"endpoint\":\"vsock://3\",\"later\":{\"a\":[1]}}");
	is_int(pods_load(dir, "web", &pod, &err), 0, "members that are not known are ignored");
	is_str(pod.handle, "web", "the handle is the name where none is told");
	pod_clear(&pod);

	memset(big, ' ', 65 * 1024);
	memcpy(big, "{\"endpoint\":\"vsock://3\"}", 24);
	big[64 * 1024] = '\0';
	write_pod(dir, "web", big);
	is_int(pods_load(dir, "web", &pod, &err), 0, "a file of 64 KiB");
	pod_clear(&pod);
	big[64 * 1024] = ' ';
	big[64 * 1024 + 1] = '\0';
	write_pod(dir, "web", big);
	refused(dir, "web", REASON_NOT_RUNNING, &err, "a file of 64 KiB and a byte");
	free(big);
}

static void test_unsafe_files(void)
{
	_cleanup_free_ char *dir = new_dir("unsafe");
	_cleanup_free_ char *file = xasprintf("%s/web.json", dir);
	_cleanup_free_ char *real = xasprintf("%s/real", dir);
	const char *text = "{\"endpoint\":\"vsock://3\"}";
	struct error err;
	struct pod pod;

	write_pod(dir, "web", text);
	chmod(file, 0644);
	is_int(pods_load(dir, "web", &pod, &err), 0, "others may read");
	pod_clear(&pod);
	chmod(file, 0620);
	refused(dir, "web", REASON_DENIED, &err, "the group can write the file");
	chmod(file, 0602);
	refused(dir, "web", REASON_DENIED, &err, "others can write the file");
	chmod(file, 01602);
	refused(dir, "web", REASON_DENIED, &err, "a sticky file is not excused");
	chmod(file, 0600);
	if (geteuid() == 0) {
		if (chown(file, OTHER_UID, -1) < 0)
			abort();
		refused(dir, "web", REASON_DENIED, &err, "the file is somebody else's");
		if (chown(file, 0, -1) < 0)
			abort();
	} else {
		skip("needs root");
	}
	rename(file, real);
	if (symlink("real", file) < 0)
		abort();
	refused(dir, "web", REASON_DENIED, &err, "the file is a symbolic link");
	unlink(file);
	mkfifo(file, 0600);
	refused(dir, "web", REASON_DENIED, &err, "the file is a FIFO");
	unlink(file);
	mkdir(file, 0700);
	refused(dir, "web", REASON_DENIED, &err, "the file is a folder");
}

/* pods/ in a parent, where the parent or pods/ itself is not safe. */
static void test_unsafe_folders(void)
{
	_cleanup_free_ char *parent = new_dir("parent");
	_cleanup_free_ char *dir = xasprintf("%s/pods", parent);
	_cleanup_free_ char *slashes = xasprintf("/.///%s/./pods//", parent);
	_cleanup_free_ char *through = xasprintf("%s/pods/../pods", parent);
	_cleanup_free_ char *link = xasprintf("%s/link", tmp);
	_cleanup_free_ char *link_dir = xasprintf("%s/link/pods", tmp);
	_cleanup_free_ char *in_file = xasprintf("%s/pods/web.json", parent);
	struct error err;
	struct pod pod;

	is_int(add(dir, "web", "vsock://3", NULL, NULL, false, &err), 0, "a pod in a safe place");
	for (int i = 0; i < 2; i++) {
		const char *path = i == 0 ? parent : dir;
		const char *what = i == 0 ? "parent" : "folder";

		chmod(path, 0755);
		is_int(pods_load(dir, "web", &pod, &err), 0, "%s 0755", what);
		pod_clear(&pod);
		chmod(path, 0775);
		refused(dir, "web", REASON_DENIED, &err, what);
		ok(add(dir, "db", "vsock://3", NULL, NULL, false, &err) < 0, "%s 0775: no add",
		   what);
		ok(pods_remove(dir, "web", &err) < 0, "%s 0775: no remove", what);
		chmod(path, 0757);
		refused(dir, "web", REASON_DENIED, &err, what);
		chmod(path, 01777);
		is_int(pods_load(dir, "web", &pod, &err), 0, "%s 1777 is sticky", what);
		pod_clear(&pod);
		if (geteuid() == 0) {
			if (chown(path, OTHER_UID, -1) < 0)
				abort();
			refused(dir, "web", REASON_DENIED, &err, what);
			chmod(path, 0700);
			refused(dir, "web", REASON_DENIED, &err, what);
			if (chown(path, 0, -1) < 0)
				abort();
		} else {
			skip("needs root");
		}
		chmod(path, 0700);
	}
	is_int(pods_load(slashes, "web", &pod, &err), 0, "slashes and dots in the path");
	pod_clear(&pod);
	is_int(pods_load(through, "web", &pod, &err), 0, "a path back and forth");
	pod_clear(&pod);
	if (symlink("parent", link) < 0)
		abort();
	refused(link_dir, "web", REASON_DENIED, &err, "a parent that is a symbolic link");
	refused(link, "web", REASON_DENIED, &err, "a folder that is a symbolic link");
	ok(add(link_dir, "db", "vsock://3", NULL, NULL, false, &err) < 0, "nor is it added to");
	refused(in_file, "web", REASON_NOT_FOUND, &err, "a folder that is a file");
}

static void test_relative_folder(void)
{
	_cleanup_free_ char *cwd = getcwd(NULL, 0);
	_cleanup_free_ char *inside = new_dir("inside");
	struct error err;
	struct pod pod;

	if (!cwd || chdir(inside) < 0)
		abort();
	is_int(add("a/pods", "web", "vsock://3", NULL, NULL, false, &err), 0, "a relative folder");
	is_int(pods_load("./a/pods", "web", &pod, &err), 0, "is found from there");
	pod_clear(&pod);
	chmod(inside, 0777);
	refused("a/pods", "web", REASON_DENIED, &err, "its unsafe parent");
	run("rm -rf %s", inside);
	refused("a/pods", "web", REASON_NOT_FOUND, &err, "a current folder that is gone");
	if (chdir(cwd) < 0)
		abort();
}

int main(void)
{
	if (!make_tmp())
		return skip_all("cannot make a folder in /tmp");
	test_malformed();
	test_unsafe_files();
	test_unsafe_folders();
	test_relative_folder();
	run("rm -rf %s", tmp);
	return done_testing();
}
