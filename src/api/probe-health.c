/* Health requests: where to dial, and when.
 *
 * A path is asked of the address that its port's listener is bound to; a full URL from here, unless
 * its host is a loopback name, which means the watched PC. Where no connection leads there the
 * transport asks over there (TransportOps.health). Requests start in bursts of at most BURST. */
#include "api/probe-private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "basic/macro.h"

#define BURST          32U
#define BURST_PAUSE_US (25U * 1000U)

/* The endpoint gave no answer; but neither did its PC meanwhile, so it is no evidence yet. */
static bool is_pc_silent(const Service *s, const HttpFacts *facts)
{
    const ProbePc *way = s->pc->probe;

    return facts->outcome == HTTP_TIMEOUT && way && !s->pc->is_self && !way->transport->is_polled &&
           unit_bus_answered_us(way->buses[SCOPE_USER].bus) < facts->started_us;
}

void probe_on_http(void *userdata, uint32_t handle, const HttpFacts *facts)
{
    Probe *p = userdata;
    Service *s = fleet_by_handle(p->fleet, handle);

    if (s && is_pc_silent(s, facts))
        fleet_put_back(p->fleet, s, clock_now());
    else if (s)
        fleet_http(p->fleet, s, facts, clock_now());
}

typedef struct UrlParts {
    char url[1100], host[80], target[1100];
} UrlParts;

static int dial_path(ProbePc *p, const Service *s, HttpLook *look, char *host, size_t size)
{
    static const PortEntry loopback = {.addr = {127, 0, 0, 1}};
    const PortEntry *found = NULL;
    PortEntry entry = loopback;
    char address[INET6_ADDRSTRLEN];

    if (port_listening_check(&p->ports, s->want.port, &found) && found)
        entry = *found;
    entry.port = s->want.port;
    static const uint8_t any[16];
    bool is_any = memcmp(entry.addr, any, entry.is_ipv6 ? 16 : 4) == 0;
    const char *text =
        is_any ? (entry.is_ipv6 ? "::1" : "127.0.0.1")
               : inet_ntop(entry.is_ipv6 ? AF_INET6 : AF_INET, entry.addr, address, sizeof address);
    snprintf(host, size, entry.is_ipv6 ? "[%s]:%u" : "%s:%u", text, s->want.port);
    look->host = host;
    look->target = s->want.health;
    return p->transport->ops->dial(p->transport, &entry, &look->dial);
}

static bool is_loopback(const struct sockaddr_storage *address, PortEntry *ret)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

    *ret = (PortEntry){.is_ipv6 = address->ss_family == AF_INET6};
    if (ret->is_ipv6) {
        memcpy(ret->addr, &in6->sin6_addr, 16);
        ret->port = ntohs(in6->sin6_port);
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    memcpy(ret->addr, &in->sin_addr, 4);
    ret->port = ntohs(in->sin_port);
    return ret->addr[0] == 127;
}

/* A URL with a loopback host means the watched PC; -EDESTADDRREQ: it is asked from here. */
static int dial_url(ProbePc *p, const Service *s, HttpLook *look, UrlParts *parts)
{
    static const char local[] = "http://localhost";
    const char *url = s->want.health;
    HttpDial direct;
    PortEntry entry;

    if (p->pc->is_self)
        return -EDESTADDRREQ;
    if (strncasecmp(url, local, sizeof local - 1) == 0 &&
        strchr(":/", url[sizeof local - 1])) { /* also its end */
        snprintf(parts->url, sizeof parts->url, "http://127.0.0.1%s", url + sizeof local - 1);
        url = parts->url;
    }
    if (http_url_dial(url, &direct, parts->host, sizeof parts->host, parts->target,
                      sizeof parts->target) < 0 ||
        !is_loopback(&direct.address, &entry))
        return -EDESTADDRREQ;
    look->host = parts->host;
    look->target = parts->target;
    return p->transport->ops->dial(p->transport, &entry, &look->dial);
}

static int start_request(Probe *p, Service *s, Now now)
{
    ProbePc *way = s->pc->probe;
    HttpLook look = {.timeout_ms = s->want.timeout_ms, .handle = s->handle};
    UrlParts parts;
    int r = -ENOTCONN;

    if (way && s->want.health[0] == '/')
        r = dial_path(way, s, &look, parts.host, sizeof parts.host);
    else if (way)
        r = dial_url(way, s, &look, &parts);
    if (r == -EDESTADDRREQ) {
        look.url = s->want.health;
        r = 0;
    }
    if (r == -EOPNOTSUPP && way && way->transport->ops->health)
        return way->transport->ops->health(way->transport, &look, now, probe_on_http, p);
    return r < 0 ? r : http_health_probe(p->http, &look, now);
}

void probe_start_requests(Probe *p, Now now)
{
    Service *s;
    unsigned started = 0;

    if (now.mono_us < p->burst_us)
        return;
    p->burst_us = 0;
    while (started < BURST && (s = fleet_due(p->fleet, now))) {
        int r = start_request(p, s, now);
        if (r == -EBUSY) {
            fleet_put_back(p->fleet, s, now);
            started = BURST;
        } else if (r < 0) {
            HttpFacts failed = {.outcome = HTTP_ERROR,
                                .latency_us = -1,
                                .started_us = now.mono_us,
                                .at_us = now.mono_us};
            fleet_http(p->fleet, s, &failed, now);
        } else {
            started++;
        }
    }
    if (started == BURST)
        p->burst_us = now.mono_us + BURST_PAUSE_US;
}
