/* SPDX-License-Identifier: MIT */
/*
 * Names for pods: what pod.hosts takes and refuses, which names a host gives, and a dialer that keeps them in a file for
 * as long as they are wanted.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "expose/host-names.h"
#include "expose/hosts-options.h"
#include "guest/dialer.h"
#include "guest/hosts-block.h"
#include "tests/tap.h"

#define HOST "\"entries\":[{\"address\":\"192.168.127.254\",\"names\":[\"host.vz.internal\"]}]"
#define WITH(ENTRIES) "{\"tag\":\"t\",\"entries\":" ENTRIES "}"
#define NAMED(NAME) WITH("[{\"address\":\"10.0.0.1\",\"names\":[\"" NAME "\"]}]")
#define AT(ADDRESS) WITH("[{\"address\":" ADDRESS ",\"names\":[\"a\"]}]")
#define NOT_AN_ADDRESS "an entry's address must be an IP address"
#define NO_NAMES "an entry's names must be an array of names"
#define NO_ENTRIES "entries must be an array of entries"
#define LABEL63 "a234567890123456789012345678901234567890123456789012345678901bc"

static const struct {
	const char *params;
	const char *refusal;
} refused[] = {
	{ "{" HOST "}", "tag is missing" },
	{ "{\"tag\":1," HOST "}", "tag must be a string" },
	{ "{\"tag\":\"a b\"," HOST "}", "tag \"a b\" is not a valid name" },
	{ "{\"tag\":\"a\\nb\"," HOST "}", "tag \"a\nb\" is not a valid name" },
	{ "{\"tag\":\"\"," HOST "}", "tag \"\" is not a valid name" },
	{ "{\"path\":\"etc/hosts\",\"tag\":\"t\"," HOST "}",
	  "path must be absolute, got \"etc/hosts\"" },
	{ "{\"path\":\"\",\"tag\":\"t\"," HOST "}", "path must be absolute, got \"\"" },
	{ "{\"path\":\"/etc/\",\"tag\":\"t\"," HOST "}", "/etc/ is a folder" },
	{ "{\"path\":\"/etc/..\",\"tag\":\"t\"," HOST "}", "/etc/.. is a folder" },
	{ "{\"path\":\"/etc/.\",\"tag\":\"t\"," HOST "}", "/etc/. is a folder" },
	{ "{\"path\":\"/\",\"tag\":\"t\"," HOST "}", "/ is a folder" },
	{ "{\"path\":\"/a\\u0000b\",\"tag\":\"t\"," HOST "}",
	  "path must be a string without a NUL" },
	{ "{\"path\":{},\"tag\":\"t\"," HOST "}", "path must be a string" },
	{ "{\"tag\":\"t\"}", NO_ENTRIES },
	{ WITH("\"x\""), NO_ENTRIES },
	{ WITH("[]"), NO_ENTRIES },
	{ WITH("{\"address\":\"10.0.0.1\",\"names\":[\"a\"]}"), NO_ENTRIES },
	{ WITH("[1]"), NOT_AN_ADDRESS },
	{ WITH("[{\"names\":[\"a\"]}]"), NOT_AN_ADDRESS },
	{ AT("7"), NOT_AN_ADDRESS },
	{ AT("\"\""), NOT_AN_ADDRESS },
	{ AT("\"10.0.0\""), NOT_AN_ADDRESS },
	{ AT("\"10.0.0.1 \""), NOT_AN_ADDRESS },
	{ AT("\"10.0.0.1\\n127.0.0.1\""), NOT_AN_ADDRESS },
	{ AT("\"10.0.0.1\\u0000\""), NOT_AN_ADDRESS },
	{ AT("\"[fd00::1]\""), NOT_AN_ADDRESS },
	{ AT("\"fe80::1%lo\""), NOT_AN_ADDRESS },
	{ AT("\"localhost\""), NOT_AN_ADDRESS },
	{ WITH("[{\"address\":\"10.0.0.1\"}]"), NO_NAMES },
	{ WITH("[{\"address\":\"10.0.0.1\",\"names\":[]}]"), NO_NAMES },
	{ WITH("[{\"address\":\"10.0.0.1\",\"names\":\"a\"}]"), NO_NAMES },
	{ WITH("[{\"address\":\"10.0.0.1\",\"names\":[1]}]"), "\"\" is not a host name" },
	{ NAMED(""), "\"\" is not a host name" },
	{ NAMED("a b"), "\"a b\" is not a host name" },
	{ NAMED("a\\nb"), "\"a\nb\" is not a host name" },
	{ NAMED("a\\u0000"), "\"\" is not a host name" },
	{ NAMED("a#"), "\"a#\" is not a host name" },
	{ NAMED("a..b"), "\"a..b\" is not a host name" },
	{ NAMED("a."), "\"a.\" is not a host name" },
	{ NAMED("-a"), "\"-a\" is not a host name" },
	{ NAMED("a-.b"), "\"a-.b\" is not a host name" },
	{ NAMED("a_b"), "\"a_b\" is not a host name" },
	{ NAMED(LABEL63 "d"), "\"" LABEL63 "d\" is not a host name" },
};

/* The lines, or what was wrong. */
static char *lines_of(const char *text)
{
	struct error err = { 0 };
	_cleanup_json_ json_t *json = rpc_parse_object(text, strlen(text), &err);
	struct rpc_params params = { .json = json };
	struct hosts_request request;

	if (json == NULL)
		return xstrdup(err.message);
	if (rpc_get_hosts(&params, &request, &err) == 0)
		return request.lines;
	is_int(err.reason, REASON_INVALID, "%s: invalid", err.message);
	return xstrdup(err.message);
}

