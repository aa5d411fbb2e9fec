/* registry.db: the registry as an SQLite file, which people also edit with the sqlite3 command.
 *
 * Loading trusts nothing: opened read-only with a defensive connection, schema functions off,
 * limits on value length and on work; only ordinary tables with exactly our columns are read; every
 * value passes the column tables. It is read whole in one transaction, checked by quick_check so
 * that a damaged page cannot silently hide rows, and closed.
 *
 * Saving never touches the old file: a new database is written beside it, synced and renamed over
 * it. Side files of the old one (-journal, -wal) are removed before the rename, because SQLite
 * would replay them into the new file. A symbolic link stays one: the file it points to is
 * replaced.
 *
 * This is the only file of the registry that knows SQLite. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "api/paths.h"
#include "api/registry-columns.h"
#include "api/suggest.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"

#define BUSY_MS        500
#define VALUE_MAX      65536  /* bytes of one row */
#define WORK_MAX       100000 /* in units of WORK_STEP virtual machine steps: some seconds at most */
#define WORK_STEP      10000
#define FILE_MAX       ((off_t)1 << 30)
#define SCHEMA_VERSION "1"

static sqlite3 *database_close(sqlite3 *db)
{
    sqlite3_close(db);
    return NULL;
}
DEFINE_CLEANUP(sqlite3, database_close);

static sqlite3_stmt *statement_free(sqlite3_stmt *s)
{
    sqlite3_finalize(s);
    return NULL;
}
DEFINE_CLEANUP(sqlite3_stmt, statement_free);

typedef struct Database {
    const char *path;
    sqlite3 *sql;
    RegistryError *error;
} Database;

static int fail(const Database *db, const char *format, ...) PRINTF(2, 3);
static int fail(const Database *db, const char *format, ...)
{
    char text[sizeof(db->error->text)], line[sizeof(db->error->text)];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    snprintf(line, sizeof(line), "%.200s: %.*s", db->path, (int)sizeof(line) - 204, text);
    text_clean(db->error->text, sizeof(db->error->text), line, strlen(line));
    return -EINVAL;
}

/* What SQLite says, as an errno and a sentence. */
static int fail_sqlite(const Database *db, int code)
{
    switch (code & 0xFF) {
    case SQLITE_NOMEM: fail(db, _("out of memory")); return -ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: fail(db, _("somebody else is writing it")); return -EBUSY;
    case SQLITE_NOTADB:
        return fail(
            db, _("it is not an SQLite database, make one with: services_api import FILE.yaml"));
    case SQLITE_CORRUPT:
        return fail(db, _("the database file is damaged (%s)"), sqlite3_errmsg(db->sql));
    case SQLITE_INTERRUPT: return fail(db, _("reading it takes too long, it is not a registry"));
    default: return fail(db, "%s", sqlite3_errmsg(db->sql));
    }
}

static int count_work(void *userdata)
{
    int *work = userdata;

    return ++*work > WORK_MAX;
}

