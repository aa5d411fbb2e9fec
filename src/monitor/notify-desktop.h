/* Desktop notifications (org.freedesktop.Notifications): a service went down, a service recovered,
 * a PC is cut off.
 *
 * notify_row() and notify_pc() are told of every change and decide; a down that heals within
 * NOTIFY_HOLD_MS is never mentioned. Sending happens on a thread of its own and never blocks the
 * window; without a session bus it is silent. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/protocol.h"

#define NOTIFY_HOLD_MS  3000
#define NOTIFY_HELD_MAX 256 /* downs that wait to be said */
#define NOTIFY_QUEUE    16  /* notices that wait for the bus; more are dropped */
#define NOTIFY_BURST    5   /* more at once are said as one number */

typedef struct Notice {
    char title[192];
    char body[512];
    bool critical;
} Notice;

/* The pure half: what to say, and when. */
typedef struct NoticeHeld {
    char app_id[ID_MAX + 1], pc_id[ID_MAX + 1];
    char sentence[SENTENCE_MAX];
    int64_t due_ms;
    bool down; /* said as down: its recovery is worth a word */
    bool said;
} NoticeHeld;

typedef struct Notices {
    NoticeHeld held[NOTIFY_HELD_MAX];
    int n;
} Notices;

void notices_row(Notices *n, const ServiceRow *before, const ServiceRow *after, int64_t now_ms);
void notices_pc(Notices *n, const PcRow *before, const PcRow *after, int64_t now_ms);
int notices_take(Notices *n, int64_t now_ms,
                 Notice ret[static NOTIFY_BURST]); /* how many are due */
int64_t notices_next(const Notices *n);            /* when one is due; 0: none */

typedef struct NotifyDesktop NotifyDesktop;

int notify_desktop_new(NotifyDesktop **ret);
NotifyDesktop *notify_desktop_free(NotifyDesktop *n);
void notify_desktop_send(
    NotifyDesktop *n, const Notice *notice); /* a copy is queued, or dropped when too many wait */
