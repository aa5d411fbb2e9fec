/* The daily clean-up.
 *
 * A list of steps, each taken in slices of some ms, so that a batch never waits long for its turn.
 * Checks go by whole day tables, hours and transitions by a bounded DELETE; hours are walked
 * service by service, the order of their primary key, so no index on time is needed for them.
 * There is no VACUUM: freed pages are used again.
 *
 * It believes the clock only when that has not jumped within the last hour: a clock that is a year
 * ahead for a minute must not cost the history. */
#include "api/store-clean.h"

#include <stdbool.h>

#include "api/store-schema.h"
#include "basic/macro.h"

#define CLOCK_JUMP_MS  600000
#define CLOCK_HOLD_US  (3600 * USEC_PER_SEC)
#define SLICE_ROWS     1000
#define SLICE_SERVICES 100

/* What waits stays, and so does what an incident that is still open will need at its end. */
#define FORGET_OUTBOX                                                                         \
    "DELETE FROM outbox WHERE (incident, event, channel) IN (SELECT incident, event, channel" \
    " FROM outbox WHERE created_ts < ?1 AND state <> 'waiting' AND incident NOT IN"           \
    " (SELECT id FROM incident WHERE state = 'open') ORDER BY created_ts LIMIT ?2)"

/* Past 200,000 rows the oldest go too: whoever asks in vain all day must not fill the disk. */
#define FORGET_AUDIT                                                                       \
    "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE ts < max(?1, 1 + COALESCE(" \
    "(SELECT ts FROM audit ORDER BY ts DESC LIMIT 1 OFFSET 200000), 0)) ORDER BY ts LIMIT ?2)"

/* An incident goes after the last of its notices, and never while it is pending or open. */
#define FORGET_INCIDENT                                                 \
    "DELETE FROM incident WHERE id IN (SELECT id FROM incident i WHERE" \
    " closed_ts < ?1 AND state IN ('closed', 'dropped') AND NOT EXISTS" \
    " (SELECT 1 FROM outbox o WHERE o.incident = i.id) ORDER BY closed_ts LIMIT ?2)"

#define FORGET_SILENCE                                        \
    "DELETE FROM silence WHERE id IN (SELECT id FROM silence" \
    " WHERE until_ts < ?1 ORDER BY until_ts LIMIT ?2)"

/* A row is written anew by each daemon that sees its PC. */
#define FORGET_BOOT                                                 \
    "DELETE FROM pc_boot WHERE pc_id IN (SELECT pc_id FROM pc_boot" \
    " WHERE ts < ?1 LIMIT ?2)"

#define FORGET(table)                                          \
    "DELETE FROM " table " WHERE id IN (SELECT id FROM " table \
    " WHERE ts < ?1 ORDER BY ts LIMIT ?2)"

void store_clean_init(StoreClean *c, uint32_t checks_days, uint32_t transitions_days)
{
    *c = (StoreClean){.cleaned_day = INT32_MIN};
    store_clean_keep(c, checks_days, transitions_days);
}

void store_clean_keep(StoreClean *c, uint32_t checks_days, uint32_t transitions_days)
{
    c->checks_days = (int32_t)MIN(MAX(checks_days, 1U), 366U);
    c->transitions_days = (int32_t)MIN(MAX(transitions_days, 1U), 3660U);
    store_clean_restart(c);
}

void store_clean_restart(StoreClean *c)
{
    c->cleaned_day = INT32_MIN;
    c->step = 0;
    c->service = 0;
}

/* Runs one statement with up to three numbers; *ret is its first value (0: no row) or, for one that
 * returns none, how many rows it changed. */
