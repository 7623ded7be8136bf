/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <string.h>

#include "table.h"

/* No column is padded wider than this, so that one odd text does not blow up every line. */
#define WIDTH_MAX 46

struct table {
	const struct column *columns;
	size_t count;
	size_t *widths;
	char **cells; /* row by row */
	size_t cell_count, cells_max;
};

struct table *table_new(const struct column *columns, size_t count)
{
	struct table *t = xcalloc(1, sizeof(*t));

	t->columns = columns;
	t->count = count;
	t->widths = xcalloc(count, sizeof(*t->widths));
	for (size_t i = 0; i < count; i++)
		t->widths[i] = strlen(columns[i].title);
	return t;
}

/* Of UTF-8, in characters. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text != '\0'; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

void table_add(struct table *t, char *text)
{
	char *cell = escape_bytes(text, strlen(text));
	size_t *widest = &t->widths[t->cell_count % t->count], width = width_of(cell);

	free(text);
	if (t->cell_count == t->cells_max) {
		t->cells_max = t->cells_max * 2 + 64;
		t->cells = xrealloc(t->cells, t->cells_max * sizeof(*t->cells));
	}
	t->cells[t->cell_count++] = cell;
	if (width > *widest)
		*widest = width < WIDTH_MAX ? width : WIDTH_MAX;
}

static void print_cell(const struct table *t, size_t column, const char *text, FILE *out)
{
	size_t width = width_of(text), wanted = t->widths[column];
	int pad = width < wanted ? (int)(wanted - width) : 0;
	bool last = column + 1 == t->count;

	if (t->columns[column].number)
		fprintf(out, "%*s%s", pad, "", text);
	else
		fprintf(out, "%s%*s", text, last ? 0 : pad, "");
	fputs(last ? "\n" : "  ", out);
}

void table_print(const struct table *t, FILE *out)
{
	for (size_t i = 0; i < t->count; i++)
		print_cell(t, i, t->columns[i].title, out);
	for (size_t i = 0; i < t->cell_count - t->cell_count % t->count; i++)
		print_cell(t, i % t->count, t->cells[i], out);
}

void table_free(struct table *t)
{
	for (size_t i = 0; i < t->cell_count; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t->widths);
	free(t);
}
