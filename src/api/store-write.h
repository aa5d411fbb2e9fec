/* The writing connection: puts a batch on disk in one transaction, checkpoints, and forgets what is
 * past its time. Used by the writer thread alone; it owns no thread and knows no queue. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/store-batch.h"
#include "basic/clock.h"

#define STORE_HANDLES_MAX (1U << 20)

typedef struct StoreWrite StoreWrite;

int store_write_new(const char *path, uint32_t checks_days, uint32_t transitions_days,
                    StoreWrite **ret);
StoreWrite *store_write_free(StoreWrite *w); /* checkpoints and closes */

/* Opens the file if it is not open; see store_file_open() for errors and the note (left as it is
 * when there is nothing to tell). */
int store_write_open(StoreWrite *w, char *note, size_t size);
/* Closes; sets the file aside when it is damaged. The next open begins anew. */
void store_write_close(StoreWrite *w, bool damaged, char *note, size_t size);
/* Closes the file if it no longer lies at its path: the next open finds what is there now. */
void store_write_follow(StoreWrite *w);

typedef struct StoreWritten {
    uint64_t rows;
    uint64_t refused; /* of an unknown handle, or a value that the database cannot hold */
} StoreWritten;

/* All or nothing. Learns the batch's names, also when it fails. -EBADMSG, -ENOTSUP: the file is
 * damaged or no longer has our shape. */
int store_write_batch(StoreWrite *w, const StoreBatch *b, StoreWritten *ret);
const char *store_write_error(const StoreWrite *w); /* SQLite's text for the last error */

/* Copies the log into the file when it has grown enough. */
int store_write_checkpoint(StoreWrite *w);

void store_write_keep(StoreWrite *w, uint32_t checks_days, uint32_t transitions_days);

/* One slice of the daily clean-up (each a short transaction of its own): drops day tables, deletes
 * old transitions and hours, makes tomorrow's table. 1: there is more; 0: done for today. */
int store_write_clean(StoreWrite *w, Now now);
