/* A transfer of libcurl to a host that may be a name: the name is resolved off the loop and its
 * addresses are pinned, because libcurl's own resolver would block the loop while a name server
 * hangs. Literal addresses and localhost need no resolver.
 *
 * Used by the health looks and by the notices. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "api/resolve.h"
#include "common/curl-glue.h"

typedef struct CurlNames {
    CurlGlue *glue;
    Resolver *resolver;
} CurlNames;

/* lookup: NULL, or a test's. After an error curl_names_done() frees what there is. */
int curl_names_init(CurlNames *c, Nest *nest, ResolveLookup lookup);
void curl_names_done(CurlNames *c); /* every transfer was done before */

/* One transfer, embedded in its owner. */
typedef struct CurlNamed {
    CurlTransfer transfer; /* easy: the owner sets what it wants before the start */
    /* Instead of transfer.done: error is -ENOENT (no such name), -EAGAIN (the name server fails),
     * or why the transfer could not begin. */
    void (*failed)(struct CurlNamed *n, int error);
    CurlNames *names;
    ResolveQuery query;
    struct curl_slist *pinned;
    char *scheme, *host, *port; /* of the URL; host in brackets when it is IPv6 */
    bool resolving;             /* waits for the name */
    bool added;                 /* under way */
} CurlNamed;

/* Makes the easy handle for the URL: nothing of the environment counts, no proxy, no netrc, no
 * redirect, a connection of its own. protocols: "http,https". -EINVAL: no such URL, or one with a
 * user in it. After an error curl_named_done() frees what there is. */
int curl_named_init(CurlNamed *n, CurlNames *names, const char *url, const char *protocols,
                    uint32_t timeout_ms, void (*done)(CurlTransfer *t, CURLcode result),
                    void (*failed)(CurlNamed *n, int error));
/* Neither `done` nor `failed` is called from inside. */
int curl_named_start(CurlNamed *n, Now now);
void curl_named_done(CurlNamed *n); /* no callback any more */
