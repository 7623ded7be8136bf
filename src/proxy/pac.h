/* SPDX-License-Identifier: MIT */
/* The proxy's settings for browsers: a proxy auto-config file. */
#ifndef VZFWD_PAC_H
#define VZFWD_PAC_H

#include "lib/pods.h"

/*
 * The text of /proxy.pac for the proxy at `address` ("127.0.0.1:1080"), owned by the caller. `password`: browsers
 * can give one to HTTP proxies only.
 */
char *pac_format(const char *address, bool password, const struct pod *pods, size_t count);

#endif
