/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "lib/util.h"
#include "placeholders.h"

#define DIGITS_MAX 4

/* How long the placeholder is that begins here, and which one it is; 0: none does. */
static size_t placeholder_at(const char *text, size_t count, size_t *index)
{
	char digits[DIGITS_MAX + 1] = "0";
	size_t length;
	uint64_t number;

	if (text[0] != '{')
		return 0;
	length = strspn(text + 1, "0123456789");
	if (length > DIGITS_MAX || text[1 + length] != '}')
		return 0;
	if (length > 0)
		memcpy(digits, text + 1, length);
	if (parse_uint(digits, UINT16_MAX, &number) < 0 || number >= count)
		return 0;
	*index = (size_t)number;
	return length + 2;
}

char *placeholders_expand(const char *text, const char *const *values, size_t count)
{
	char *expanded = NULL;
	size_t size, length, index;
	FILE *out = xcheck(open_memstream(&expanded, &size));

	while (*text != '\0') {
		length = placeholder_at(text, count, &index);
		if (length > 0) {
			fputs(values[index], out);
			text += length;
			continue;
		}
		length = *text == '{' ? placeholder_at(text + 1, count, &index) : 0;
		if (length > 0 && text[1 + length] == '}') {
			fprintf(out, "%.*s", (int)length, text + 1);
			text += length + 2;
			continue;
		}
		putc(*text++, out);
	}
	fclose(out);
	return xcheck(expanded);
}
