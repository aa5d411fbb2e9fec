/* The database file.
 *
 * Whatever lies at the path is hostile until judged: it may be a text, a folder, another program's
 * database, truncated, or with bytes turned over. What is not ours or not sound is renamed, never
 * deleted and never written to, and a new file takes its place: history is worth less than the
 * monitor being up. Only a file of a newer version is refused: it is somebody's good data.
 *
 * Judging must be quick (up within 5 s, whatever the size). Always: application_id, version, and
 * that every object of the schema can be prepared. quick_check reads every page, so it runs when
 * the file is small or when a write-ahead log was left behind, the sign of an unclean end, and is
 * cut short after CHECK_LIMIT_US. Damage that this misses surfaces as SQLITE_CORRUPT when the
 * writer touches it, and is set aside then.
 *
 * Two connections that write or checkpoint at once can corrupt a write-ahead log (a known defect of
 * the SQLite we build on), so one daemon per file: flock(2) on the file itself, which follows a
 * rename and ends with the process. The descriptor outlives the connection, because closing any
 * descriptor of a file drops the fcntl locks that SQLite holds on it. */
#include "api/store-file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "api/store-schema.h"
#include "basic/clock.h"
#include "basic/macro.h"
#include "common/unit.h"

#define CHECK_SIZE_MAX (32 << 20) /* bytes; larger files are checked only after an unclean end */
#define CHECK_LIMIT_US (2 * USEC_PER_SEC)
#define BUSY_MS        2000

static const char *const companions[] = {"-wal", "-shm", "-journal"};

/* Makes the folders above path. */
static int make_folders(const char *path)
{
    CLEANUP_FREE char *copy = strdup(path);

    if (!copy)
        return -ENOMEM;
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0700) < 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
            return -errno;
        *slash = '/';
    }
    return 0;
}

static int lock_once(StoreFile *f)
{
    struct stat at_fd, at_path;
    CLEANUP_CLOSE int fd =
        open(f->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);

    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    if (fstat(fd, &at_fd) < 0)
        return -errno;
    if (stat(f->path, &at_path) < 0 || at_path.st_ino != at_fd.st_ino ||
        at_path.st_dev != at_fd.st_dev)
        return -EAGAIN; /* renamed between open and lock */
    f->dev = at_fd.st_dev;
    f->ino = at_fd.st_ino;
    f->lock_fd = TAKE_FD(fd);
    return 0;
}

/* A file of our own that lost its write permission gets it back; that loses nobody's data. */
static int lock_file(StoreFile *f)
{
    int r = -EAGAIN;

    for (int i = 0; i < 5 && r == -EAGAIN; i++)
        r = lock_once(f);
    if (r == -EACCES && chmod(f->path, 0600) == 0)
        r = lock_once(f);
    return r == -EAGAIN ? -EBUSY : r;
}

/* Things that cannot even be opened as a database. */
static const char *odd_file(const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? "is a folder" : "is no regular file";
    for (size_t i = 0; i < ELEMENTS(companions); i++) {
        char name[PATH_MAX];
        int n = snprintf(name, sizeof name, "%s%s", path, companions[i]);
        if (n < (int)sizeof name && lstat(name, &st) == 0 && !S_ISREG(st.st_mode))
            return "has a companion that is no regular file";
    }
    return NULL;
}

static bool ended_uncleanly(const char *path)
{
    char wal[PATH_MAX];
    struct stat st;
    int n = snprintf(wal, sizeof wal, "%s-wal", path);

    return n < (int)sizeof wal && stat(wal, &st) == 0 && st.st_size > 0;
}

static int past_deadline(void *userdata)
{
    return clock_now().mono_us >= *(const uint64_t *)userdata;
}

/* 0: sound as far as was looked; -EBADMSG. Running out of time is not a fault. */
static int check_pages(sqlite3 *db)
{
    uint64_t deadline = clock_now().mono_us + CHECK_LIMIT_US;
    sqlite3_stmt *stmt = NULL;
    int r = 0;

    sqlite3_progress_handler(db, 10000, past_deadline, &deadline);
    int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        r = text && strcmp(text, "ok") == 0 ? 0 : -EBADMSG;
    }
    sqlite3_finalize(stmt);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    if (r == 0)
        r = store_errno(rc);
    return r == -ETIMEDOUT ? 0 : r;
}

