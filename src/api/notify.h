/* Tells people: each incident once when it opens and once when it recovers, by every channel that
 * the config opens, and a heartbeat for a dead man's switch.
 *
 * A notice is a row of the store's outbox, one per channel, written in the same transaction as its
 * incident. It is sent only after the writer has put it on disk, or, when the disk is stuck, after
 * NOTIFY_STUCK_US from memory; under the same key in either case, and again under that key when
 * nobody knows whether it arrived. A server that is down is tried again after 5 s to 5 min, over
 * restarts, for 24 h. */
#pragma once

#include "api/config.h"
#include "api/resolve.h"
#include "api/store.h"
#include "basic/clock.h"
#include "basic/epoll-nest.h"

#define NOTIFY_STUCK_US    (10U * 1000000U)
#define NOTIFY_LIFE_MS     (24 * 3600 * INT64_C(1000))
#define NOTIFY_WAITING_MAX 1000U /* rows over all channels; past it the oldest are given up */

typedef struct Notify Notify;

/* config (until notify_configure()) and store outlive it. lookup: NULL, or a test's. */
int notify_new(Nest *nest, const Config *config, Store *store, ResolveLookup lookup, Now now,
               Notify **ret);
/* Another config from now on; the old one may go. What is under way ends by its own rules; what
 * waits for a channel that is gone is given up. -ENOMEM: nothing is sent any more. */
int notify_configure(Notify *n, const Config *config, Now now);
Notify *notify_free(Notify *n); /* what is under way is cut off; the next daemon sends it again */

/* At the start: the incidents that are open already, then the outbox that an earlier daemon left.
 */
void notify_was_open(Notify *n, int64_t incident, bool held);
void notify_recall(Notify *n, const char *db_path, Now now);

/* An incident is new or changed; call it right before store_add_incident(). While it is held its
 * opening is not queued; once it is not it is, if the incident is still open. A held one does not
 * stop the heartbeat. */
void notify_incident(Notify *n, const StoreIncident *i, Now now);

void notify_tick(Notify *n, Now now); /* each second */
/* libcurl's own timers. */
uint64_t notify_next_us(const Notify *n); /* mono; UINT64_MAX: none */
void notify_run(Notify *n, Now now);

size_t notify_waiting(const Notify *n);
