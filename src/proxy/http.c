/* SPDX-License-Identifier: MIT */
/* HTTP/1 request heads and the proxy's own answers. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "http.h"

#define DEFAULT_PORT 80
#define SCHEME "http://"

size_t http_head_size(const char *data, size_t have, size_t from)
{
	/* An empty line's first \n may have been looked at, and what comes between. */
	size_t at = from > 2 ? from - 2 : 0;
	const char *end;

	while ((end = memchr(data + at, '\n', have - at)) != NULL) {
		at = (size_t)(end + 1 - data);
		if (at < have && data[at] == '\n')
			return at + 1;
		if (at + 1 < have && data[at] == '\r' && data[at + 1] == '\n')
			return at + 2;
	}
	return 0;
}

static int invalid(struct error *err, const char *what)
{
	return error_set(err, REASON_INVALID, EINVAL, "%s", what);
}

/* RFC 9110, section 5.6.2: what methods and the names of fields are made of. */
static bool is_token(const char *s)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789!#$%&'*+-.^_`|~";

	return *s != '\0' && s[strspn(s, letters)] == '\0';
}

/* Cuts the next line off, its \n or \r\n gone; NULL after the last. */
static char *next_line(char **rest)
{
	char *line = *rest, *end;

	if (line == NULL)
		return NULL;
	end = strchr(line, '\n');
	*rest = end != NULL ? end + 1 : NULL;
	if (end != NULL) {
		*end = '\0';
		if (end > line && end[-1] == '\r')
			end[-1] = '\0';
	}
	return line;
}

/* "web", "web:8443", "[::1]:80"; `port` has the default, 0 where one has to be given. */
static int parse_authority(const char *text, struct http_request *request, struct error *err)
{
	const char *end = *text == '[' ? strchr(text, ']') : text + strcspn(text, ":");
	uint64_t port = request->port;
	size_t length;

	if (end == NULL)
		return invalid(err, "a bracket is missing");
	if (*text == '[')
		end++;
	length = (size_t)(end - text);
	if (length == 0 || length > HTTP_HOST_MAX || strchr(text, '@') != NULL)
		return invalid(err, "not a host");
	if ((*end != '\0' && *end != ':') ||
	    (*end == ':' && end[1] != '\0' && parse_uint(end + 1, UINT16_MAX, &port) < 0) ||
	    port == 0)
		return error_set(err, REASON_INVALID, EINVAL, "not a port");
	request->authority = text;
	memcpy(request->host, text, length);
	request->host[length] = '\0';
	request->port = (uint16_t)port;
	return 0;
}

static int parse_absolute(char *target, struct http_request *request, struct error *err)
{
	/* The authority moves by two, over the slashes, for a NUL and what may be missing of the path. */
	char *authority = target + strlen(SCHEME) - 2;
	size_t length = strcspn(authority + 2, "/?#");
	char *path = authority + length + 2;

	memmove(authority, authority + 2, length);
	authority[length] = '\0';
	request->port = DEFAULT_PORT;
	/* RFC 9112, section 3.2.1: an empty path is a slash; section 3.2.4: OPTIONS of nothing is of the server. */
	if (*path == '?')
		*--path = '/';
	request->path = path;
	if (*path == '\0')
		request->path = strcmp(request->method, "OPTIONS") == 0 ? "*" : "/";
	else if (*path != '/')
		return invalid(err, "a path begins with a slash");
	return parse_authority(authority, request, err);
}

static int parse_target(char *target, struct http_request *request, struct error *err)
{
	for (const char *p = target; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p; /* as char is on ARM */

		if (c < '!' || c > '~')
			return invalid(err, "the request's target is not plain text");
	}
	if (strcmp(request->method, "CONNECT") == 0) {
		request->form = HTTP_AUTHORITY;
		return parse_authority(target, request, err);
	}
	if (strncasecmp(target, SCHEME, strlen(SCHEME)) == 0) {
		request->form = HTTP_ABSOLUTE;
		return parse_absolute(target, request, err);
	}
	request->form = HTTP_ORIGIN;
	request->path = target;
	return *target == '/' ? 0 : invalid(err, "neither a path nor an http: address");
}

/* "GET http://web/ HTTP/1.1" */
static int parse_request_line(char *line, struct http_request *request, struct error *err)
{
	char *target = strchr(line, ' '), *version;

	if (target == NULL)
		return invalid(err, "not an HTTP request");
	*target++ = '\0';
	request->method = line;
	version = strchr(target, ' ');
	if (!is_token(line) || version == NULL)
		return invalid(err, "not an HTTP request");
	*version++ = '\0';
	if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
		return invalid(err, "not HTTP/1.0 or HTTP/1.1");
	request->version = version;
	return parse_target(target, request, err);
}

