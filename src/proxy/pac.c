/* SPDX-License-Identifier: MIT */
/*
 * Pods go through the proxy, and all else as without it. A browser fetches the file once and then asks it for each
 * host, so a pod that was added later is a plain name that nobody else knows.
 */
#include "config.h"

#include <ctype.h>

#include "pac.h"

/* "\"web\":1,\"db\":1", in lower case as browsers write hosts. Names need no quoting: name_is_valid(). */
static char *pod_members(const struct pod *pods, size_t count)
{
	char *text = xstrdup("");

	for (size_t i = 0; i < count; i++) {
		char *more = xasprintf("%s%s\n\t\"%s\": 1", text, i > 0 ? "," : "", pods[i].name);

		free(text);
		text = more;
	}
	for (char *p = text; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	return text;
}

char *pac_format(const char *address, bool password, const struct pod *pods, size_t count)
{
	_cleanup_free_ char *members = pod_members(pods, count);
	_cleanup_free_ char *socks = password ? xstrdup("") : xasprintf("SOCKS5 %s; ", address);

	return xasprintf("var pods = {%s\n};\n\n"
			 "function FindProxyForURL(url, host) {\n"
			 "\thost = host.toLowerCase();\n"
			 "\tif (host == \"localhost\" || host.indexOf(\":\") >= 0)\n"
			 "\t\treturn \"DIRECT\";\n"
			 "\tif (pods.hasOwnProperty(host) ||\n"
			 "\t    (isPlainHostName(host) && !isResolvable(host)))\n"
			 "\t\treturn \"%sPROXY %s\";\n"
			 "\treturn \"DIRECT\";\n"
			 "}\n",
			 members, socks, address);
}