/* -EBADMSG with `why` for what is not ours; -EUCLEAN for a newer one; 0 also for an empty file. */
static int judge(sqlite3 *db, bool check, const char **why)
{
    int64_t id = 0, version = 0, objects = 0;
    int r = store_query_int(db, "PRAGMA application_id", 0, &id);

    *why = "is damaged";
    if (r >= 0)
        r = store_query_int(db, "PRAGMA user_version", 0, &version);
    if (r >= 0)
        r = store_query_int(db, "SELECT count(*) FROM sqlite_schema", 0, &objects);
    if (r < 0)
        return r;
    if (objects == 0 && version == 0 && (id == 0 || id == STORE_APPLICATION_ID))
        return 0;
    if (id != STORE_APPLICATION_ID) {
        *why = "belongs to another program";
        return -EBADMSG;
    }
    if (version > (int64_t)store_n_migrations)
        return -EUCLEAN;
    return check ? check_pages(db) : 0;
}

/* Prepares a statement over each object, which fails where one is missing or has another shape. */
static int check_objects(sqlite3 *db)
{
    static const char *const probes[] = {
        "SELECT id, app_id, pc_id FROM service LIMIT 1",
        "SELECT id, ts, app_id, pc_id, \"from\", \"to\", cause, sentence, evidence"
        " FROM service_transition LIMIT 1",
        "SELECT id, ts, pc_id, \"from\", \"to\", cause, sentence, evidence"
        " FROM pc_transition LIMIT 1",
        "SELECT service, hour, healthy_ms, observed_ms, transitions FROM service_hour LIMIT 1",
        "SELECT ts, app_id, pc_id, systemd_state, port_listening, http_status, latency_ms"
        " FROM service_check LIMIT 1",
        "SELECT hour_bucket, app_id, pc_id, healthy_ratio, transitions"
        " FROM service_state_hourly LIMIT 1",
    };
    int64_t ignored;
    int r = 0;

    for (size_t i = 0; i < ELEMENTS(probes) && r >= 0; i++)
        r = store_query_int(db, probes[i], 0, &ignored);
    return r;
}