static void test_refused(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		_cleanup_free_ char *got = lines_of(refused[i].params);
		_cleanup_free_ char *want = xasprintf("pod.hosts: %s", refused[i].refusal);

		is_str(got, want, "request %zu", i);
	}
}

static void test_taken(void)
{
	_cleanup_free_ char *one = lines_of("{\"tag\":\"t\"," HOST "}");
	_cleanup_free_ char *more =
		lines_of(WITH("[{\"address\":\"10.0.0.1\",\"names\":[\"A-1\",\"b.c\"],\"new\":1},"
			      "{\"address\":\"FD00:0:0::1\",\"names\":[\"" LABEL63 "\"]}]"));

	is_str(one, "192.168.127.254 host.vz.internal\n", "an address and a name");
	is_str(more, "10.0.0.1 A-1\n10.0.0.1 b.c\nfd00::1 " LABEL63 "\n", "a line for each name");
}

/* `count` names, each on its own and in one entry. */
static char *many(int count)
{
	_cleanup_json_ json_t *names = json_array(), *params = NULL;

	for (int i = 0; i < count; i++)
		json_array_append_new(names, json_string("a"));
	params = json_pack("{s:s, s:[{s:s, s:O}]}", "tag", "t", "entries", "address", "10.0.0.1",
			   "names", names);
	return json_dumps(params, JSON_COMPACT);
}

static void test_limit(void)
{
	_cleanup_free_ char *most = many(HOSTS_NAMES_MAX), *more = many(HOSTS_NAMES_MAX + 1);
	_cleanup_free_ char *taken = lines_of(most), *not = lines_of(more);

	is_int((long long)strlen(taken), HOSTS_NAMES_MAX * (long long)strlen("10.0.0.1 a\n"),
	       "256 names");
	is_str(not, "pod.hosts: more than 256 names", "are all");
}

static char *made(const char *const *names, size_t count, const char *const *operands,
		  size_t operand_count)
{
	struct expose_spec specs[4] = { 0 };
	struct address alias = { 0 };
	struct host_names all;
	json_t *entries;
	char *text;

	address_parse_host(&alias, "192.168.127.254", NULL);
	for (size_t i = 0; i < operand_count; i++) {
		if (expose_spec_parse(&specs[i], operands[i], NULL) < 0)
			abort();
	}
	host_names_make(&all, names, count, &alias, specs, operand_count);
	entries = host_names_entries(&all);
	text = json_dumps(entries, JSON_COMPACT);
	json_decref(entries);
	host_names_clear(&all);
	for (size_t i = 0; i < operand_count; i++)
		expose_spec_clear(&specs[i]);
	return text;
}

