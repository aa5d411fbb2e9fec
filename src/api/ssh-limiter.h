/* How often and how many at once we knock at the doors of PCs. Pure: time and chance are arguments.
 *
 * At most SSH_HANDSHAKES handshakes are out at once over all PCs (sshd's MaxStartups drops more on
 * a common jump host), at most SSH_LOGINS attempts per SSH_LOGINS_US and PC, and after a failure
 * the next attempt waits 1, 2, 4, then 8 s, a little less by chance so that many PCs that were lost
 * together do not come back in step. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SSH_HANDSHAKES     8U
#define SSH_LOGINS         10U
#define SSH_LOGINS_US      (60U * 1000000U)
#define SSH_BACKOFF_US     (1U * 1000000U)
#define SSH_BACKOFF_MAX_US (8U * 1000000U)

typedef struct SshLimiter SshLimiter;

/* The pace of one PC; embedded in its transport. Zero is the state before the first attempt. */
typedef struct SshPace {
    uint64_t logins[SSH_LOGINS]; /* mono; ring of the last attempts, 0: none */
    uint32_t next_login;         /* place in the ring */
    uint64_t not_before_us;      /* mono */
    uint64_t backoff_us;         /* 0: the last attempt went well */
    bool holds;                  /* it has one of the handshakes */
    bool waits;                  /* it stands in the queue */
    struct SshPace *next;
} SshPace;

int ssh_limiter_new(SshLimiter **ret);
SshLimiter *ssh_limiter_free(SshLimiter *l); /* no pace may be in it any more */

/* May an attempt begin now? True: it holds a handshake until ssh_limiter_done(). False: ask again
 * at ssh_limiter_next_us(). Whoever waits for a free handshake stands in a queue, those that failed
 * before behind those that did not. */
bool ssh_limiter_take(SshLimiter *l, SshPace *p, uint64_t now_us);
uint64_t ssh_limiter_next_us(const SshLimiter *l, const SshPace *p, uint64_t now_us);
void ssh_limiter_done(SshLimiter *l, SshPace *p);  /* the handshake is over, well or not */
void ssh_limiter_leave(SshLimiter *l, SshPace *p); /* the PC goes away */

void ssh_pace_failed(SshPace *p, uint64_t now_us, uint32_t chance);
void ssh_pace_succeeded(SshPace *p);
