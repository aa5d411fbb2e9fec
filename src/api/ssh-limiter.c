/* See ssh-limiter.h. The queue is a list through the paces themselves; it is asked, it never calls:
 * each waiting transport asks again with its own tick, and only the first in the queue is let in.
 * With hundreds of PCs of which many are dead, the dead ones would otherwise hold all handshakes
 * for their five seconds of timeout again and again while a healthy PC waits. */
#include "api/ssh-limiter.h"

#include <errno.h>

#include "basic/macro.h"

#define QUEUE_POLL_US (50U * USEC_PER_MSEC)

struct SshLimiter {
    unsigned n_out;
    SshPace *queue;
};

int ssh_limiter_new(SshLimiter **ret)
{
    SshLimiter *l = calloc(1, sizeof *l);

    if (!l)
        return -ENOMEM;
    *ret = l;
    return 0;
}

SshLimiter *ssh_limiter_free(SshLimiter *l)
{
    free(l);
    return NULL;
}

static void queue_add(SshLimiter *l, SshPace *p)
{
    SshPace **at = &l->queue;

    if (p->waits)
        return;
    while (*at && (p->backoff_us || !(*at)->backoff_us))
        at = &(*at)->next;
    p->next = *at;
    *at = p;
    p->waits = true;
}

static void queue_remove(SshLimiter *l, SshPace *p)
{
    SshPace **at = &l->queue;

    if (!p->waits)
        return;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    p->next = NULL;
    p->waits = false;
}

/* When the PC's own pace allows the next attempt. */
static uint64_t pace_ready_us(const SshPace *p)
{
    uint64_t oldest = p->logins[p->next_login];

    return MAX(p->not_before_us, oldest ? oldest + SSH_LOGINS_US : 0);
}

bool ssh_limiter_take(SshLimiter *l, SshPace *p, uint64_t now_us)
{
    if (p->holds)
        return true;
    if (now_us < pace_ready_us(p))
        return false;
    queue_add(l, p);
    if (l->n_out >= SSH_HANDSHAKES || l->queue != p)
        return false;
    queue_remove(l, p);
    l->n_out++;
    p->holds = true;
    p->logins[p->next_login] = MAX(now_us, UINT64_C(1));
    p->next_login = (p->next_login + 1) % SSH_LOGINS;
    return true;
}

uint64_t ssh_limiter_next_us(const SshLimiter *l, const SshPace *p, uint64_t now_us)
{
    uint64_t ready = pace_ready_us(p);

    if (ready > now_us || (l->n_out < SSH_HANDSHAKES && (!l->queue || l->queue == p)))
        return ready;
    return now_us + QUEUE_POLL_US;
}

void ssh_limiter_done(SshLimiter *l, SshPace *p)
{
    if (p->holds)
        l->n_out--;
    p->holds = false;
}

void ssh_limiter_leave(SshLimiter *l, SshPace *p)
{
    ssh_limiter_done(l, p);
    queue_remove(l, p);
}

void ssh_pace_failed(SshPace *p, uint64_t now_us, uint32_t chance)
{
    p->backoff_us = p->backoff_us ? MIN(p->backoff_us * 2, SSH_BACKOFF_MAX_US) : SSH_BACKOFF_US;
    p->not_before_us = now_us + p->backoff_us - p->backoff_us / 4 * (chance % 1024) / 1023;
}

void ssh_pace_succeeded(SshPace *p)
{
    p->backoff_us = 0;
    p->not_before_us = 0;
}
