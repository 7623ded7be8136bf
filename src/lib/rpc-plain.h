/* SPDX-License-Identifier: MIT */
/*
 * Reads the JSON that our own other side writes, and a bit more, without making a tree of it: one
 * object, members in the order in which rpc.c writes them, no white space, flat params or result. Its strings are
 * printable ASCII without a backslash, its numbers whole and not negative; there is true and false, but no null. Whatever is not that
 * plain may be JSON as well: jansson tells. What is read here, jansson reads in the same way.
 */
#ifndef VZFWD_RPC_PLAIN_H
#define VZFWD_RPC_PLAIN_H

#include "util.h"

#define PLAIN_MEMBERS_MAX 8

enum plain_kind { PLAIN_STRING, PLAIN_NUMBER, PLAIN_BOOLEAN };

/* All texts are NUL-terminated, and lie in the text that was read. */
struct plain_member {
	const char *name;
	const char *value; /* a string, or a number's digits, or true or false */
	enum plain_kind kind;
};

struct plain_object {
	size_t count;
	struct plain_member members[PLAIN_MEMBERS_MAX];
};

/*
 * {"jsonrpc":"2.0","id":1,"method":"m","params":{…}}, the params optional, with or without a \n. `text` is
 * written to, also when it turns out not to be plain (false).
 */
bool plain_read_request(char *text, size_t length, int64_t *id, const char **method,
			struct plain_object *params);

/* {"jsonrpc":"2.0","id":1,"result":{…}}, in the same way. */
bool plain_read_result(char *text, size_t length, int64_t *id, struct plain_object *result);

/* {"jsonrpc":"2.0","method":"m","params":{…}}, in the same way. */
bool plain_read_notification(char *text, size_t length, const char **method,
			     struct plain_object *params);

/* NULL if there is none of that name. */
const struct plain_member *plain_get(const struct plain_object *object, const char *name);

/* What a number's or a boolean's value is. */
int64_t plain_integer(const struct plain_member *member);
bool plain_boolean(const struct plain_member *member);

/* True for text that stands in JSON as it is. */
bool plain_is(const char *text);

#endif
