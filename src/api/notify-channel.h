/* The ways a notice can take: which of them the config opens, and how a row of the outbox becomes a
 * message on each. */
#pragma once

#include <stddef.h>

#include "api/config.h"
#include "api/notify-send.h"
#include "api/store.h"
#include "common/unit.h"

typedef enum NotifyChannel {
    NOTIFY_WEBHOOK,
    NOTIFY_NTFY,
    NOTIFY_MAIL,
    NOTIFY_CHANNEL_MAX,
    NOTIFY_CHANNEL_INVALID = -EINVAL
} NotifyChannel;

DECLARE_STRING_TABLE(NotifyChannel, notify_channel);

/* 1: on; 0: off; -EINVAL: half configured, and *ret_why says what is missing. */
int notify_channel_state(const Config *c, NotifyChannel channel, const char **ret_why);

/* Starts to send one notice, as send_new(). On an error `why` says what is wrong in a few words. */
int notify_channel_send(Sender *sender, const Config *c, NotifyChannel channel,
                        const StoreOutbox *row, Now now, SendDone done, void *userdata, Send **ret,
                        char *why, size_t size);
