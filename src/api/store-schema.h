/* The shape of services_api.db: numbered migrations, the day tables, and the view over them that
 * people query.
 *
 * Shared by the store's own files and by history; nobody else sees SQLite's types. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/unit.h"

#define STORE_APPLICATION_ID 0x73766D6E /* "svmn": how a foreign SQLite file is recognised */
#define STORE_DAY_MS         INT64_C(86400000)
#define STORE_HOUR_MS        INT64_C(3600000)
#define STORE_DAYS_MAX       400 /* day tables; SQLite joins at most 500 in a view */
#define STORE_TS_MAX         INT64_C(253402300799999) /* the end of the year 9999 */

#define STORE_DAY_TABLE_SIZE sizeof("service_check_YYYYMMDD")

typedef struct StoreMigration {
    int version; /* user_version afterwards; the table counts up from 1 without a gap */
    const char *sql;
} StoreMigration;

extern const StoreMigration store_migrations[];
extern const size_t store_n_migrations;

int store_errno(int rc); /* SQLite's result code as negative errno; -EBADMSG: a damaged file */

/* One value of one row; `otherwise` when there is no row. */
int store_query_int(sqlite3 *db, const char *sql, int64_t otherwise, int64_t *ret);

/* Brings the file up to the newest version in the table, each step in one transaction together with
 * its user_version: killed at any moment it is the old or the new one. -EUCLEAN: it is newer. */
int store_schema_migrate(sqlite3 *db, const StoreMigration *table, size_t n);

/* What a check's row packs into one integer of at most two bytes. */
uint16_t store_facts_pack(ActiveState state, int8_t port_listening, int32_t http_status);

int32_t store_day_of(int64_t ts_ms); /* days since 1970, UTC */
const char *store_day_table(int32_t day, char ret[static STORE_DAY_TABLE_SIZE]);

/* Days with a table, ascending. At most STORE_DAYS_MAX are reported. */
int store_days_list(sqlite3 *db, int32_t ret[static STORE_DAYS_MAX], size_t *ret_n);

/* Makes the tables of the days `from` to `to` where they are missing (none when to < from), drops
 * those before `keep_from` and those past STORE_DAYS_MAX (the oldest first), and makes the view
 * anew, all at once. Inside a transaction it is part of it. Without a change nothing is written. */
int store_days_change(sqlite3 *db, int32_t from, int32_t to, int32_t keep_from);