static void test_names(void)
{
	static const char *const names[] = { "host.test", "db.internal", "HOST.test" };
	static const char *const operands[] = { "80", "db.internal:5432", "10.0.0.1:81",
						"DB.internal:53/udp" };
	_cleanup_free_ char *usual = made(NULL, 0, operands, 2), *own = made(names, 3, operands, 4);
	struct host_names all = { 0 };
	struct address addr = { 0 };
	_cleanup_free_ char *text = NULL, *dump = NULL;
	json_t *entries;

	is_str(usual,
	       "[{\"address\":\"192.168.127.254\",\"names\":[\"host.vz.internal\","
	       "\"host.boxlite.internal\",\"host.docker.internal\",\"host.containers.internal\","
	       "\"db.internal\"]}]",
	       "the usual names, and that of a port");
	is_str(own, "[{\"address\":\"192.168.127.254\",\"names\":[\"host.test\",\"db.internal\"]}]",
	       "others in their place, each once");
	address_parse_host(&addr, "10.0.0.1", NULL);
	host_names_add(&all, "a", &addr);
	address_parse_host(&addr, "fd00::1", NULL);
	host_names_add(&all, "a", &addr);
	address_parse_host(&addr, "10.0.0.1", NULL);
	host_names_add(&all, "b", &addr);
	entries = host_names_entries(&all);
	dump = json_dumps(entries, JSON_COMPACT);
	json_decref(entries);
	is_str(dump,
	       "[{\"address\":\"10.0.0.1\",\"names\":[\"a\",\"b\"]},"
	       "{\"address\":\"fd00::1\",\"names\":[\"a\"]}]",
	       "by their addresses");
	text = host_names_text(&all);
	is_str(text, "a a b", "as text");
	host_names_clear(&all);
}

static void test_tags(void)
{
	struct address alias = { 0 }, longest = { 0 };
	_cleanup_free_ char *port = NULL, *path = NULL, *egress = NULL, *tag = NULL;
	_cleanup_free_ char *longer = xcalloc(5000, 1);

	address_parse_host(&alias, "192.168.127.254", NULL);
	address_parse_host(&longest, "fd00:1111:2222:3333:4444:5555:6666:7777", NULL);
	port = hosts_tag(&(struct hosts_tagged){ "expose", "5432", "web", NULL, NULL, &alias });
	path = hosts_tag(&(struct hosts_tagged){ "expose", "unix:/run/a_b.sock:80", "web", "h",
						 "c1", &alias });
	egress = hosts_tag(
		&(struct hosts_tagged){ "egress", NULL, "unix:///run/a", NULL, NULL, &alias });
	is_str(port, "expose-5432-web-192.168.127.254", "a tag is made of what is exposed, where");
	is_str(path, "expose-unix--run-a-b.sock-80-web-h-c1-192.168.127.254", "whatever that is");
	is_str(egress, "egress-unix----run-a-192.168.127.254", "or of the pod");
	memset(longer, 'x', 4999);
	tag = hosts_tag(
		&(struct hosts_tagged){ "expose", longer, longer, longer, longer, &longest });
	ok(name_is_valid(tag), "and however long");
}

static char folder[] = "/tmp/test-hosts.XXXXXX";
static char *path;

static char *contents(void)
{
	_cleanup_free_ char *text = xcalloc(4096, 1);
	FILE *file = fopen(path, "re");

	if (file == NULL || fread(text, 1, 4095, file) == 0)
		*text = '\0';
	if (file != NULL)
		fclose(file);
	return xstrdup(text);
}

#define is_file(WANT, ...)                              \
	do {                                            \
		_cleanup_free_ char *file = contents(); \
		is_str(file, WANT, __VA_ARGS__);        \
	} while (0)

struct outcome {
	struct hosts_block *block;
	struct error err;
	char *result;
};

static void keep(const struct dialer_answer *answer, const struct error *err, void *arg)
{
	struct outcome *outcome = arg;

	*outcome = (struct outcome){ 0 };
	if (err != NULL) {
		outcome->err = *err;
		return;
	}
	outcome->block = answer->hosts;
	outcome->result = json_dumps(answer->result, JSON_COMPACT);
}

/* One name, for 10.0.0.1. */
static struct outcome ask(struct dialer *dialer, const char *where, const char *tag,
			  const char *name)
{
	json_t *entries = json_pack("[{s:s, s:[s]}]", "address", "10.0.0.1", "names", name);
	struct rpc_params params = { .json = rpc_hosts_params("web", NULL, where, tag, entries) };
	struct outcome outcome = { 0 };

	dialer_call(dialer, METHOD_HOSTS, &params, keep, &outcome);
	json_decref(params.json);
	free(outcome.result);
	return outcome;
}

#define BLOCK(TAG, NAME) "# vzfwd " TAG " begin\n10.0.0.1 " NAME "\n# vzfwd " TAG " end\n"

