/* What brings the world to the model: the stream of the client, requests on a worker thread, and
 * the hand-over.
 *
 * The frame thread only asks (feed_want_*) and takes (feed_take); it never waits for the network.
 * `wake` is called from other threads whenever there is something to take. */
#pragma once

#include "monitor/change.h"

#define FEED_PENDING_MAX \
    1024 /* changes that wait for the frame thread; the stream waits beyond that */
#define FEED_JOBS_MAX 32

typedef struct Feed Feed;

typedef void (*FeedWake)(void *userdata);

int feed_new(const char *base_url, FeedWake wake, void *userdata, Feed **ret);
/* Whence the token for each action; without this, or with NULL, that of client_request(). `token`
 * is called on the worker's thread, may block, and returns 0 or a negative errno and a sentence.
 * Call it before the first feed_want_action(). */
typedef int (*FeedToken)(void *userdata, char ret[static CLIENT_TOKEN_BYTES], char *error,
                         size_t size);
void feed_token_from(Feed *f, FeedToken token, void *userdata);
Feed *feed_free(Feed *f);   /* joins its threads */
Change *feed_take(Feed *f); /* all that waits, oldest first, linked by next; NULL: nothing */
bool feed_is_busy(Feed *f); /* a request is under way */

/* Each returns 0, -EBUSY when too many wait already, or -ENOMEM. A detail that waits already is not
 * asked for twice. */
int feed_want_detail(Feed *f, const char *app_id, const char *pc_id);
int feed_want_history(Feed *f);
int feed_want_check(Feed *f, const char *app_id, const char *pc_id);
int feed_want_action(Feed *f, const char *app_id, const char *pc_id,
                     const char *action); /* "start", "stop", "restart" */

/* Alerts left alone. kind: "silence" or "maintenance"; "" as an id: all of them. The list of
 * silences is asked for again behind each change of it. */
int feed_want_ack(Feed *f, const char *alert_id, const char *comment);
int feed_want_silence(Feed *f, const char *kind, const Pair *pair, uint32_t for_s,
                      const char *comment);
int feed_want_unsilence(Feed *f, int64_t id);
int feed_want_silences(Feed *f);

static inline void feed_freep(Feed **f)
{
    if (*f)
        *f = feed_free(*f);
}
