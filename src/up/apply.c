/* SPDX-License-Identifier: MIT */
/*
 * From one file's forwards to the next one's. What is new is made first, then what is no more is removed:
 * until then nothing has changed that could not be taken back. A port that is led elsewhere is listened on by both meanwhile.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>

#include "up.h"

typedef bool (*entry_test)(const struct up_entry *a, const struct up_entry *b);

static bool same_local(const struct up_entry *a, const struct up_entry *b)
{
	return forward_spec_same_local(&a->spec, &b->spec);
}

static bool is_localhost(const struct up_entry *entry)
{
	return entry->spec.bind_type == BIND_DEFAULT || entry->spec.bind_type == BIND_LOCALHOST;
}

static bool is_its_address(const struct address *a)
{
	return a->family == AF_INET6 ? IN6_IS_ADDR_LOOPBACK(&a->v6)
				     : a->v4.s_addr == htonl(INADDR_LOOPBACK);
}

/*
 * Whether the old one may have one of localhost's two addresses: the new one would do without it, as long as the other
 * can be had (bind.h), and go on without it when the old one is gone. What else is in use bind(2) tells.
 */
static bool in_the_way(const struct up_entry *old, const struct up_entry *entry)
{
	return is_localhost(entry) && entry->spec.local_port != 0 &&
	       old->spec.local_port == entry->spec.local_port &&
	       network_is_udp(old->spec.network) == network_is_udp(entry->spec.network) &&
	       (is_localhost(old) ||
		(old->spec.bind_type == BIND_ADDRESS && is_its_address(&old->spec.bind)));
}

/* The first one of the file that is still to be had and passes the test, or NULL. */
static struct up_entry *find(struct up_file *file, const struct up_entry *entry, entry_test test)
{
	for (size_t i = 0; i < file->count; i++) {
		struct up_entry *old = &file->entries[i];

		if (!old->kept && !old->succeeded && test(old, entry))
			return old;
	}
	return NULL;
}

static void say(const struct up *up, const struct up_entry *entry, const char *what)
{
	_cleanup_free_ char *remote = forward_spec_remote(&entry->spec);
	const char *local;

	for (size_t i = 0; (local = up->backend->listener(entry->handle, i)) != NULL; i++)
		command_say(xasprintf("%s from %s -> %s:%s\n", what, local, entry->pod, remote));
}

static int add(struct up *up, struct up_file *file, struct up_entry *entry, struct error *err)
{
	struct up_entry *old = find(&up->file, entry, same_local);
	void *predecessor = NULL;

	if (old != NULL) {
		old->succeeded = true;
		predecessor = old->handle;
	} else if ((old = find(&up->file, entry, in_the_way)) != NULL) {
		error_set(err, REASON_EXHAUSTED, EADDRINUSE,
			  "cannot listen on localhost:%u: in use by %s, which has to be removed "
			  "before",
			  entry->spec.local_port, old->text);
		return up_file_error(file, entry, err);
	}
	if (up->backend->add(up->arg, entry, predecessor, &entry->handle, err) < 0)
		return up_file_error(file, entry, err);
	return 0;
}

static int add_all(struct up *up, struct up_file *file, struct error *err)
{
	for (size_t i = 0; i < file->count; i++) {
		struct up_entry *twin = find(&up->file, &file->entries[i], up_entry_equal);

		file->entries[i].twin = twin;
		if (twin != NULL)
			twin->kept = true;
	}
	for (size_t i = 0; i < file->count; i++) {
		if (file->entries[i].twin == NULL && add(up, file, &file->entries[i], err) < 0)
			return -EPROTO;
	}
	return 0;
}

static void take_back(struct up *up, struct up_file *file)
{
	for (size_t i = 0; i < file->count; i++) {
		if (file->entries[i].twin == NULL && file->entries[i].handle != NULL)
			up->backend->remove(up->arg, file->entries[i].handle);
	}
	for (size_t i = 0; i < up->file.count; i++)
		up->file.entries[i].kept = up->file.entries[i].succeeded = false;
}

int up_apply(struct up *up, struct up_file *file, struct error *err)
{
	if (add_all(up, file, err) < 0) {
		take_back(up, file);
		return -EPROTO;
	}
	for (size_t i = 0; i < up->file.count; i++) {
		struct up_entry *old = &up->file.entries[i];

		if (old->kept)
			continue;
		say(up, old, "No longer forwarding");
		up->backend->remove(up->arg, old->handle);
	}
	for (size_t i = 0; i < file->count; i++) {
		struct up_entry *entry = &file->entries[i];

		if (entry->twin != NULL)
			entry->handle = entry->twin->handle;
		else
			say(up, entry, "Forwarding");
		entry->twin = NULL;
	}
	up_file_clear(&up->file);
	up->file = *file;
	*file = (struct up_file){ 0 };
	return 0;
}
