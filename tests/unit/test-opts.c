/* SPDX-License-Identifier: MIT */
/* Command lines by tables: what the handler and the operands get, and what is refused. */
#include "config.h"

#include <errno.h>

#include "lib/opts.h"
#include "tests/tap.h"

enum { OWN_POD, OWN_JSON, OWN_FAIL, COMMON_VERBOSE, COMMON_DIR };

static const struct option_def own[] = {
	{ 'p', "pod", VALUE_POD, "POD", NULL, "the pod", OWN_POD },
	{ 0, "json", VALUE_NONE, NULL, NULL, "print JSON", OWN_JSON },
	{ 'f', "fail", VALUE_NONE, NULL, NULL, "be refused", OWN_FAIL },
	{ 0 },
};

static const struct option_def common[] = {
	{ 'v', "verbose", VALUE_NONE, NULL, NULL, "tell more", COMMON_VERBOSE },
	{ 0, "dir", VALUE_DIR, "DIR", NULL, "a folder", COMMON_DIR },
	{ 0 },
};

struct seen {
	char text[256];
};

static int record(int id, const char *value, void *arg, struct error *err)
{
	static const char *const names[] = { "pod", "json", "fail", "verbose", "dir" };
	struct seen *seen = arg;
	size_t length = strlen(seen->text);

	if (id == OWN_FAIL)
		return error_set(err, REASON_DENIED, EPERM, "refused");
	snprintf(seen->text + length, sizeof(seen->text) - length, "%s%s%s ", names[id],
		 value ? "=" : "", value ? value : "");
	return 0;
}

/* Splits a command line at blanks, "''" being an empty word; returns argc. */
static int split(char *line, char **argv)
{
	int argc = 0;

	for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
		if (!strcmp(word, "''"))
			*word = '\0';
		argv[argc++] = word;
	}
	return argc;
}

static const struct {
	const char *line, *want; /* the options, then the operands; or the error */
	int ret;
} cases[] = {
	{ "x", "|", 0 },
	{ "x a b", "|a b ", 2 },
	{ "x --pod web a", "pod=web |a ", 1 },
	{ "x --pod=web a", "pod=web |a ", 1 },
	{ "x --pod= a", "pod= |a ", 1 },
	{ "x --pod=a=b", "pod=a=b |", 0 },
	{ "x --pod '' a", "pod= |a ", 1 },
	{ "x -p web a", "pod=web |a ", 1 },
	{ "x -pweb a", "pod=web |a ", 1 },
	{ "x -p=web a", "pod==web |a ", 1 },
	{ "x -vp web", "verbose pod=web |", 0 },
	{ "x -vvpweb", "verbose verbose pod=web |", 0 },
	{ "x -p -v", "pod=-v |", 0 },
	{ "x --pod --json", "pod=--json |", 0 },
	{ "x --pod -- a", "pod=-- |a ", 1 },
	{ "x a --json b -v c", "json verbose |a b c ", 3 },
	{ "x --dir /d --json", "dir=/d json |", 0 },
	{ "x -- --json -v", "|--json -v ", 2 },
	{ "x a -- -- b", "|a -- b ", 3 },
	{ "x - a", "|- a ", 2 },
	{ "x ''", "| ", 1 },
	{ "x --nosuch", "unknown option --nosuch", -EINVAL },
	{ "x --nosuch=1", "unknown option --nosuch", -EINVAL },
	{ "x --po web", "unknown option --po", -EINVAL },
	{ "x --podx web", "unknown option --podx", -EINVAL },
	{ "x --=1", "unknown option --", -EINVAL },
	{ "x -x", "unknown option -x", -EINVAL },
	{ "x -vx", "unknown option -x", -EINVAL },
	{ "x -v-", "unknown option --", -EINVAL },
	{ "x --pod", "option --pod needs a value (POD)", -EINVAL },
	{ "x -vp", "option --pod needs a value (POD)", -EINVAL },
	{ "x --json=yes", "option --json takes no value", -EINVAL },
	{ "x --json=", "option --json takes no value", -EINVAL },
	{ "x -vfp", "refused", -EPERM },
	{ "x --fail a", "refused", -EPERM },
};

