/* SPDX-License-Identifier: MIT */
/*
 * What a proxy's clients and the targets of its HTTP requests send: SOCKS messages in any portions, heads that are taken
 * apart, passed on and read again, the ends of bodies. The input's first byte says how the portions are cut.
 */
#include "config.h"

#include <string.h>
#include <strings.h>

#include "proxy/forward-http.h"
#include "proxy/socks.h"
#include "tests/fuzz/fuzz.h"

/* Reads a message as a client's is read; how much there is of it, all or not. */
static size_t read_message(enum socks_message message, const uint8_t *data, size_t size, bool *all)
{
	size_t have = 0, want;

	while ((want = socks_size(message, data, have)) > have) {
		REQUIRE(want <= SOCKS_MESSAGE_MAX);
		*all = want <= size;
		if (!*all)
			return size;
		have = want;
	}
	REQUIRE(want == have);
	return have;
}

static void fuzz_socks(const uint8_t *data, size_t size)
{
	struct socks_request request;
	struct error err;
	ssize_t head;
	bool all;
	size_t at;

	read_message(SOCKS_GREETING, data, size, &all);
	if (all)
		socks_choose(data, true);
	at = read_message(SOCKS_AUTH, data, size, &all);
	if (all) {
		_cleanup_free_ char *credentials = socks_credentials(data);

		REQUIRE(credentials == NULL || strlen(credentials) == at - 2);
	}
	read_message(SOCKS_REQUEST, data, size, &all);
	if (all && socks_parse_request(data, &request, &err) == SOCKS_SUCCEEDED)
		REQUIRE(*request.host != '\0' && data[0] == SOCKS_VERSION);
	head = socks_parse_datagram(data, size, &request);
	REQUIRE(head <= (ssize_t)size && head <= SOCKS_DATAGRAM_HEAD_MAX);
	if (head >= 0)
		REQUIRE(*request.host != '\0' && data[2] == 0);
}

static void check_request(const struct http_request *request)
{
	REQUIRE(*request->method != '\0' && request->count <= HTTP_FIELDS_MAX);
	REQUIRE((request->form == HTTP_AUTHORITY) == (request->path == NULL));
	if (request->form != HTTP_ORIGIN)
		REQUIRE(*request->host != '\0' && request->port > 0);
	for (size_t i = 0; i < request->count; i++)
		REQUIRE(strpbrk(request->fields[i].name, "\r\n: ") == NULL &&
			strpbrk(request->fields[i].value, "\r\n") == NULL);
}

/* What goes to the target is a request again, with one end of its body, and without what is ours. */
static void check_forward(const struct http_request *request)
{
	static struct http_request again;
	struct http_body body, body_again;
	struct error err;
	_cleanup_free_ char *head = http_forward(request, &body, &err);
	_cleanup_free_ char *same = NULL;
	size_t size;

	if (head == NULL)
		return;
	size = strlen(head);
	REQUIRE(http_head_size(head, size, 0) == size);
	if (request->count + 3 > HTTP_FIELDS_MAX || strcmp(request->path, "*") == 0)
		return;
	REQUIRE(http_parse(head, size, &again, &err) == 0);
	REQUIRE(again.form == HTTP_ORIGIN && strcmp(again.method, request->method) == 0 &&
		strcmp(again.path, request->path) == 0);
	REQUIRE(strcmp(http_field(&again, "Host"), request->authority) == 0);
	REQUIRE(strcmp(http_field(&again, "Connection"), "close") == 0);
	for (size_t i = 0; i < again.count; i++)
		REQUIRE(strncasecmp(again.fields[i].name, "Proxy-", 6) != 0 ||
			strcasecmp(again.fields[i].name, "Proxy-Authorization") != 0);
	again.authority = request->authority;
	same = http_forward(&again, &body_again, &err);
	REQUIRE(same != NULL && body_again.state == body.state && body_again.left == body.left);
}

static void fuzz_request(const uint8_t *data, size_t size, size_t portion)
{
	static struct http_request request;
	_cleanup_free_ char *text = xmalloc(size + 1);
	_cleanup_free_ char *credentials = NULL;
	size_t head, have = 0, found = 0;
	struct error err;

	memcpy(text, data, size);
	head = http_head_size(text, size, 0);
	while (found == 0 && have < size) {
		size_t from = have;

		have += portion < size - have ? portion : size - have;
		found = http_head_size(text, have, from);
	}
	REQUIRE(found == head);
	if (head == 0)
		return;
	if (http_parse(text, head, &request, &err) < 0) {
		REQUIRE(err.reason == REASON_INVALID);
		return;
	}
	check_request(&request);
	credentials = http_credentials(&request);
	if (request.form == HTTP_ABSOLUTE)
		check_forward(&request);
}

static void fuzz_answer(const uint8_t *data, size_t size)
{
	size_t head = http_head_size((const char *)data, size, 0), new_size;
	_cleanup_free_ char *new = NULL;

	if (head == 0 || http_status_of((const char *)data, head) == 0)
		return;
	new = http_answer_forward((const char *)data, head, &new_size);
	REQUIRE(http_head_size(new, new_size, 0) == new_size);
	REQUIRE(http_status_of(new, new_size) == http_status_of((const char *)data, head));
}

/* Whole and in portions it ends at the same byte. */
static void fuzz_body(const uint8_t *data, size_t size, size_t portion)
{
	struct http_body whole = { .state = HTTP_CHUNK_SIZE }, parts = whole;
	ssize_t end = http_body_feed(&whole, (const char *)data, size), sum = 0;

	REQUIRE(end <= (ssize_t)size);
	REQUIRE(end < 0 || whole.state == HTTP_BODY_DONE || end == (ssize_t)size);
	while (sum >= 0 && (size_t)sum < size && parts.state != HTTP_BODY_DONE) {
		size_t left = size - (size_t)sum;
		ssize_t n = http_body_feed(&parts, (const char *)data + sum,
					   portion < left ? portion : left);

		sum = n < 0 ? n : sum + n;
	}
	REQUIRE(sum == end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t portion = size > 0 ? data[0] % 16u + 1 : 1;

	if (size == 0 || size > HTTP_HEAD_MAX)
		return 0;
	data++;
	size--;
	fuzz_socks(data, size);
	fuzz_request(data, size, portion);
	fuzz_answer(data, size);
	fuzz_body(data, size, portion);
	return 0;
}
