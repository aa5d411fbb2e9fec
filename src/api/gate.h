/* The door of the HTTP server, pure: is this request well-formed and from where we expect it, and
 * who may do what?
 *
 * libmicrohttpd 0.9.75 hands two Hosts, absolute URIs, decoded %2F and %00, and Content-Length with
 * Transfer-Encoding up to the application (measured), so every request passes here first, upgrades
 * included. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GATE_HEADERS_MAX 64
#define GATE_TARGET_MAX  2048
#define GATE_BODY_MAX    (64U << 10)

typedef struct GateHeader {
    const char *name;
    const char *value; /* NULL: none */
} GateHeader;

typedef struct GateRequest {
    const char *method;
    const char *target;  /* the request target as it came, undecoded, query included */
    const char *version; /* "HTTP/1.1" */
    const GateHeader *headers;
    size_t n_headers;
} GateRequest;

typedef struct GateRules {
    const char *const
        *hosts; /* accepted Host names without port; the loopback names are always accepted */
    size_t n_hosts;
    const char *const
        *origins; /* accepted Origins, compared byte by byte; http://<accepted host>[:port] too */
    size_t n_origins;
} GateRules;

typedef enum GateVerdict {
    GATE_PASS,
    GATE_BAD_REQUEST,      /* 400 */
    GATE_FORBIDDEN_HOST,   /* 421 */
    GATE_FORBIDDEN_ORIGIN, /* 403 */
    GATE_TOO_LARGE,        /* 413: body beyond 64 KiB */
    GATE_URI_TOO_LONG,     /* 414 */
} GateVerdict;

/* why gets a static sentence unless it passes. */
GateVerdict gate_check(const GateRules *rules, const GateRequest *request, const char **why);

/* Who is calling. */
typedef enum GateRole {
    ROLE_NOBODY, /* another user of this machine, or another address, without a token */
    ROLE_LOCAL,  /* loopback, and the peer's uid is ours or root */
    ROLE_TOKEN,  /* a valid bearer token */
} GateRole;

/* What a route needs. Zero is no need: a route that forgot to say one must not become readable. */
typedef enum GateNeed { NEED_INVALID, NEED_READ, NEED_CHECK, NEED_ACTION, NEED_MAX } GateNeed;

/* Constant-time comparison of an Authorization header ("Bearer xyz") with the token. */
bool gate_token_matches(const char *authorization, const char *token);

/* HTTP status of the refusal, 0 when allowed. What is no need: 403 for everybody. NEED_ACTION: 403
 * while the flag is off, then 401 without token. */
int gate_allows(GateNeed need, GateRole role, bool actions_enabled);
