/* What the tests of the store's files share: a scratch folder, and questions to a database. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/macro.h"

typedef struct Scratch {
    char folder[64];
    char path[96]; /* of the database */
} Scratch;

static inline int scratch_remove_one(const char *path, const struct stat *st UNUSED,
                                     int type UNUSED, struct FTW *ftw UNUSED)
{
    return remove(path);
}

static inline int scratch_setup(void **state)
{
    Scratch *s = calloc(1, sizeof *s);

    if (!s)
        return -1;
    /* in memory where there is such a folder: a kill -9 needs no disk, and fsync takes its time */
    snprintf(s->folder, sizeof s->folder, "%s/test-store-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(s->folder)) {
        free(s);
        return -1;
    }
    snprintf(s->path, sizeof s->path, "%s/services_api.db", s->folder);
    *state = s;
    return 0;
}

static inline int scratch_teardown(void **state)
{
    Scratch *s = *state;

    nftw(s->folder, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(s);
    return 0;
}

static inline sqlite3 *db_open(const char *path)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    return db;
}

static inline void db_exec(sqlite3 *db, const char *sql)
{
    char *error = NULL;

    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %s", sql, error);
}

/* The first value as text; "NULL" and "none" say what they are. */
static inline const char *db_text(sqlite3 *db, const char *sql)
{
    static char text[4096];
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    int rc = sqlite3_step(stmt);
    const char *value = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    snprintf(text, sizeof text, "%s", value ? value : rc == SQLITE_ROW ? "NULL" : "none");
    sqlite3_finalize(stmt);
    return text;
}

/* The same of a file, opened for this question alone. */
static inline const char *file_text(const char *path, const char *sql)
{
    sqlite3 *db = db_open(path);
    const char *text = db_text(db, sql);

    sqlite3_close(db);
    return text;
}

static inline int64_t file_int(const char *path, const char *sql)
{
    return strtoll(file_text(path, sql), NULL, 10);
}

static inline void write_file(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

/* How many files in the folder have this in their name. */
static inline size_t count_files(const char *folder, const char *part)
{
    DIR *d = opendir(folder);
    size_t n = 0;

    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));)
        n += strstr(e->d_name, part) != NULL;
    closedir(d);
    return n;
}
