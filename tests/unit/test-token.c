/* SPDX-License-Identifier: MIT */
/* Token files: what is taken, what is refused, and comparing. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "lib/pods.h"
#include "tests/tap.h"

static char path[] = "/tmp/vzfwd-test-token.XXXXXX";

static void write_token(const char *data, size_t length)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	if (fd < 0 || write(fd, data, length) != (ssize_t)length)
		abort();
	close(fd);
}

/* Reads the file: its token, or the reason's name. */
static const char *result(void)
{
	static char text[TOKEN_MAX + 1];
	_cleanup_free_ char *token = NULL;
	struct error err;

	if (token_read(path, &token, &err) < 0)
		return reason_name(err.reason);
	return strcpy(text, token);
}

static void test_contents(void)
{
	char longest[TOKEN_MAX + 3];

	write_token("0123456789abcdef", 16);
	is_str(result(), "0123456789abcdef", "16 bytes");
	write_token("0123456789abcdef\n", 17);
	is_str(result(), "0123456789abcdef", "and a newline, which is taken off");
	write_token("0123456789abcdef\n\n", 18);
	is_str(result(), "0123456789abcdef\n", "one newline");
	write_token("0123456789abcde\n", 16);
	is_str(result(), "invalid", "15 bytes and a newline");
	write_token("", 0);
	is_str(result(), "invalid", "nothing");
	write_token("0123456789\0abcdef", 17);
	is_str(result(), "invalid", "a NUL");
	write_token("0123456789abcdef\xff", 17);
	is_str(result(), "invalid", "bytes that are not UTF-8");

	memset(longest, 'x', sizeof(longest));
	longest[TOKEN_MAX] = '\0';
	write_token(longest, TOKEN_MAX);
	is_str(result(), longest, "256 bytes");
	longest[TOKEN_MAX] = '\n';
	write_token(longest, TOKEN_MAX + 1);
	longest[TOKEN_MAX] = '\0';
	is_str(result(), longest, "256 bytes and a newline");
	memset(longest, 'x', sizeof(longest));
	write_token(longest, TOKEN_MAX + 1);
	is_str(result(), "invalid", "257 bytes");
	longest[TOKEN_MAX + 1] = '\n';
	write_token(longest, TOKEN_MAX + 2);
	is_str(result(), "invalid", "257 bytes and a newline");
	write_token(longest, TOKEN_MAX + 3);
	is_str(result(), "invalid", "more");
}

static void test_file(void)
{
	static const mode_t modes[] = { 0640, 0620, 0604, 0602, 0601, 0610 };

	write_token("0123456789abcdef", 16);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		chmod(path, modes[i]);
		is_str(result(), "denied", "mode %04o", (unsigned)modes[i]);
	}
	chmod(path, 0400);
	is_str(result(), "0123456789abcdef", "mode 0400");
	chmod(path, 0600);
	if (geteuid() == 0) {
		if (chown(path, 12345, -1) < 0)
			abort();
		is_str(result(), "denied", "somebody else's file");
	} else {
		skip("needs root");
	}
	unlink(path);
	is_str(result(), "not-found", "no file");
	mkfifo(path, 0600);
	is_str(result(), "denied", "a FIFO");
	unlink(path);
	mkdir(path, 0700);
	is_str(result(), "denied", "a folder");
	rmdir(path);
}

static void test_equal(void)
{
	ok(token_equal("abc", "abc"), "the same");
	ok(!token_equal("abc", "abd"), "the last byte differs");
	ok(!token_equal("abc", "xbc"), "the first byte differs");
	ok(!token_equal("abc", "abcd"), "longer");
	ok(!token_equal("abcd", "abc"), "shorter");
	ok(!token_equal("", "a"), "nothing and something");
	ok(!token_equal(NULL, "a") && !token_equal("a", NULL) && !token_equal(NULL, NULL),
	   "no token equals none");
}

int main(void)
{
	int fd = mkstemp(path);

	if (fd < 0)
		return skip_all("cannot make a file in /tmp");
	close(fd);
	test_contents();
	test_file();
	test_equal();
	return done_testing();
}
