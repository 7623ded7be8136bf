/* SPDX-License-Identifier: MIT */
/* A table of texts, in columns that are as wide as they need to be. */
#ifndef VZFWD_TABLE_H
#define VZFWD_TABLE_H

#include <stdio.h>

#include "lib/util.h"

struct column {
	const char *title;
	bool number; /* to the right */
};

struct table;
struct table *table_new(const struct column *columns, size_t count);
void table_add(struct table *table, char *text); /* the next cell; takes the text, and escapes it */
/* Titles, then a line a row; a last row that is not full is left out. */
void table_print(const struct table *table, FILE *out);
void table_free(struct table *table);

#endif