static int parse_field(char *line, struct http_request *request, struct error *err)
{
	char *value = strchr(line, ':'), *end;

	if (request->count == HTTP_FIELDS_MAX)
		return invalid(err, "too many header fields");
	if (value == NULL)
		return invalid(err, "not a header field");
	*value++ = '\0';
	if (!is_token(line))
		return invalid(err, "not a header field");
	value += strspn(value, " \t");
	end = value + strlen(value);
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	for (const char *p = value; p < end; p++) {
		if (((unsigned char)*p < ' ' && *p != '\t') || *p == 0x7f)
			return invalid(err, "control characters in a header field");
	}
	request->fields[request->count++] = (struct http_field){ line, value };
	return 0;
}

int http_parse(char *data, size_t length, struct http_request *request, struct error *err)
{
	char *rest = data, *line;
	int rc;

	memset(request, 0, sizeof(*request));
	data[length] = '\0';
	if (strlen(data) != length)
		return invalid(err, "a NUL in the request");
	rc = parse_request_line(next_line(&rest), request, err);
	while (rc == 0 && (line = next_line(&rest)) != NULL && *line != '\0')
		rc = parse_field(line, request, err);
	return rc;
}

const char *http_field(const struct http_request *request, const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < request->count; i++) {
		if (strcasecmp(request->fields[i].name, name) != 0)
			continue;
		if (value != NULL)
			return NULL;
		value = request->fields[i].value;
	}
	return value;
}

/* RFC 4648, section 4. */
static const char base64_letters[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *http_put_credentials(const char *credentials)
{
	size_t size = strlen(credentials);
	char *text = xmalloc(strlen("Basic ") + (size + 2) / 3 * 4 + 1);
	char *at = stpcpy(text, "Basic ");

	for (size_t i = 0; i < size; i += 3) {
		uint32_t bits = 0;

		for (size_t j = i; j < i + 3; j++)
			bits = bits << 8 | (j < size ? (uint8_t)credentials[j] : 0);
		for (size_t j = 0; j < 4; j++)
			*at++ = i + j > size ? '=' : base64_letters[bits >> (18 - 6 * j) & 63];
	}
	*at = '\0';
	return text;
}

/* The other way round; NULL if it is none, or has a NUL in it. */
static char *decode_base64(const char *text)
{
	size_t length = strcspn(text, "="), size = 0;
	char *out = xmalloc(length + 1);
	uint32_t bits = 0;

	for (size_t i = 0; i < length; i++) {
		const char *letter = strchr(base64_letters, text[i]);

		if (letter == NULL)
			goto bad;
		bits = bits << 6 | (uint32_t)(letter - base64_letters);
		if (i % 4 == 0)
			continue;
		out[size] = (char)(bits >> (6 - i % 4 * 2));
		if (out[size++] == '\0')
			goto bad;
	}
	if (length % 4 == 1 || strlen(text + length) > 2 ||
	    text[length + strspn(text + length, "=")] != '\0')
		goto bad;
	out[size] = '\0';
	return out;
bad:
	free(out);
	return NULL;
}

char *http_credentials(const struct http_request *request)
{
	static const char scheme[] = "Basic ";
	const char *value = http_field(request, "Proxy-Authorization");

	if (value == NULL || strncasecmp(value, scheme, strlen(scheme)) != 0)
		return NULL;
	value += strlen(scheme);
	return decode_base64(value + strspn(value, " "));
}

unsigned http_status_to(const struct error *err)
{
	switch (err->reason) {
	case REASON_INVALID:
		return 400;
	case REASON_DENIED:
		return 403;
	case REASON_NOT_FOUND:
		return 404;
	case REASON_EXHAUSTED:
		return 503;
	case REASON_TIMEOUT:
		return 504;
	default:
		return 502;
	}
}

static const char *phrase(unsigned status)
{
	static const struct {
		unsigned status;
		const char *phrase;
	} phrases[] = {
		{ 200, "OK" },
		{ 400, "Bad Request" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 407, "Proxy Authentication Required" },
		{ 408, "Request Timeout" },
		{ 431, "Request Header Fields Too Large" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(phrases); i++) {
		if (phrases[i].status == status)
			return phrases[i].phrase;
	}
	return "";
}

char *http_answer(unsigned status, const char *fields, const char *type, const char *body)
{
	return xasprintf("HTTP/1.1 %u %s\r\n"
			 "Content-Type: %s\r\n"
			 "Content-Length: %zu\r\n"
			 "Cache-Control: no-store\r\n"
			 "X-Content-Type-Options: nosniff\r\n"
			 "Cross-Origin-Resource-Policy: same-origin\r\n"
			 "%s"
			 "Connection: close\r\n\r\n"
			 "%s",
			 status, phrase(status), type, strlen(body), fields, body);
}
