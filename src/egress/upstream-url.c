/* SPDX-License-Identifier: MIT */
/* What --upstream takes. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "host-name.h"
#include "proxy/auth.h"
#include "upstream.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* Replaces %XX, in place (RFC 3986, section 2.1). */
static int unescape(char *text)
{
	char *out = text;

	for (; *text != '\0'; text++) {
		int high, low;

		if (*text != '%') {
			*out++ = *text;
			continue;
		}
		high = hex_digit(text[1]);
		low = high >= 0 ? hex_digit(text[2]) : -1;
		if (low < 0 || high + low == 0)
			return -EINVAL;
		*out++ = (char)(high << 4 | low);
		text += 2;
	}
	*out = '\0';
	return 0;
}

static bool is_text(const char *text)
{
	size_t size = strlen(text);

	return size > 0 && size <= AUTH_TEXT_MAX;
}

/* USER:PASSWORD, taken apart in place. */
static int parse_credentials(struct upstream *upstream, char *user)
{
	char *password = strchr(user, ':');

	if (password == NULL)
		return -EINVAL;
	*password++ = '\0';
	if (unescape(user) < 0 || unescape(password) < 0 || !is_text(user) || !is_text(password) ||
	    strchr(user, ':') != NULL)
		return -EINVAL;
	upstream->credentials = xasprintf("%s:%s", user, password);
	return 0;
}

static int parse_host(struct upstream *upstream, char *host)
{
	char *colon = strrchr(host, ':'), name[DOMAIN_NAME_MAX + 1];
	struct address addr;
	uint64_t port;

	if (colon == NULL || parse_uint(colon + 1, UINT16_MAX, &port) < 0 || port == 0)
		return -EINVAL;
	*colon = '\0';
	if (*host == '[' && address_parse_host(&addr, host, NULL) == 0) {
		host++;
		host[strlen(host) - 1] = '\0';
	} else if (host_name_parse(name, host, strlen(host)) < 0 &&
		   (strchr(host, ':') != NULL || *host == '\0' ||
		    address_parse_host(&addr, host, NULL) < 0)) {
		return -EINVAL;
	}
	upstream->host = xstrdup(host);
	upstream->port = (uint16_t)port;
	return 0;
}

static int parse(struct upstream *upstream, char *text)
{
	static const char *const schemes[] = {
		[UPSTREAM_HTTP] = "http://",
		[UPSTREAM_SOCKS] = "socks5://",
	};
	size_t kind = 0, length;
	char *at;

	while (strncmp(text, schemes[kind], strlen(schemes[kind])) != 0) {
		if (++kind == ARRAY_SIZE(schemes))
			return -EINVAL;
	}
	upstream->kind = (enum upstream_kind)kind;
	text += strlen(schemes[kind]);
	length = strlen(text);
	if (length > 0 && text[length - 1] == '/')
		text[length - 1] = '\0';
	at = strrchr(text, '@');
	if (at != NULL) {
		*at = '\0';
		if (parse_credentials(upstream, text) < 0)
			return -EINVAL;
		text = at + 1;
	}
	return parse_host(upstream, text);
}

int upstream_parse(struct upstream *upstream, const char *url, struct error *err)
{
	char *text = xstrdup(url);
	int rc;

	*upstream = (struct upstream){ 0 };
	rc = parse(upstream, text);
	explicit_bzero(text, strlen(url));
	free(text);
	if (rc < 0)
		return error_set(err, REASON_INVALID, EINVAL,
				 "an upstream must be http://[USER:PASSWORD@]HOST:PORT or "
				 "socks5://[USER:PASSWORD@]HOST:PORT");
	return 0;
}

void upstream_clear(struct upstream *upstream)
{
	if (upstream->credentials != NULL)
		explicit_bzero(upstream->credentials, strlen(upstream->credentials));
	free(upstream->credentials);
	free(upstream->host);
	*upstream = (struct upstream){ 0 };
}

int upstream_carries(const struct upstream *upstream, enum network network, struct error *err)
{
	if (!network_is_udp(network))
		return 0;
	return error_set(err, REASON_DENIED, 0, "datagrams don't go through the %s upstream",
			 upstream->kind == UPSTREAM_HTTP ? "HTTP" : "SOCKS");
}
