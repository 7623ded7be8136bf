/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <string.h>

#include "dialed.h"

/* Pods that were dialed; beyond that those are forgotten that nobody has a connection to. */
#define ACCOUNTS_MAX 1000

struct account {
	TAILQ_ENTRY(account) next;
	struct traffic traffic; /* without the bytes of streams that go on */
	struct traffic live;    /* for dialed_each() */
	char pod[];
};

struct dialed {
	struct account *account;
	uint64_t id;
	struct event_source source;
	struct event_client *client; /* NULL without --events */
	char target[];
};

static void account_free(struct serve *serve, struct account *account)
{
	TAILQ_REMOVE(&serve->accounts, account, next);
	serve->account_count--;
	free(account);
}

static void forget_one(struct serve *serve)
{
	struct account *account;

	TAILQ_FOREACH (account, &serve->accounts, next) {
		if (account->traffic.open == 0) {
			account_free(serve, account);
			return;
		}
	}
}

/* The one dialed last is the last one. */
static struct account *account_of(struct serve *serve, const char *pod)
{
	size_t size = strlen(pod) + 1;
	struct account *account;

	TAILQ_FOREACH (account, &serve->accounts, next) {
		if (strcmp(account->pod, pod) == 0)
			break;
	}
	if (account != NULL) {
		TAILQ_REMOVE(&serve->accounts, account, next);
	} else {
		if (serve->account_count >= ACCOUNTS_MAX)
			forget_one(serve);
		account = xcalloc(1, sizeof(*account) + size);
		memcpy(account->pod, pod, size);
		serve->account_count++;
	}
	TAILQ_INSERT_TAIL(&serve->accounts, account, next);
	return account;
}

struct dialed *dialed_new(struct serve *serve, const char *pod, const char *target, uint64_t id,
			  int fd)
{
	size_t size = strlen(target) + 1;
	struct dialed *d = xcalloc(1, sizeof(*d) + size);

	memcpy(d->target, target, size);
	d->id = id;
	d->account = account_of(serve, pod);
	d->account->traffic.total++;
	d->account->traffic.open++;
	d->source = (struct event_source){ .events = serve->config.events,
					   .pod = d->account->pod,
					   .target = d->target };
	d->client = event_client_new(&d->source, fd);
	return d;
}

static void dialed_free(struct dialed *d)
{
	d->account->traffic.open--;
	free(d->client);
	free(d);
}

void dialed_failed(struct dialed *d, const struct error *err)
{
	event_failed(&d->source, d->id, d->client, err);
	d->account->traffic.failed[err->reason]++;
	dialed_free(d);
}

void dialed_passed(struct dialed *d)
{
	dialed_opened(d);
	dialed_free(d);
}

void dialed_opened(const struct dialed *d)
{
	event_opened(&d->source, d->id, d->client);
}

void dialed_closed(struct dialed *d, const struct relay_result *result)
{
	event_closed(&d->source, d->id, d->client, result);
	d->account->traffic.bytes_in += result->bytes_in;
	d->account->traffic.bytes_out += result->bytes_out;
	dialed_free(d);
}

static void add_live(void *owner, uint64_t in, uint64_t out)
{
	struct dialed *d = owner;

	d->account->live.bytes_in += in;
	d->account->live.bytes_out += out;
}

void dialed_each(struct serve *serve, traffic_cb cb, void *arg)
{
	struct account *account;

	TAILQ_FOREACH (account, &serve->accounts, next)
		account->live = account->traffic;
	for (int i = 0; i < CALLER_KIND_COUNT; i++)
		streams_each(&serve->shares[i].streams, add_live);
	TAILQ_FOREACH (account, &serve->accounts, next)
		cb(account->pod, "", "", &account->live, arg);
}

void dialed_clear(struct serve *serve)
{
	while (!TAILQ_EMPTY(&serve->accounts))
		account_free(serve, TAILQ_FIRST(&serve->accounts));
}
