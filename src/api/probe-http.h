/* Health endpoints: one look is one fresh connection, one GET, the head of the answer.
 *
 * Plain http to a literal address (or through a SOCKS5 UNIX socket of an ssh transport) by a bare
 * client on the nested epoll (25 us); https and host names by libcurl with names resolved off the
 * loop. No redirects are followed. A kept connection would block a single-threaded service and hide
 * a dead accept(), hence `Connection: close`. EOF or RST before the first byte is retried once
 * within the same deadline. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "api/resolve.h"
#include "basic/clock.h"
#include "basic/epoll-nest.h"
#include "common/unit.h"

#define HTTP_HEAD_MAX 8192

/* Where to connect. The transport fills it in: directly, or a UNIX socket that speaks SOCKS5 (RFC
 * 1928). */
typedef struct HttpDial {
    struct sockaddr_storage address;
    socklen_t address_len;
    bool socks; /* send the SOCKS5 preamble below before the request, skip its answer */
    uint8_t preamble[32];
    uint8_t preamble_len;
} HttpDial;

typedef struct HttpLook {
    HttpDial dial;
    const char *host;   /* Host header, e.g. "127.0.0.1:8401"; copied */
    const char *target; /* request target, e.g. "/health"; copied */
    const char *url;    /* not NULL: a full URL; dial, host and target are then ignored; copied */
    uint32_t timeout_ms;
    uint32_t handle; /* handed back */
} HttpLook;

typedef struct HttpProber HttpProber;

/* facts: outcome, status, latency_us, started_us, at_us are set; misses is the receiver's. */
typedef void (*HttpCallback)(void *userdata, uint32_t handle, const HttpFacts *facts);

int http_prober_new(Nest *nest, HttpCallback callback, void *userdata, HttpProber **ret);
HttpProber *http_prober_free(HttpProber *p); /* in-flight looks end without callback */

/* Starts a look. The callback comes later, from nest_dispatch() or http_prober_tick(), never from
 * inside this call; it may start the next look. -EBUSY when max_in_flight are out, too many names
 * wait to be resolved, or we are out of descriptors or memory, which is no news of the service;
 * -EINVAL for a host, target or URL that cannot be asked. */
int http_health_probe(HttpProber *p, const HttpLook *look, Now now);
void http_prober_cancel(HttpProber *p, uint32_t handle);
size_t http_prober_in_flight(const HttpProber *p);
void http_prober_set_max(HttpProber *p, size_t max_in_flight); /* default 32 */
void http_prober_set_lookup(HttpProber *p,
                            ResolveLookup lookup); /* for tests; before the first look */

/* Deadlines: call http_prober_tick() when the time of http_prober_next_us() (mono, UINT64_MAX:
 * none) has come. */
uint64_t http_prober_next_us(const HttpProber *p);
void http_prober_tick(HttpProber *p, Now now);

/* The pure parser of a reply's status line and head. Returns 1 when the final head is complete, 0
 * when more bytes are needed, -EBADMSG when it is not HTTP/1.x or longer than HTTP_HEAD_MAX.
 * *ret_status is set as soon as the final status line is: that alone is enough to judge when the
 * connection ends there. Interim replies (1xx) are stepped over. */
int http_head_parse(const char *data, size_t len, int *ret_status);

/* Splits a plain-http URL whose host is a literal address into dial, host, target. -EDESTADDRREQ:
 * needs libcurl; -EINVAL, -ENAMETOOLONG. */
int http_url_dial(const char *url, HttpDial *dial, char *host, size_t host_size, char *target,
                  size_t target_size);
