/* The same facts by commands, where sshd forbids the straight ways.
 *
 * Health requests are gathered for a moment and asked by one curl that runs them side by side, so
 * that a hanging endpoint costs its own timeout once and not that of all behind it. While curl runs
 * the shell is busy: what arrives meanwhile is the next batch. */
#include "api/transport-ssh-private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/ssh-poll.h"

#define GATHER_US     (30U * USEC_PER_MSEC)
#define UNITS_MS      5000
#define UNIT_BYTES    2048 /* of the answer, per unit */
#define HEALTH_BYTES  16384
#define HEALTH_MARGIN 1000 /* ms, for curl's own start */

/* ---- units ---- */

static void on_units(void *userdata, int error, const char *output, size_t len)
{
    SshUnitsPoll *p = userdata;
    size_t n = p->n;
    CLEANUP_FREE UnitFacts *facts = calloc(p->n_asked, sizeof *facts);

    if (!facts)
        error = -ENOMEM;
    else if (error != -ENOTCONN && ssh_units_parse(output, len, p->n_asked, facts) >= 0)
        error = 0; /* systemctl's exit code says nothing about those that it did print */
    else if (error >= 0)
        error = -EBADMSG;
    for (size_t i = 0; error >= 0 && i < n; i++)
        if (p->service_of[i])
            facts[i].triggered_failed = facts[p->service_of[i]].active == ACTIVE_FAILED;
    p->n = 0; /* the callback may ask the next question */
    p->callback(p->userdata, error, facts, error < 0 ? 0 : n);
}

/* A timer's failure is that of the service which has its name, unless its unit file says another:
 * then it is not seen here. */
static void add_services(SshUnitsPoll *p, const char *const *units, Buffer *data)
{
    for (size_t i = 0; i < p->n; i++) {
        const char *dot = strrchr(units[i], '.');
        if (unit_kind_of(units[i]) != KIND_TIMER || !dot)
            continue;
        buffer_printf(data, "%.*s.service\n", (int)(dot - units[i]), units[i]);
        p->service_of[i] = p->n_asked++;
    }
}

int ssh_poll_units(Transport *base, UnitScope scope, const char *const *units, size_t n,
                   TransportUnits callback, void *userdata)
{
    SshTransport *t = ssh_transport(base);
    Buffer data = BUFFER_INIT(SSH_DATA_MAX);

    if (t->phase != SSH_UP)
        return -ENOTCONN;
    if (n == 0 || n > TRANSPORT_UNITS_MAX)
        return -EINVAL;
    SshUnitsPoll *p = &t->polls[scope];
    if (p->n)
        return -EBUSY;
    *p = (SshUnitsPoll){.n = n, .n_asked = n, .callback = callback, .userdata = userdata};
    buffer_printf(&data, "%s\n", unit_scope_to_string(scope));
    for (size_t i = 0; i < n; i++)
        buffer_printf(&data, "%s\n", units[i]);
    add_services(p, units, &data);
    int r = buffer_error(&data);
    if (r >= 0)
        r = ssh_exec(t->shell, SSH_UNITS, buffer_cstr(&data), p->n_asked * UNIT_BYTES, UNITS_MS,
                     on_units, p);
    buffer_done(&data);
    if (r < 0)
        p->n = 0;
    return r;
}

/* ---- health ---- */

static void health_free(SshHealth *h)
{
    free(h->host);
    free(h->target);
    *h = (SshHealth){0};
}

void ssh_health_drop(SshTransport *t)
{
    while (t->n_waiting)
        health_free(&t->waiting[--t->n_waiting]);
    while (t->n_asked)
        health_free(&t->asked[--t->n_asked]);
}

static void on_health(void *userdata, int error UNUSED, const char *output, size_t len)
{
    SshTransport *t = userdata;
    HttpFacts facts[SSH_HEALTH_MAX];
    SshHealth asked[SSH_HEALTH_MAX];
    size_t n = t->n_asked;
    uint64_t now_us = clock_now().mono_us;

    for (size_t i = 0; i < n; i++) {
        asked[i] = t->asked[i];
        facts[i] = (HttpFacts){.outcome = HTTP_ERROR,
                               .latency_us = -1,
                               .started_us = asked[i].started_us,
                               .at_us = now_us};
    }
    t->n_asked = 0;
    if (t->n_waiting)
        t->flush_us = now_us;
    ssh_health_parse(output, len, facts, n); /* curl fails when one of them does: its words count */
    for (size_t i = 0; i < n; i++) {
        asked[i].callback(asked[i].userdata, asked[i].handle, &facts[i]);
        health_free(&asked[i]);
    }
}

void ssh_health_flush(SshTransport *t, uint64_t now_us)
{
    Buffer data = BUFFER_INIT(SSH_DATA_MAX);
    uint32_t longest = 0;

    t->flush_us = 0;
    if (t->n_asked || !t->n_waiting)
        return; /* the batch that is out brings us back here */
    for (unsigned i = 0; i < t->n_waiting; i++) {
        SshHealth *h = &t->asked[i];
        *h = t->waiting[i];
        h->started_us = now_us;
        longest = MAX(longest, h->timeout_ms);
        ssh_health_request(&data, i, h->host, h->target, h->timeout_ms);
    }
    t->n_asked = t->n_waiting;
    t->n_waiting = 0;
    int r = t->phase == SSH_UP && !buffer_error(&data)
                ? ssh_exec(t->shell, SSH_HEALTH, buffer_cstr(&data), HEALTH_BYTES,
                           longest + HEALTH_MARGIN, on_health, t)
                : -ENOTCONN;
    buffer_done(&data);
    if (r < 0)
        on_health(t, r, "", 0);
}

int ssh_poll_health(Transport *base, const HttpLook *look, Now now, HttpCallback callback,
                    void *userdata)
{
    SshTransport *t = ssh_transport(base);

    if (t->phase != SSH_UP)
        return -ENOTCONN;
    if (t->n_waiting == SSH_HEALTH_MAX)
        return -EBUSY;
    SshHealth h = {.handle = look->handle,
                   .timeout_ms = look->timeout_ms,
                   .host = strdup(look->host),
                   .target = strdup(look->target),
                   .callback = callback,
                   .userdata = userdata};
    if (!h.host || !h.target) {
        health_free(&h);
        return -ENOMEM;
    }
    t->waiting[t->n_waiting++] = h;
    if (!t->flush_us && !t->n_asked)
        t->flush_us = now.mono_us + GATHER_US;
    return 0;
}
