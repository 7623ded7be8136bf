/* SPDX-License-Identifier: MIT */
/* Tables of flows: who has to go, and when. */
#include "config.h"

#include "flow.h"

void flow_drop(struct flow *flow, const char *why)
{
	TAILQ_REMOVE(&flow->table->by_use, flow, by_use);
	LIST_REMOVE(flow, in_bucket);
	flow->table->count--;
	flow_end(flow, why);
}

void flow_used(struct flow *flow)
{
	struct flow_table *table = flow->table;

	flow->due = now_ms() + table->idle_ms;
	TAILQ_REMOVE(&table->by_use, flow, by_use);
	TAILQ_INSERT_TAIL(&table->by_use, flow, by_use);
}

/* Ends what is due, and comes again when the next one will be. */
static void table_sweep(void *arg)
{
	struct flow_table *table = arg;
	struct flow *flow, *next;
	int64_t now = now_ms(), first = INT64_MAX;

	for (flow = TAILQ_FIRST(&table->by_use); flow != NULL; flow = next) {
		next = TAILQ_NEXT(flow, by_use);
		if (flow->due <= now)
			flow_drop(flow, "idle");
		else if (flow->due < first)
			first = flow->due;
	}
	if (first != INT64_MAX)
		loop_later(table->loop, &table->sweep, first - now, table_sweep, table);
}

void flow_expire(struct flow *flow, int ms)
{
	struct flow_table *table = flow->table;

	flow->due = now_ms() + ms;
	if (table->sweep.due > flow->due)
		loop_later(table->loop, &table->sweep, ms, table_sweep, table);
}

bool flow_table_room(struct flow_table *table)
{
	const struct accept_limit *limit = table->limit;
	struct flow *flow;

	/* A flow that is held has no place to give. */
	while ((flow = TAILQ_FIRST(&table->by_use)) != NULL &&
	       (table->count == table->max || limit->count >= limit->max))
		flow_drop(flow, "another took its place");
	/* Connections wait for their turn, and datagrams come again: who waits has the last place. */
	return limit->count + 1 < limit->max ||
	       (limit->count < limit->max && !accept_limit_wanted(limit));
}

void flow_table_add(struct flow_table *table, struct flow *flow)
{
	table->limit->count++;
	flow->table = table;
	flow->id = ++*table->last_id;
	flow->due = now_ms() + table->idle_ms;
	TAILQ_INSERT_TAIL(&table->by_use, flow, by_use);
	table->count++;
	if (table->sweep.list == NULL)
		loop_later(table->loop, &table->sweep, table->idle_ms, table_sweep, table);
}

void flow_table_clear(struct flow_table *table, const char *why)
{
	struct flow *flow;

	while ((flow = TAILQ_FIRST(&table->by_use)) != NULL)
		flow_drop(flow, why);
	loop_cancel(&table->sweep);
}