static int configure(sqlite3 *db)
{
    /* journal_size_limit: a log that a slow reader let grow shrinks again. secure_delete off: a
     * dropped day need not be overwritten with zeros. */
    static const char sql[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                              "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864;"
                              "PRAGMA secure_delete = OFF; PRAGMA cache_size = -16384;"
                              "PRAGMA temp_store = MEMORY";

    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return store_errno(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

/* Today's table, and tomorrow's ahead of time. */
static int make_days(sqlite3 *db)
{
    int32_t today = store_day_of(clock_now().wall_ms);

    return store_days_change(db, today, today + 1, INT32_MIN);
}

static int open_database(StoreFile *f, bool check, const char **why)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    int r = store_errno(sqlite3_open_v2(f->path, &f->db, flags, NULL));

    if (r < 0)
        return r;
    sqlite3_busy_timeout(f->db, BUSY_MS);
    r = judge(f->db, check, why);
    if (r >= 0)
        r = configure(f->db);
    if (r >= 0)
        r = store_schema_migrate(f->db, store_migrations, store_n_migrations);
    if (r >= 0)
        r = make_days(f->db);
    return r < 0 ? r : check_objects(f->db);
}

static bool means_damage(int r)
{
    return r == -EBADMSG || r == -ENOTSUP || r == -EINVAL || r == -E2BIG;
}

/* One attempt. *why is set when the file should be set aside. */
static int try_open(StoreFile *f, const char **why)
{
    struct stat st;
    const char *odd = odd_file(f->path);

    *why = odd;
    if (odd)
        return -EBADMSG;
    if (stat(f->path, &st) < 0 && errno == ENOENT) {
        int r = make_folders(f->path);
        if (r < 0)
            return r;
    }
    int r = lock_file(f);
    if (r < 0)
        return r;
    bool check =
        fstat(f->lock_fd, &st) == 0 && (st.st_size <= CHECK_SIZE_MAX || ended_uncleanly(f->path));
    r = open_database(f, check, why);
    if (r < 0) {
        store_file_close(f, !means_damage(r));
        if (!means_damage(r))
            *why = NULL;
    }
    return r;
}

static void explain(int r, const char *path, char *note, size_t size)
{
    if (r == -EUCLEAN)
        snprintf(note, size, "%s was written by a newer version; it is left as it is", path);
    else if (r == -EBUSY)
        snprintf(note, size, "%s is in use by another program", path);
    else
        snprintf(note, size, "%s cannot be opened for writing: %s", path, strerror(-r));
}

int store_file_open(StoreFile *f, char *note, size_t size)
{
    const char *why;
    int r = try_open(f, &why);

    if (r < 0 && why) {
        r = store_file_set_aside(f->path, why, note, size);
        if (r < 0)
            return r;
        r = try_open(f, &why);
    }
    if (r < 0)
        explain(r, f->path, note, size);
    return r;
}

void store_file_close(StoreFile *f, bool checkpoint)
{
    if (f->db) {
        if (!checkpoint)
            sqlite3_db_config(f->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        sqlite3_close(f->db);
        f->db = NULL;
    }
    f->lock_fd = close_fd(f->lock_fd);
}

/* The log at the path belongs to the file that has gone. Left there, SQLite would replay it into
 * whatever lies at the path now. */
void store_file_leave(StoreFile *f)
{
    char name[PATH_MAX];

    if (f->db)
        sqlite3_wal_checkpoint_v2(f->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    store_file_close(f, false);
    for (size_t i = 0; i < ELEMENTS(companions); i++)
        if (snprintf(name, sizeof name, "%s%s", f->path, companions[i]) < (int)sizeof name)
            unlink(name);
}

bool store_file_is_current(const StoreFile *f)
{
    struct stat st;

    if (stat(f->path, &st) < 0)
        return errno != ENOENT;
    return st.st_ino == f->ino && st.st_dev == f->dev;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Keeps the newest STORE_ASIDE_MAX files that were set aside; folders among them stay. The names
 * sort by time. Those of the companions follow their file's. */
static void trim_aside(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    char folder[PATH_MAX], prefix[NAME_MAX + 1];
    struct dirent **entries;
    int kept = 0;

    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1,
             slash ? path : ".");
    if (snprintf(prefix, sizeof prefix, "%s.damaged-", base) >= (int)sizeof prefix)
        return;
    int n = scandir(folder, &entries, NULL, by_name);
    for (int i = n; i-- > 0;) {
        const char *name = entries[i]->d_name;
        if (strncmp(name, prefix, strlen(prefix)) == 0) {
            const char *suffix = strrchr(name, '-');
            bool companion = false;
            for (size_t k = 0; k < ELEMENTS(companions); k++)
                companion |= strcmp(suffix, companions[k]) == 0;
            char full[PATH_MAX + NAME_MAX + 2];
            snprintf(full, sizeof full, "%s/%s", folder, name);
            if (kept >= STORE_ASIDE_MAX)
                unlink(full);
            kept += !companion;
        }
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
}

/* Fills to[] with a name that is not taken. */
static int aside_name(const char *path, char *to, size_t size)
{
    time_t t = (time_t)(clock_now().wall_ms / 1000);
    char stamp[32];
    struct stat st;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
    for (unsigned i = 0; i < 100; i++) {
        int n = i ? snprintf(to, size, "%s.damaged-%s.%02u", path, stamp, i)
                  : snprintf(to, size, "%s.damaged-%s", path, stamp);
        if (n >= (int)size)
            return -ENAMETOOLONG;
        if (lstat(to, &st) < 0)
            return errno == ENOENT ? 0 : -errno;
    }
    return -EEXIST;
}

/* The file goes first: a new, empty one beside a left-over log makes SQLite delete the log, while a
 * file without its log would pass for a whole one. */
int store_file_set_aside(const char *path, const char *why, char *note, size_t size)
{
    char to[PATH_MAX], from_name[PATH_MAX + 16], to_name[PATH_MAX + 16];
    int r = aside_name(path, to, sizeof to);

    if (r >= 0 && rename(path, to) < 0)
        r = -errno;
    if (r < 0) {
        snprintf(note, size, "%s %s and cannot be set aside: %s", path, why, strerror(-r));
        return r;
    }
    for (size_t i = 0; i < ELEMENTS(companions); i++) {
        snprintf(from_name, sizeof from_name, "%s%s", path, companions[i]);
        snprintf(to_name, sizeof to_name, "%s%s", to, companions[i]);
        if (rename(from_name, to_name) < 0 && errno != ENOENT)
            snprintf(note, size, "%s: %s", from_name, strerror(errno));
    }
    trim_aside(path);
    snprintf(note, size, "%s %s; it was set aside as %s and a new history begun", path, why, to);
    return 0;
}
