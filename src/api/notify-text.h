/* What a notice says, on each channel: pure, the time is in the notice. */
#pragma once

#include <stdint.h>

#include "api/store.h"
#include "basic/buffer.h"

#define NOTIFY_KEY_SIZE    48
#define NOTIFY_LINE_MAX    512
#define NOTIFY_PAYLOAD_MAX (16U << 10)

#define NOTIFY_RETRY_MIN_S 5U
#define NOTIFY_RETRY_MAX_S 300U

/* "<incident id>-<event>": the same however often, and by whichever daemon, it is sent. */
const char *notify_key(const StoreOutbox *o, char ret[static NOTIFY_KEY_SIZE]);

/* One line without an end: "web on alpha is down". */
void notify_title(Buffer *b, const StoreOutbox *o);
/* Some lines, each with \n: the sentence, since when, the incident's number. */
void notify_body(Buffer *b, const StoreOutbox *o);

/* The object that a webhook gets. */
void notify_webhook_json(Buffer *b, const StoreOutbox *o);

/* ntfy's words for it. */
const char *notify_ntfy_priority(const StoreOutbox *o);
const char *notify_ntfy_tags(const StoreOutbox *o);

/* The value of a header: printable ASCII as it is, anything else as words of RFC 2047, whose lines
 * are parted by `fold`. No line end of the text ever gets through. */
void notify_header_value(Buffer *b, const char *text, const char *fold);

/* A whole message (RFC 5322), lines with \r\n. from and to are plain addresses. */
void notify_mail(Buffer *b, const StoreOutbox *o, const char *from, const char *to);

/* How long to wait after so many failures in a row (1: the first): 5 s, doubled up to 5 min. */
uint32_t notify_backoff_s(unsigned failures);
