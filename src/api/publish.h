/* From changes to messages: the gap-free sequence, the ring of past deltas, the cached bodies.
 *
 * Publish reads the fleet and builds JSON; it knows no socket. Whoever subscribes gets every
 * finished message once (the WebSocket fan-out, the simulation's checker). One delta holds all that
 * changed since the last one. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "api/fleet.h"
#include "basic/buffer.h"

#define PUBLISH_RING_MESSAGES 4096
#define PUBLISH_RING_BYTES    (8U << 20)

typedef struct Publish Publish;

typedef void (*PublishCallback)(void *userdata, uint64_t seq, const char *json, size_t len);

int publish_new(Fleet *fleet, const char *features_json, PublishCallback callback, void *userdata,
                Publish **ret);
Publish *publish_free(Publish *p);

const char *publish_stream(const Publish *p); /* 16 hex digits, new for every daemon start */
uint64_t publish_seq(const Publish *p);       /* of the last delta; 0 before the first */

/* Collected until the next flush. row->evidence is copied. */
void publish_transition(Publish *p, const TransitionRow *row);
void publish_removed(Publish *p, const char *app_id,
                     const char *pc_id);                      /* app_id NULL: the PC itself */
void publish_alert(Publish *p, const char *json, size_t len); /* one alert object, ready-made */

/* The features in force from now on: every hello has them, and the next delta tells those who are
 * connected. -ENOMEM: as before. */
int publish_features(Publish *p, const char *features_json);

/* Who writes the members of a snapshot's alerts array; NULL: it stays empty. */
void publish_set_alerts(Publish *p, void (*write)(void *userdata, Buffer *out), void *userdata);

/* Sends one delta if anything changed or was checked; clears the fleet's dirty and checked marks.
 */
void publish_flush(Publish *p, Now now);

void publish_hello(Publish *p, Buffer *out);
void publish_snapshot(Publish *p, Now now, Buffer *out);
/* The deltas after `since`, oldest first, through the callback. -ESTALE: not in the ring (or
 * another stream): send a snapshot instead. */
int publish_replay(Publish *p, const char *stream, uint64_t since, PublishCallback callback,
                   void *userdata);

/* The body of GET /api/services and of GET /api/pcs, cached per state version. Borrowed until the
 * next call. */
const char *publish_services(Publish *p, size_t *ret_len);
const char *publish_pcs(Publish *p, size_t *ret_len);