static int run(sqlite3 *db, const char *sql, const int64_t *args, int n_args, int64_t *ret)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value = 0;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    for (int i = 0; i < n_args && rc == SQLITE_OK; i++)
        rc = sqlite3_bind_int64(stmt, i + 1, args[i]);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW)
            value = sqlite3_column_int64(stmt, 0);
        else if (rc == SQLITE_DONE && !sqlite3_stmt_readonly(stmt))
            value = sqlite3_changes(db);
    }
    sqlite3_finalize(stmt);
    if (store_errno(rc) < 0)
        return store_errno(rc);
    *ret = value;
    return 0;
}

static int forget_rows(sqlite3 *db, const char *sql, int64_t before_ms)
{
    int64_t args[] = {before_ms, SLICE_ROWS}, changed = 0;
    int r = run(db, sql, args, ELEMENTS(args), &changed);

    return r < 0 ? r : changed == SLICE_ROWS;
}

/* The hours of up to SLICE_SERVICES services, or fewer when one of them has very many. */
static int forget_hours_of_some(StoreClean *c, sqlite3 *db, int64_t before_hour)
{
    for (int i = 0; i < SLICE_SERVICES; i++) {
        int64_t service = 0, changed = 0;
        int r = run(db, "SELECT id FROM service WHERE id > ?1 ORDER BY id LIMIT 1", &c->service, 1,
                    &service);
        if (r < 0 || service == 0)
            return r;
        int64_t args[] = {service, before_hour, SLICE_ROWS};
        r = run(db,
                "DELETE FROM service_hour WHERE service = ?1 AND hour IN (SELECT hour FROM"
                " service_hour WHERE service = ?1 AND hour < ?2 ORDER BY hour LIMIT ?3)",
                args, ELEMENTS(args), &changed);
        if (r < 0)
            return r;
        if (changed == SLICE_ROWS)
            return 1;
        c->service = service;
    }
    return 1;
}

static int forget_hours(StoreClean *c, sqlite3 *db, int64_t before_hour)
{
    int r = store_errno(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL));

    if (r < 0)
        return r;
    int more = forget_hours_of_some(c, db, before_hour);
    r = more < 0 ? more : store_errno(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL));
    if (r < 0 && !sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return r < 0 ? r : more;
}

/* True when the wall clock has been going evenly for an hour, or since the start. */
static bool trusts_clock(StoreClean *c, Now now)
{
    int64_t offset = now.wall_ms - (int64_t)(now.mono_us / 1000);
    int64_t moved = offset - c->clock_offset_ms;

    if (c->hold_us == 0)
        c->hold_us = 1;
    else if (moved > CLOCK_JUMP_MS || moved < -CLOCK_JUMP_MS)
        c->hold_us = now.mono_us + CLOCK_HOLD_US;
    c->clock_offset_ms = offset;
    return now.mono_us >= c->hold_us;
}

int store_clean_step(StoreClean *c, sqlite3 *db, Now now)
{
    int32_t today = store_day_of(now.wall_ms);
    int64_t before_ms = (int64_t)(today - c->transitions_days) * STORE_DAY_MS;
    int r = 0;

    if (!trusts_clock(c, now) || c->cleaned_day == today)
        return 0;
    switch (c->step) {
    case 0: r = store_days_change(db, today, today + 1, today - c->checks_days); break;
    case 1: r = forget_rows(db, FORGET("service_transition"), before_ms); break;
    case 2: r = forget_rows(db, FORGET("pc_transition"), before_ms); break;
    case 3: r = forget_hours(c, db, before_ms / STORE_HOUR_MS); break;
    case 4: r = forget_rows(db, FORGET_OUTBOX, before_ms); break;
    case 5: r = forget_rows(db, FORGET_AUDIT, before_ms); break;
    case 6: r = forget_rows(db, FORGET_INCIDENT, before_ms); break;
    case 7: r = forget_rows(db, FORGET_SILENCE, before_ms); break;
    case 8: r = forget_rows(db, FORGET_BOOT, before_ms); break;
    default:
        store_clean_restart(c);
        c->cleaned_day = today;
        return 0;
    }
    c->step += r == 0;
    return r < 0 ? r : 1;
}
