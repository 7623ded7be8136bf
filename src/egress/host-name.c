/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "host-name.h"

#define LABEL_MAX 63

/* A letter in lower case, a digit, '-' or '_'; '\0' for all else. */
static char name_letter(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ? c : '\0';
}

int host_name_parse(char out[DOMAIN_NAME_MAX + 1], const char *text, size_t size)
{
	size_t label = 0, digits = 0;

	if (size > 0 && text[size - 1] == '.')
		size--;
	if (size == 0 || size > DOMAIN_NAME_MAX)
		return -EINVAL;
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '.') {
			if (label == 0)
				return -EINVAL;
			out[i] = '.';
			label = digits = 0;
			continue;
		}
		out[i] = name_letter(text[i]);
		if (out[i] == '\0' || ++label > LABEL_MAX)
			return -EINVAL;
		digits += out[i] >= '0' && out[i] <= '9';
	}
	out[size] = '\0';
	return label == 0 || digits == label ? -EINVAL : 0;
}
