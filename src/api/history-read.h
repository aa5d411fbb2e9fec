/* The reading connection of history: one question in, JSON out. Used by the reader thread alone. */
#pragma once

#include "api/history.h"
#include "basic/buffer.h"

typedef struct HistoryRead HistoryRead;

/* stop: asked between some thousand steps of SQLite; true ends the question with -ETIMEDOUT. */
int history_read_new(const char *path, bool (*stop)(void *userdata), void *userdata,
                     HistoryRead **ret);
HistoryRead *history_read_free(HistoryRead *h);

/* Appends the answer to out. */
int history_read(HistoryRead *h, const HistoryQuestion *q, Buffer *out);
