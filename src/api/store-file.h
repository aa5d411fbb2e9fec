/* The database file: finds out whether it is ours and sound, sets it aside when it is not, and
 * holds the lock that keeps a second daemon out. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#define STORE_ASIDE_MAX 5 /* NAME.damaged-* files that are kept; the oldest go */

typedef struct StoreFile {
    char *path;
    sqlite3 *db; /* NULL while closed */
    int lock_fd; /* holds flock(2) on the file; -1 while closed */
    dev_t dev;
    ino_t ino;
} StoreFile;

#define STORE_FILE_INIT ((StoreFile){.lock_fd = -1})

/* Opens f->path for writing, creating it (0600) and its folders (0700) where they are missing,
 * migrated to the present schema. A damaged or foreign file is set aside and a new one begun; note
 * then gets one sentence. On an error f stays closed and note says why:
 * -EUCLEAN: it was written by a newer version and is left alone. -EBUSY: another daemon has it.
 * -EACCES, -EROFS, -ENOTDIR, ...: it cannot be opened there. -ENOSPC, -EIO: may pass, try again. */
int store_file_open(StoreFile *f, char *note, size_t size);

/* checkpoint false: leaves the write-ahead log as it is (for a file that is about to be set aside).
 */
void store_file_close(StoreFile *f, bool checkpoint);

/* Closes a file that no longer lies at the path; whoever has it now has it whole. */
void store_file_leave(StoreFile *f);

/* Renames the (closed) file and its -wal, -shm and -journal to NAME.damaged-YYYYMMDD-HHMMSS. */
int store_file_set_aside(const char *path, const char *why, char *note, size_t size);

bool store_file_is_current(const StoreFile *f); /* false: path is gone or names another file now */