/* SQLite takes "file:..." and "" for something else than a path. */
static int open_database(Database *db, const char *path, int flags)
{
    char plain[PATH_MAX];

    if (snprintf(plain, sizeof(plain), "%s%s", *path == '/' ? "" : "./", path) >=
        (int)sizeof(plain))
        return fail(db, _("the path is too long"));
    int code =
        sqlite3_open_v2(plain, &db->sql, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (code != SQLITE_OK)
        return fail_sqlite(db, code);
    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_limit(db->sql, SQLITE_LIMIT_LENGTH, VALUE_MAX);
    sqlite3_limit(db->sql, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_busy_timeout(db->sql, BUSY_MS);
    return 0;
}

static int prepare(const Database *db, const char *sql, sqlite3_stmt **ret)
{
    int code = sqlite3_prepare_v2(db->sql, sql, -1, ret, NULL);

    return code == SQLITE_OK ? 0 : fail_sqlite(db, code);
}

static int execute(const Database *db, const char *sql)
{
    int code = sqlite3_exec(db->sql, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : fail_sqlite(db, code);
}

/* The columns' names, separated by commas. */
static void column_list(const RegistryTable *t, char *dst, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n_columns && n < size; i++)
        n += (size_t)snprintf(dst + n, size - n, "%s%s", i ? ", " : "", t->columns[i].name);
}

/* Loading */

static const RegistryColumn *find_column(const RegistryTable *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (strcasecmp(t->columns[i].name, name) == 0)
            return &t->columns[i];
    return NULL;
}

static int unknown_column(const Database *db, const RegistryTable *t, const char *name)
{
    Suggestion suggestion = SUGGESTION_INIT(name);
    char why[160];

    for (size_t i = 0; i < t->n_columns; i++)
        suggest_try(&suggestion, t->columns[i].name);
    snprintf(why, sizeof(why), _("the column %.64s is not known"), name);
    suggest_append(&suggestion, why, sizeof(why));
    return fail(db, _("table %s: %s"), t->name, why);
}

static int check_table(const Database *db, const RegistryTable *t)
{
    CLEANUP(statement_freep) sqlite3_stmt *kind = NULL, *columns = NULL;
    size_t found = 0;
    int code;

    int r = prepare(db, "SELECT type FROM pragma_table_list WHERE schema = 'main' AND name = ?1",
                    &kind);
    if (r == 0)
        r = prepare(db, "SELECT name FROM pragma_table_xinfo(?1)", &columns);
    if (r < 0)
        return r;
    sqlite3_bind_text(kind, 1, t->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(columns, 1, t->name, -1, SQLITE_STATIC);
    code = sqlite3_step(kind);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return fail_sqlite(db, code);
    if (code == SQLITE_DONE)
        return fail(db, _("it has no table %s, this is not a registry"), t->name);
    if (strcmp((const char *)sqlite3_column_text(kind, 0), "table") != 0)
        return fail(db, _("%s is not an ordinary table"), t->name);
    while ((code = sqlite3_step(columns)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(columns, 0);
        if (!name)
            return -ENOMEM;
        if (!find_column(t, name))
            return unknown_column(db, t, name);
        found++;
    }
    if (code != SQLITE_DONE)
        return fail_sqlite(db, code);
    char list[256];
    column_list(t, list, sizeof(list));
    return found == t->n_columns
               ? 0
               : fail(db, _("table %s lacks a column, it must have %s"), t->name, list);
}

/* Row numbers count from 1 in the order of the table; the id says it better, where there is one. */
static int fail_row(const Database *db, const RegistryTable *t, uint32_t place, const char *id,
                    const RegistryColumn *c, const char *why)
{
    char clean[ID_MAX + 1], shown[ID_MAX + 16] = "";

    if (id) {
        text_clean(clean, sizeof(clean), id, strlen(id));
        snprintf(shown, sizeof(shown), " (%s)", clean);
    }
    return fail(db, _("table %s, row %u%s, column %s: %s"), t->name, place + 1, shown,
                c ? c->name : "?", why);
}

static int wrong_type(const RegistryColumn *c, int type, char *why)
{
    static const char *const names[] = {[SQLITE_INTEGER] = N_("a number"),
                                        [SQLITE_FLOAT] = N_("a number with a point"),
                                        [SQLITE_TEXT] = N_("text"),
                                        [SQLITE_BLOB] = N_("a blob")};
    char found[48];

    snprintf(found, sizeof(found), "%s", i18n_text(names[type]));
    registry_why(c, found, why);
    return -EINVAL;
}

static int read_value(const RegistryColumn *c, sqlite3_stmt *s, int i, void *row, char *why)
{
    int type = sqlite3_column_type(s, i);

    if (type == SQLITE_NULL)
        return 0;
    if (registry_column_is_number(c)) {
        if (type != SQLITE_INTEGER)
            return wrong_type(c, type, why);
        return registry_set_number(c, row, sqlite3_column_int64(s, i), why);
    }
    if (type != SQLITE_TEXT)
        return wrong_type(c, type, why);
    const char *text = (const char *)sqlite3_column_text(s, i);
    if (!text)
        return -ENOMEM;
    return registry_set_text(c, row, text, (size_t)sqlite3_column_bytes(s, i), why);
}

static int read_row(const Database *db, const RegistryTable *t, sqlite3_stmt *s, Registry *r)
{
    char why[REGISTRY_WHY_MAX];
    void *row;
    int e = registry_append(t, r, &row);

    if (e == -E2BIG)
        return fail(db, _("table %s has more than %zu rows"), t->name, t->max);
    if (e < 0)
        return e;
    for (size_t i = 0; i < t->n_columns; i++) {
        e = read_value(&t->columns[i], s, (int)i, row, why);
        if (e == -EINVAL)
            return fail_row(db, t, registry_place(t, row), registry_get_text(&t->columns[0], row),
                            &t->columns[i], why);
        if (e < 0)
            return e;
    }
    return 0;
}

static int read_table(const Database *db, const RegistryTable *t, Registry *r)
{
    CLEANUP(statement_freep) sqlite3_stmt *s = NULL;
    char list[256], sql[320];
    int code;

    int e = check_table(db, t);
    if (e < 0)
        return e;
    column_list(t, list, sizeof(list));
    snprintf(sql, sizeof(sql), "SELECT %s FROM main.%s", list, t->name);
    e = prepare(db, sql, &s);
    if (e < 0)
        return e;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        e = read_row(db, t, s, r);
        if (e < 0)
            return e;
    }
    return code == SQLITE_DONE ? 0 : fail_sqlite(db, code);
}

/* The id of the faulty row: rows are sorted by now, so it is searched by place. */
static int fail_fault(const Database *db, const Registry *r, const RegistryFault *f)
{
    for (size_t i = 0; i < registry_count(f->table, r); i++) {
        const void *row = registry_row(f->table, r, i);
        if (registry_place(f->table, row) == f->place)
            return fail_row(db, f->table, f->place, registry_get_text(&f->table->columns[0], row),
                            f->column, f->why);
    }
    return fail(db, _("table %s: %s"), f->table->name, f->why);
}

static int check_pages(const Database *db)
{
    CLEANUP(statement_freep) sqlite3_stmt *s = NULL;
    int r = prepare(db, "PRAGMA main.quick_check(1)", &s);

    if (r < 0)
        return r;
    int code = sqlite3_step(s);
    if (code != SQLITE_ROW)
        return fail_sqlite(db, code);
    const char *verdict = (const char *)sqlite3_column_text(s, 0);
    if (!verdict)
        return -ENOMEM;
    return strcmp(verdict, "ok") == 0
               ? 0
               : fail(db, _("the database file is damaged (%.128s)"), verdict);
}

static int read_all(const Database *db, Registry *r)
{
    RegistryFault f;
    int e = execute(db, "BEGIN");

    for (size_t t = 0; e == 0 && t < TABLE_MAX; t++)
        e = read_table(db, &registry_tables[t], r);
    if (e == 0 && registry_find_fault(r, &f) < 0)
        e = fail_fault(db, r, &f);
    if (e == 0)
        e = check_pages(db);
    return e;
}

static int check_file(const Database *db)
{
    struct stat st;

    if (stat(db->path, &st) < 0) {
        int e = -errno;
        fail(db, "%s", strerror(errno));
        return e == -ENOENT || e == -ENOMEM ? e : -EINVAL;
    }
    if (!S_ISREG(st.st_mode))
        return fail(db, _("it is not a file"));
    return st.st_size <= FILE_MAX ? 0 : fail(db, _("it is far too large for a registry"));
}

int registry_load(const char *path, Registry **ret, RegistryError *error)
{
    CLEANUP(registry_freep) Registry *r = calloc(1, sizeof(*r));
    Database db = {.path = path, .error = error};
    int work = 0;

    if (!r)
        return -ENOMEM;
    int e = check_file(&db);
    if (e < 0)
        return e;
    e = open_database(&db, path, SQLITE_OPEN_READONLY);
    CLEANUP(database_closep) sqlite3 *closed = db.sql;
    if (e < 0)
        return e;
    sqlite3_progress_handler(db.sql, WORK_STEP, count_work, &work);
    e = read_all(&db, r);
    if (e < 0)
        return e;
    *ret = TAKE_PTR(r);
    return 0;
}

/* Saving */

static const char schema[] =
    "PRAGMA journal_mode = MEMORY;"
    "PRAGMA synchronous = OFF;" /* the whole file is synced before the rename */
    "PRAGMA user_version = " SCHEMA_VERSION ";"
    "BEGIN;"
    "CREATE TABLE pcs("
    "  pc_id TEXT PRIMARY KEY NOT NULL,"
    "  ssh_host TEXT,"
    "  pc_is_self INTEGER NOT NULL DEFAULT 0 CHECK(pc_is_self IN (0, 1)),"
    "  may_sleep INTEGER NOT NULL DEFAULT 0 CHECK(may_sleep IN (0, 1)),"
    "  note TEXT) STRICT;"
    "CREATE TABLE apps("
    "  app_id TEXT PRIMARY KEY NOT NULL,"
    "  title TEXT,"
    "  tag TEXT,"
    "  unit TEXT,"
    "  unit_scope TEXT NOT NULL DEFAULT 'user' CHECK(unit_scope IN ('user', 'system')),"
    "  port INTEGER CHECK(port BETWEEN 1 AND 65535),"
    "  health_endpoint TEXT,"
    "  health_timeout_ms INTEGER CHECK(health_timeout_ms BETWEEN 100 AND 3599500),"
    "  is_local_only INTEGER NOT NULL DEFAULT 0 CHECK(is_local_only IN (0, 1)),"
    "  note TEXT) STRICT;"
    "CREATE TABLE service_targets("
    "  app_id TEXT NOT NULL REFERENCES apps(app_id),"
    "  pc_id TEXT NOT NULL REFERENCES pcs(pc_id),"
    "  expected TEXT NOT NULL DEFAULT 'running' CHECK(expected IN ('running', 'stopped')),"
    "  unit TEXT,"
    "  port INTEGER CHECK(port BETWEEN 1 AND 65535),"
    "  health_endpoint TEXT,"
    "  health_timeout_ms INTEGER CHECK(health_timeout_ms BETWEEN 100 AND 3599500),"
    "  PRIMARY KEY(app_id, pc_id)) STRICT;";

static void bind_value(sqlite3_stmt *s, int i, const RegistryColumn *c, const void *row)
{
    if (!registry_column_is_number(c)) {
        const char *text = registry_get_text(c, row);
        sqlite3_bind_text(s, i, text, -1, SQLITE_STATIC); /* NULL binds NULL */
        return;
    }
    int64_t number = registry_get_number(c, row);
    if (number == 0 && c->kind != COLUMN_BOOL)
        sqlite3_bind_null(s, i);
    else
        sqlite3_bind_int64(s, i, number);
}

static int write_table(const Database *db, const RegistryTable *t, const Registry *r)
{
    CLEANUP(statement_freep) sqlite3_stmt *s = NULL;
    char list[256], sql[400];

    column_list(t, list, sizeof(list));
    int n = snprintf(sql, sizeof(sql), "INSERT INTO %s(%s) VALUES(", t->name, list);
    for (size_t i = 0; i < t->n_columns; i++)
        n += snprintf(sql + n, sizeof(sql) - (size_t)n, i ? ", ?" : "?");
    snprintf(sql + n, sizeof(sql) - (size_t)n, ")");
    int e = prepare(db, sql, &s);
    for (size_t k = 0; e == 0 && k < registry_count(t, r); k++) {
        for (size_t i = 0; i < t->n_columns; i++)
            bind_value(s, (int)i + 1, &t->columns[i], registry_row(t, r, k));
        int code = sqlite3_step(s);
        e = code == SQLITE_DONE ? 0 : fail_sqlite(db, code);
        sqlite3_reset(s);
    }
    return e;
}

static int write_all(Database *db, const char *path, const Registry *r)
{
    int e = open_database(db, path, SQLITE_OPEN_READWRITE);
    CLEANUP(database_closep) sqlite3 *closed = db->sql;

    if (e == 0)
        e = execute(db, schema);
    for (size_t t = 0; e == 0 && t < TABLE_MAX; t++)
        e = write_table(db, &registry_tables[t], r);
    return e == 0 ? execute(db, "COMMIT") : e;
}

static int fail_errno(const Database *db, const char *doing)
{
    int e = -errno;

    fail(db, "%s: %s", doing, strerror(-e));
    return e;
}

static int sync_path(const char *path, int flags)
{
    CLEANUP_CLOSE int fd = open(path, flags | O_RDONLY | O_CLOEXEC);

    return fd >= 0 && fsync(fd) == 0 ? 0 : -1;
}

static void remove_side_files(const char *path)
{
    static const char *const suffixes[] = {"-journal", "-wal", "-shm"};
    char side[PATH_MAX + 16];

    for (size_t i = 0; i < ELEMENTS(suffixes); i++) {
        snprintf(side, sizeof(side), "%s%s", path, suffixes[i]);
        unlink(side);
    }
}

static int replace(const Database *db, const char *temporary, const char *path)
{
    char directory[PATH_MAX];

    if (sync_path(temporary, 0) < 0)
        return fail_errno(db, _("cannot write it to the disk"));
    remove_side_files(path);
    if (rename(temporary, path) < 0)
        return fail_errno(db, _("cannot replace it"));
    text_copy(directory, sizeof(directory), path);
    char *slash = strrchr(directory, '/');
    if (slash)
        slash[slash == directory] = '\0';
    sync_path(slash ? directory : ".", O_DIRECTORY); /* best effort: the rename is done */
    return 0;
}

int registry_save(const char *path, const Registry *r, RegistryError *error)
{
    Database db = {.path = path, .error = error};
    CLEANUP_FREE char *resolved = realpath(path, NULL);
    const char *target = resolved ? resolved : path;
    char temporary[PATH_MAX];
    struct stat st;

    if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", target) >= (int)sizeof(temporary))
        return fail(&db, _("the path is too long"));
    if (stat(target, &st) == 0 && !S_ISREG(st.st_mode))
        return fail(&db, _("it is not a file"));
    int e = paths_make_parents(target);
    if (e < 0) {
        errno = -e;
        return fail_errno(&db, _("cannot make its directory"));
    }
    CLEANUP_CLOSE int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
    if (fd < 0)
        return fail_errno(&db, _("cannot write beside it"));
    e = write_all(&db, temporary, r);
    if (e == 0)
        e = replace(&db, temporary, target);
    if (e < 0)
        unlink(temporary);
    return e;
}
