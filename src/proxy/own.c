/* SPDX-License-Identifier: MIT */
/*
 * Any page in a browser can make it send requests here. None of them gets to do anything, and the one answer with something in
 * it, which names the pods, is not for pages: they are not let read it by what they say of themselves (Fetch
 * Metadata), nor by its type (nosniff: a page can't run it as a script), nor under a name of their own that was made to mean
 * this address (DNS rebinding).
 */
#include "config.h"

#include <string.h>
#include <strings.h>

#include "own.h"
#include "pac.h"

#define PAC_TYPE "application/x-ns-proxy-autoconfig"

char *own_error(unsigned status, const char *fields, const char *text)
{
	char visible[ERROR_MESSAGE_MAX];
	_cleanup_free_ char *body =
		xasprintf("vzfwd: %s\n", escape_text(visible, sizeof(visible), text));

	return http_answer(status, fields, "text/plain; charset=utf-8", body);
}

/* By an address, or as localhost: nobody can make these mean another machine. */
static bool is_asked_by_address(const struct http_request *request)
{
	const char *host = http_field(request, "Host");
	_cleanup_free_ char *copy = NULL;
	struct address address;
	char *end;

	if (host == NULL)
		return false;
	copy = xstrdup(host);
	end = *copy == '[' ? strchr(copy, ']') : copy;
	if (end != NULL)
		end = strchr(end, ':');
	if (end != NULL)
		*end = '\0';
	return *copy != '\0' && address_parse_host(&address, copy, NULL) == 0;
}

static bool is_of_a_page(const struct http_request *request)
{
	for (size_t i = 0; i < request->count; i++) {
		if (strcasecmp(request->fields[i].name, "Sec-Fetch-Site") == 0 &&
		    strcmp(request->fields[i].value, "none") != 0)
			return true;
	}
	return false;
}

/* "127.0.0.1:1080": where the client has reached us; false for a Unix socket. */
static bool local_address(int fd, char text[ADDRESS_TEXT_MAX])
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct address address;

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0 ||
	    address_from_sockaddr(&address, (struct sockaddr *)&ss) < 0)
		return false;
	address_format(&address, text);
	return true;
}

static char *pac(const struct proxy *proxy, const char *address)
{
	bool password = proxy->config.auth.count > 0;
	_cleanup_free_ char *text = NULL;
	struct pod *pods = NULL;
	size_t count = 0;

	/* Browsers ask without a password: then they get no names. */
	if (!password && pods_list(proxy->config.pods_dir, &pods, &count, NULL, NULL, NULL) < 0)
		count = 0;
	text = pac_format(address, password, pods, count);
	if (count > 0)
		pods_list_free(pods, count);
	return http_answer(200, "", PAC_TYPE, text);
}

char *own_answer(const struct proxy *proxy, int fd, const struct http_request *request)
{
	char address[ADDRESS_TEXT_MAX], *answer;

	if (strcmp(request->path, "/proxy.pac") != 0 || !local_address(fd, address))
		return own_error(404, "", "this is a proxy; its settings are at /proxy.pac");
	if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0)
		return own_error(405, "Allow: GET, HEAD\r\n", "GET it");
	if (!is_asked_by_address(request) || is_of_a_page(request))
		return own_error(403, "", "ask for it by address, and not from a page");
	answer = pac(proxy, address);
	if (strcmp(request->method, "HEAD") == 0)
		strstr(answer, "\r\n\r\n")[4] = '\0';
	return answer;
}