static void test_parse(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *line = xstrdup(cases[i].line);
		char *argv[16];
		const char *operands[16];
		struct seen seen = { "" };
		struct error err = { .message = "" };
		int argc = split(line, argv);
		int ret = opts_parse(argc, argv, own, common, record, &seen, operands, &err);

		is_int(ret, cases[i].ret, "\"%s\": what comes back", cases[i].line);
		strcat(seen.text, "|");
		for (int j = 0; j < ret; j++) {
			strcat(seen.text, operands[j]);
			strcat(seen.text, " ");
		}
		is_str(ret < 0 ? err.message : seen.text, cases[i].want, "\"%s\"", cases[i].line);
	}
}

static void test_no_tables(void)
{
	char *argv[] = { (char *)"x", (char *)"a", (char *)"-v" };
	const char *operands[3];
	struct seen seen = { "" };
	struct error err;

	is_int(opts_parse(2, argv, NULL, NULL, NULL, NULL, operands, &err), 1, "no options at all");
	is_int(opts_parse(3, argv, NULL, NULL, NULL, NULL, operands, &err), -EINVAL,
	       "then each is unknown");
	is_int(err.reason, REASON_INVALID, "and invalid");
	is_int(opts_parse(3, argv, NULL, common, record, &seen, operands, &err), 1,
	       "common ones only");
	is_str(seen.text, "verbose ", "are found");
}

static void test_leading(void)
{
	static const struct {
		const char *line, *want;
		int ret;
	} lines[] = {
		{ "x", "", 1 },
		{ "x dial -v", "", 1 },
		{ "x -v --dir d dial -v", "verbose dir=d ", 4 },
		{ "x -v", "verbose ", 2 },
		{ "x -v -- -v dial", "verbose ", 3 },
		{ "x - a", "", 1 },
		{ "x --nosuch dial", "", -EINVAL },
		{ "x --dir", "", -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		_cleanup_free_ char *line = xstrdup(lines[i].line);
		char *argv[16];
		struct seen seen = { "" };
		struct error err;
		int argc = split(line, argv);

		is_int(opts_parse_leading(argc, argv, common, record, &seen, &err), lines[i].ret,
		       "\"%s\": the first operand", lines[i].line);
		is_str(seen.text, lines[i].want, "\"%s\": options before it", lines[i].line);
	}
}

static void test_number(void)
{
	static const struct {
		const char *text;
		int ret;
		uint64_t value;
	} numbers[] = {
		{ "2", 0, 2 },        { "10", 0, 10 },    { "1", -EINVAL, 0 },
		{ "11", -EINVAL, 0 }, { "", -EINVAL, 0 }, { "3x", -EINVAL, 0 },
		{ "-3", -EINVAL, 0 },
	};
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		uint64_t value = 0;

		is_int(opts_number("size", numbers[i].text, 2, 10, &value, &err), numbers[i].ret,
		       "the number \"%s\" of 2..10", numbers[i].text);
		is_int(value, numbers[i].value, "its value");
	}
	is_str(err.message, "--size: must be a number between 2 and 10, got -3", "what is said");
}

/* --help's rows go to stdout, so stdout is a file for that long. */
static void test_print(void)
{
	static const struct option_def rows[] = {
		{ 'p', "pod", VALUE_POD, "POD", NULL, "the pod", 0 },
		{ 0, "json", VALUE_NONE, NULL, NULL, "print JSON", 0 },
		{ 0, "a-long-name", VALUE_TEXT, "CIDR[:PORT]", NULL, "on a line of its own", 0 },
		{ 0 },
	};
	static const char want[] = "  -p, --pod POD               the pod\n"
				   "      --json                  print JSON\n"
				   "      --a-long-name CIDR[:PORT]\n"
				   "                              on a line of its own\n";
	char got[512] = "";
	FILE *file = tmpfile();
	int out = dup(STDOUT_FILENO);

	fflush(stdout);
	dup2(fileno(file), STDOUT_FILENO);
	opts_print(rows);
	opts_print(NULL);
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	close(out);
	rewind(file);
	ok(fread(got, 1, sizeof(got) - 1, file) > 0, "options are printed");
	fclose(file);
	is_str(got, want, "aligned");
}

int main(void)
{
	test_parse();
	test_no_tables();
	test_leading();
	test_number();
	test_print();
	return done_testing();
}