static void test_blocks(struct dialer *dialer)
{
	_cleanup_free_ char *other_way = xasprintf("%s/.//hosts", folder);
	struct outcome a = ask(dialer, path, "one", "a"), b, c;

	ok(a.block != NULL, "written: %s", a.err.message);
	is_file("x\n" BLOCK("one", "a"), "a name");
	b = ask(dialer, path, "two", "b");
	is_file("x\n" BLOCK("one", "a") BLOCK("two", "b"), "and one of another tag");
	c = ask(dialer, other_way, "one", "c");
	is_file("x\n" BLOCK("two", "b") BLOCK("one", "c"), "the newest of a tag");
	hosts_block_free(c.block);
	is_file("x\n" BLOCK("two", "b") BLOCK("one", "a"), "and when it goes the one before it");
	c = ask(dialer, path, "one", "c");
	hosts_block_free(a.block);
	is_file("x\n" BLOCK("two", "b") BLOCK("one", "c"), "an older one leaves the newer there");
	hosts_block_free(c.block);
	is_file("x\n" BLOCK("two", "b"), "the last one of a tag");
	hosts_block_free(b.block);
	is_file("x\n", "and of all");
}

static void test_denied(struct dialer *dialer)
{
	_cleanup_free_ char *aside = xasprintf("%s/aside", folder);
	_cleanup_free_ char *elsewhere = xasprintf("%s/elsewhere", folder);
	_cleanup_free_ char *link = xasprintf("%s/link", folder);
	_cleanup_free_ char *by_link = xasprintf("%s/link/hosts", folder);
	_cleanup_free_ char *message = NULL, *nowhere = xasprintf("%s/none/hosts", folder);
	struct outcome o = ask(dialer, aside, "t", "a");

	is_int(o.err.reason, REASON_DENIED, "another file");
	message = xasprintf("pod.hosts: %s is not allowed; see --hosts-file", aside);
	is_str(o.err.message, message, "and why");
	if (mkdir(elsewhere, 0700) < 0 || symlink(elsewhere, link) < 0)
		abort();
	o = ask(dialer, by_link, "t", "a");
	is_int(o.err.reason, REASON_DENIED, "an allowed path that leads to a file that is not: %s",
	       o.err.message);
	o = ask(dialer, nowhere, "t", "a");
	is_int(o.err.reason, REASON_NOT_FOUND, "no such folder: %s", o.err.message);
	unlink(path);
	if (symlink("elsewhere/hosts", path) < 0)
		abort();
	o = ask(dialer, path, "t", "a");
	is_int(o.err.reason, REASON_DENIED, "a link: %s", o.err.message);
	unlink(path);
}

static void test_many(struct dialer *dialer)
{
	struct hosts_block *blocks[65];
	struct outcome o = { 0 };
	size_t count = 0;

	for (; count < ARRAY_SIZE(blocks); count++) {
		o = ask(dialer, path, "t", "a");
		if (o.block == NULL)
			break;
		blocks[count] = o.block;
	}
	is_int((long long)count, 64, "64 of them");
	is_int(o.err.reason, REASON_EXHAUSTED, "and no more");
	while (count > 0)
		hosts_block_free(blocks[--count]);
	is_file("x\n", "all gone");
}

static void test_dialer(void)
{
	struct netns_source *source = netns_source_new();
	struct policy policy = { 0 };
	struct dialer_config config = { .source = source, .policy = &policy };
	_cleanup_free_ char *pattern = xasprintf("%s/[ln]*/hosts", folder);
	_cleanup_free_ char *odd = xasprintf("%s/.//hosts", folder);
	struct dialer *dialer;
	struct outcome o;
	struct loop loop;

	if (loop_init(&loop) < 0 || policy_allow_hosts(&policy, path, NULL) < 0 ||
	    policy_allow_hosts(&policy, pattern, NULL) < 0 ||
	    policy_allow_hosts(&policy, odd, NULL) < 0)
		abort();
	dialer = dialer_new(&loop, &config);
	o = ask(dialer, path, "t", "a");
	is_str(o.err.message, "pod.hosts: not allowed by vzfwd-guest; see --allow-expose",
	       "not without an option");
	dialer_free(dialer);
	config.allow_egress = true;
	dialer = dialer_new(&loop, &config);
	test_blocks(dialer);
	test_many(dialer);
	test_denied(dialer);
	ok(loop.hosts == NULL, "nothing is kept");
	dialer_free(dialer);
	netns_source_free(source);
	policy_clear(&policy);
	loop_clear(&loop);
}

int main(void)
{
	_cleanup_free_ char *command = NULL;
	FILE *file;

	test_refused();
	test_taken();
	test_limit();
	test_names();
	test_tags();
	if (mkdtemp(folder) == NULL)
		return skip_all("no folder");
	path = xasprintf("%s/hosts", folder);
	file = fopen(path, "we");
	if (file == NULL || fputs("x\n", file) < 0 || fclose(file) != 0)
		abort();
	test_dialer();
	free(path);
	command = xasprintf("rm -rf %s", folder);
	ok(system(command) == 0, "removed the folder");
	return done_testing();
}
