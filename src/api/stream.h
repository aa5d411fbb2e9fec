/* The WebSocket clients of GET /api/ws/services: fan-out with a bounded queue per client.
 *
 * A message is framed once and shared by all queues. A client whose queue would pass
 * STREAM_QUEUE_MAX is cut off (close 1008) while the others go on; a frame counts with at most
 * STREAM_FRAME_COST_MAX, so that a large fleet's delta can be delivered at all. Each client gets a
 * ping every 5 s; one that is silent for 30 s is dropped. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/publish.h"
#include "basic/epoll-nest.h"

#define STREAM_QUEUE_MAX      (256U << 10)
#define STREAM_CLIENTS_MAX    16384
#define STREAM_MESSAGE_MAX    (16U << 10) /* incoming */
#define STREAM_FRAME_COST_MAX (64U << 10)
#define STREAM_PING_EVERY_S   5
#define STREAM_SILENCE_US     (30U * 1000000U)
#define STREAM_CLOSING_US     (5U * 1000000U) /* for the closing handshake */

typedef struct Stream Stream;

int stream_new(Nest *nest, Stream **ret);
Stream *stream_free(Stream *s);
void stream_set_publish(Stream *s, Publish *p);
/* Takes an upgraded socket (and closes it in the end): sends hello, then the snapshot or the missed
 * deltas the query asks for
 * ("stream=<16 hex>&since=<seq>"). A snapshot may pass the queue's maximum.
 * by_token: it may be here only because of the token, so it ends with that. */
void stream_accept(Stream *s, int fd, bool by_token, const char *query, const void *extra,
                   size_t extra_len, Now now);
void stream_broadcast(void *stream, uint64_t seq, const char *json,
                      size_t len);    /* a PublishCallback */
void stream_tick(Stream *s, Now now); /* each second: pings, drops */
size_t stream_clients(const Stream *s);
uint64_t stream_cut_off(const Stream *s); /* slow clients dropped so far */
/* Cuts off whoever came by the token: nothing more is told, and within a second the socket is gone.
 */
void stream_end_by_token(Stream *s, const char *reason, Now now);
void stream_close_all(Stream *s, uint16_t code, const char *reason);
