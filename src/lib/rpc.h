/* SPDX-License-Identifier: MIT */
/*
 * The handshake's lines: JSON-RPC 2.0 requests, results and errors as JSON text.
 * No I/O. Every line that is parsed here came from the other, hostile side.
 */
#ifndef VZFWD_RPC_H
#define VZFWD_RPC_H

#include <jansson.h>

#include "endpoint.h"
#include "rpc-plain.h"

#define RPC_LINE_MAX 4096u            /* a request and the answer to portDial, with the \n */
#define RPC_ANSWER_MAX (1024u * 1024) /* other answers */
#define RPC_NESTING_MAX 8
#define RPC_ID_MAX 256 /* bytes of a string id: an answer must have room for more than its id */
#define RPC_PROTOCOL 1

#define TIMEOUT_MS_DEFAULT 10000
#define TIMEOUT_MS_MAX 600000

static inline void cleanup_json(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ __attribute__((cleanup(cleanup_json)))

enum framing { FRAMING_RAW, FRAMING_RECORDS, FRAMING_COUNT };
const char *framing_name(enum framing framing);
int framing_from_name(const char *name, enum framing *out); /* 0 or -ENOENT */

/*
 * Parses one JSON object: UTF-8, duplicate keys refused, nesting at most
 * RPC_NESTING_MAX, nothing behind it but white space. New reference or NULL with
 * *err: REASON_INVALID, code RPC_PARSE_ERROR.
 */
json_t *rpc_parse_object(const char *text, size_t length, struct error *err);

/* A request's params: an object of jansson's, or (NULL) one that was plain enough without; maybe empty. */
struct rpc_params {
	json_t *json;
	struct plain_object plain;
};

struct rpc_request {
	json_t *id;         /* string, number or null; NULL for a notification */
	const char *method; /* this and params borrow from the two below */
	struct rpc_params params;
	json_t *message;
	char *text;
};

/*
 * Parses a request line (with or without its \n). On error *req may still carry the
 * id that the answer needs (NULL: answer with null); rpc_request_clear() in every case.
 * Not JSON: RPC_PARSE_ERROR; JSON but no request, or params not an object: RPC_INVALID_REQUEST
 * and RPC_INVALID_PARAMS; the reason is REASON_INVALID for all three.
 */
int rpc_parse_request(const char *line, size_t length, struct rpc_request *req, struct error *err);
void rpc_request_clear(struct rpc_request *req);

/*
 * Lines with their \n, owned by the caller. `id` may be NULL (null), and so may `params` (none);
 * all are borrowed. An error's text is shortened until its line is no longer than RPC_LINE_MAX;
 * requests and results are as long as they are.
 */
char *rpc_format_request(json_int_t id, const char *method, json_t *params);
char *rpc_format_notification(const char *method, json_t *params);
char *rpc_format_result(const json_t *id, json_t *result);
char *rpc_format_error(const json_t *id, const struct error *err);

/*
 * Reads the answer to request `id`: 0 and a new reference in *result, or a
 * negative number and the error that the other side told (its reason from
 * error.data.reason, else by code; its text escaped) or REASON_INTERNAL for
 * an answer that is none ("not a vzfwd dialer"). An error with the id null is taken as
 * this request's: so answers who could not read its id.
 */
int rpc_parse_answer(const char *line, size_t length, json_int_t id, json_t **result,
		     struct error *err);

/*
 * Reads a notification: 1 and a new reference in *params (an object) if it is `method`'s, 0 if it is another one's,
 * which nobody waits for; else REASON_INTERNAL.
 */
int rpc_parse_notification(const char *line, size_t length, const char *method, json_t **params,
			   struct error *err);

/* REASON_INTERNAL: "not a vzfwd dialer: what". */
int rpc_not_an_answer(struct error *err, const char *what);

/* The text of a string without NULs, borrowed; NULL for anything else. */
const char *rpc_string(const json_t *json);

/*
 * A string parameter, borrowed from params. Absent or null: *out is NULL, and REASON_INVALID
 * if `required` ("pod.portDial: handle is missing"). Not a string, or with a NUL in it:
 * REASON_INVALID ("pod.portDial: handle must be a string").
 */
int rpc_get_string(const char *method, const struct rpc_params *params, const char *name,
		   bool required, const char **out, struct error *err);

/* An integer parameter: 1, 0 if it is absent or null, -EINVAL if it is something else. */
int rpc_get_integer(const struct rpc_params *params, const char *name, json_int_t *out);

/* A boolean parameter: false if it is absent or null; REASON_INVALID if it is something else. */
int rpc_get_boolean(const char *method, const struct rpc_params *params, const char *name,
		    bool *out, struct error *err);

/* A parameter that is there, as JSON text for a person; owned by the caller. */
char *rpc_param_text(const struct rpc_params *params, const char *name);

/* A UTF-8 JSON string of what the system said: bytes that are not UTF-8 become \xNN. */
json_t *rpc_system_string(const char *s);
/* What the other side said, as escape_text() makes it. */
json_t *rpc_escaped_string(const char *s);

/* The one method that turns its link into a stream. */
#define METHOD_PORT_DIAL "pod.portDial"

/* What listens in a pod, and how it has changed. */
#define METHOD_PORTS "pod.ports"
#define METHOD_PORTS_CHANGED "pod.portsChanged"

/* The networks that a target can be in, as far as they are supported here. */
#define RPC_NETWORKS 7
extern const enum network rpc_networks[RPC_NETWORKS];

/* The one of them that a name means, or REASON_UNSUPPORTED with a text that lists them. */
int rpc_network_parse(const char *name, enum network *network, struct error *err);

/* What a request says of a target, beside the pod that it is in. */
struct port_target {
	enum network network;
	struct address addr; /* as it was given; not for unix: */
	const char *path;    /* borrowed from the params */
	int timeout_ms;
	enum framing framing;
};

/*
 * network, address or port, timeoutMs, framing, in this order. REASON_UNSUPPORTED for the network, else
 * REASON_INVALID. `framing` is what none means, but for udp, which is records and nothing else.
 */
int rpc_get_port_target(const char *method, const struct rpc_params *params, enum framing framing,
			struct port_target *target, struct error *err);

/* What pod.portDial asks for, as the host sends it. */
struct port_dial {
	const char *handle;
	const char *container_id; /* NULL: the pod's own netns */
	enum network network;
	const char *address; /* "127.0.0.1:80", ":80", or a path for unix */
	int timeout_ms;
	enum framing framing;
	const char *token; /* NULL if none */
};
json_t *rpc_port_dial_params(const struct port_dial *dial);

/* The request's line, written to `out` if it fits RPC_LINE_MAX, else -EMSGSIZE. Returns its length. */
int rpc_format_port_dial(json_int_t id, const struct port_dial *dial, char out[RPC_LINE_MAX]);

/* And what came back. Strings are escaped. */
struct port_dialed {
	char network[8];
	char remote[ERROR_MESSAGE_MAX], local[ERROR_MESSAGE_MAX]; /* "" if not told */
	enum framing framing;
};
char *rpc_format_port_dialed(const json_t *id,
			     const struct port_dialed *dialed); /* as rpc_format_result() */

/* A result without framing is raw. REASON_INTERNAL if it is none. */
int rpc_port_dialed(json_t *result, struct port_dialed *out, struct error *err);

/* rpc_parse_answer() and rpc_port_dialed() in one. */
int rpc_parse_port_dialed(const char *line, size_t length, json_int_t id, struct port_dialed *out,
			  struct error *err);

#endif
