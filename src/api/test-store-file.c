/* The database file: what lies at the path is judged right, set aside when it is not ours or not
 * sound, and history goes on (R25: 50 damaged files, more by script/soak). */
#include "api/test-store.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "api/store-file.h"
#include "api/store-schema.h"
#include "basic/clock.h"

static int open_at(StoreFile *f, const char *path, char note[static 512])
{
    *f = STORE_FILE_INIT;
    f->path = (char *)path;
    note[0] = '\0';
    return store_file_open(f, note, 512);
}

/* A sound file of some 100 KiB with rows in every table, closed. */
static void make_sound(const char *path)
{
    StoreFile f;
    char note[512];

    assert_int_equal(open_at(&f, path, note), 0);
    assert_int_equal(store_days_change(f.db, 20000, 20001, INT32_MIN), 0);
    db_exec(f.db,
            "BEGIN; INSERT INTO service VALUES(1, 'web', 'alpha');"
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
            " INSERT INTO service_check_20241004 SELECT 1, i * 1000, 6417, i FROM n;"
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
            " INSERT INTO service_transition SELECT i, i, 'web', 'alpha', 'running', 'failed',"
            " 'signal', 'killed', hex(zeroblob(50)) FROM n; COMMIT");
    store_file_close(&f, true);
}

/* Files that were set aside, their companions not counted. */
static size_t count_aside(const char *folder)
{
    return count_files(folder, "damaged") - count_files(folder, "-wal") -
           count_files(folder, "-shm");
}

/* Opens, writes a row, closes: history goes on. */
static void assert_goes_on(const char *path, char note[static 512])
{
    StoreFile f;

    assert_int_equal(open_at(&f, path, note), 0);
    db_exec(f.db, "INSERT INTO service(app_id, pc_id) VALUES('after', 'damage')");
    assert_string_equal(db_text(f.db, "PRAGMA quick_check"), "ok");
    assert_string_equal(db_text(f.db, "SELECT count(*) FROM service_check WHERE ts < 0"), "0");
    store_file_close(&f, true);
}

static void test_new(void **state)
{
    Scratch *s = *state;
    char path[128], note[512];
    struct stat st;

    snprintf(path, sizeof path, "%s/state/deeper/x.db", s->folder);
    assert_goes_on(path, note);
    assert_string_equal(note, "");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    snprintf(path, sizeof path, "%s/state", s->folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void test_sound_stays(void **state)
{
    Scratch *s = *state;
    char note[512];

    make_sound(s->path);
    assert_goes_on(s->path, note);
    assert_string_equal(note, "");
    assert_int_equal(file_int(s->path, "SELECT count(*) FROM service_check WHERE app_id = 'web'"),
                     3001);
    assert_int_equal(count_files(s->folder, "damaged"), 0);
    assert_int_equal(count_files(s->folder, "-wal"), 0);
}

static void test_newer_is_left_alone(void **state)
{
    Scratch *s = *state;
    StoreFile f;
    char note[512];

    make_sound(s->path);
    sqlite3 *db = db_open(s->path);
    db_exec(db, "PRAGMA user_version = 77; CREATE TABLE future(x)");
    sqlite3_close(db);
    assert_int_equal(open_at(&f, s->path, note), -EUCLEAN);
    assert_non_null(strstr(note, "newer version"));
    assert_null(f.db);
    assert_int_equal(f.lock_fd, -1);
    assert_int_equal(file_int(s->path, "PRAGMA user_version"), 77);
    assert_int_equal(count_files(s->folder, "damaged"), 0);
}

static void test_only_one(void **state)
{
    Scratch *s = *state;
    StoreFile f, other;
    char note[512];

    assert_int_equal(open_at(&f, s->path, note), 0);
    assert_int_equal(open_at(&other, s->path, note), -EBUSY);
    assert_non_null(strstr(note, "in use"));
    store_file_close(&f, true);
    assert_int_equal(open_at(&other, s->path, note), 0);
    store_file_close(&other, true);
}

static void test_notices_another_file(void **state)
{
    Scratch *s = *state;
    StoreFile f;
    char note[512], aside[128];

    assert_int_equal(open_at(&f, s->path, note), 0);
    assert_true(store_file_is_current(&f));
    snprintf(aside, sizeof aside, "%s/moved", s->folder);
    assert_int_equal(rename(s->path, aside), 0);
    assert_false(store_file_is_current(&f));
    write_file(s->path, "", 0);
    assert_false(store_file_is_current(&f));
    store_file_close(&f, true);
}

static void test_foreign(void **state)
{
    Scratch *s = *state;
    char note[512];
    sqlite3 *db = db_open(s->path);

    db_exec(db, "CREATE TABLE bookmarks(url TEXT); INSERT INTO bookmarks VALUES('x')");
    sqlite3_close(db);
    assert_goes_on(s->path, note);
    assert_non_null(strstr(note, "belongs to another program"));
    assert_non_null(strstr(note, ".damaged-"));
    assert_int_equal(count_files(s->folder, "damaged"), 1);
    /* the foreign file is whole: its name is in the note */
    char *name = strstr(note, s->folder);
    name = strstr(name + 1, s->folder);
    assert_non_null(name);
    *strchr(name, ' ') = '\0';
    assert_string_equal(file_text(name, "SELECT url FROM bookmarks"), "x");
}

static void test_wrong_shape(void **state)
{
    Scratch *s = *state;
    const char *const harm[] = {
        "DROP TABLE service_hour",
        "DROP VIEW service_check",
        "DROP VIEW service_check; CREATE TABLE service_check(ts)",
        "ALTER TABLE pc_transition RENAME COLUMN cause TO reason",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = -3",
        "DROP TABLE service_check_20241004",
    };

    for (size_t i = 0; i < ELEMENTS(harm); i++) {
        char note[512];
        make_sound(s->path);
        sqlite3 *db = db_open(s->path);
        db_exec(db, harm[i]);
        sqlite3_close(db);
        assert_goes_on(s->path, note);
        assert_non_null(strstr(note, "set aside"));
        unlink(s->path);
    }
    /* only the newest are kept */
    assert_int_equal(count_aside(s->folder), STORE_ASIDE_MAX);
}

static void test_odd_things(void **state)
{
    Scratch *s = *state;
    char name[128], note[512];

    assert_int_equal(mkdir(s->path, 0755), 0);
    snprintf(name, sizeof name, "%s/content", s->path);
    write_file(name, "kept", 4);
    assert_goes_on(s->path, note);
    assert_non_null(strstr(note, "is a folder"));
    unlink(s->path);

    assert_int_equal(mkfifo(s->path, 0600), 0);
    assert_goes_on(s->path, note);
    assert_non_null(strstr(note, "no regular file"));

    snprintf(name, sizeof name, "%s-wal", s->path);
    assert_int_equal(mkdir(name, 0755), 0);
    assert_goes_on(s->path, note);
    assert_non_null(strstr(note, "companion"));

    /* a log left over without its file belongs to nothing */
    unlink(s->path);
    snprintf(name, sizeof name, "%s-wal", s->path);
    write_file(name, "left over from somewhere", 24);
    assert_goes_on(s->path, note);
    assert_string_equal(note, "");
}

static void test_cannot_be_there(void **state)
{
    Scratch *s = *state;
    char name[128], note[512];
    StoreFile f;

    write_file(s->path, "", 0);
    snprintf(name, sizeof name, "%s/below/x.db", s->path);
    assert_int_equal(open_at(&f, name, note), -ENOTDIR);
    assert_non_null(strstr(note, "cannot be opened"));
    assert_int_equal(open_at(&f, "/proc/nowhere/x.db", note), -ENOENT);
    assert_null(f.db);
}

/* As another user, because root may write everything. */
static void read_only_child(Scratch *s)
{
    char note[512];

    if (geteuid() == 0 && (chown(s->folder, 65534, 65534) < 0 || chown(s->path, 65534, 65534) < 0 ||
                           setgid(65534) < 0 || setuid(65534) < 0))
        _exit(2);
    assert_int_equal(chmod(s->path, 0400), 0);
    assert_goes_on(s->path, note);
    assert_string_equal(note, "");
    /* a folder without write permission: refused with a word */
    StoreFile f;
    unlink(s->path);
    assert_int_equal(chmod(s->folder, 0500), 0);
    assert_int_equal(open_at(&f, s->path, note), -EACCES);
    assert_non_null(strstr(note, "Permission denied"));
    chmod(s->folder, 0700);
    _exit(0);
}

static void test_read_only(void **state)
{
    Scratch *s = *state;
    int status;

    make_sound(s->path);
    pid_t pid = fork();
    if (pid == 0)
        read_only_child(s);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static char *slurp(const char *path, size_t *ret_len)
{
    int fd = open(path, O_RDONLY);
    struct stat st;

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    char *data = malloc((size_t)st.st_size);
    assert_non_null(data);
    assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_len = (size_t)st.st_size;
    return data;
}

/* Turns over `n` bytes from `from` on. */
static void flip(char *data, size_t len, size_t from, size_t n)
{
    for (size_t i = from; i < from + n && i < len; i++)
        data[i] = (char)~data[i];
}

/* Harm number i of n to a copy of a sound file; returns the length to write. */
static size_t damage(char *data, size_t len, int i, int n)
{
    static const char text[] = "This is not a database, it only lies where one should be.\n";
    size_t at = len * (size_t)i / (size_t)n;

    switch (i % 5) {
    case 0: return at;                                   /* truncated; the first: empty */
    case 1: flip(data, len, at / 4096 * 4096, 8); break; /* the head of a page */
    case 2: memset(data + at, 0, len - at < 4096 ? len - at : 4096); break;
    case 3: flip(data, len, (size_t)i, 60); break; /* the head of the file */
    case 4:
        if (i % 10 == 4) {
            memcpy(data, text, sizeof text);
            return sizeof text - 1 + (size_t)i;
        }
        for (size_t k = at; k < len; k += 97) /* all over from here on */
            data[k] ^= (char)(k * 31);
        break;
    default: break;
    }
    return len;
}

/* Up again, whatever happened, and the bad file is kept unless nothing was to be seen.
 * SOAK_DATABASES: how many. */
static void test_damaged_files(void **state)
{
    Scratch *s = *state;
    const char *wanted = getenv("SOAK_DATABASES");
    int n = wanted ? atoi(wanted) : 50;
    uint64_t longest = 0;
    size_t len, aside = 0;

    make_sound(s->path);
    CLEANUP_FREE char *sound = slurp(s->path, &len);
    CLEANUP_FREE char *copy = malloc(len);
    assert_non_null(copy);
    for (int i = 0; i < n; i++) {
        char note[512];
        memcpy(copy, sound, len);
        write_file(s->path, copy, damage(copy, len, i, n));
        uint64_t begin = clock_now().mono_us;
        assert_goes_on(s->path, note);
        longest = MAX(longest, clock_now().mono_us - begin);
        aside += note[0] != '\0';
        if (i == 0)
            assert_string_equal(note, ""); /* an empty file is simply new */
        unlink(s->path);
    }
    print_message(
        "soak: R25: %d damaged files, %zu kept aside, %u ms at most until history went on\n", n,
        aside, (unsigned)(longest / USEC_PER_MSEC));
    assert_true(longest < 30 * USEC_PER_SEC);
    assert_true(aside >= (size_t)n * 3 / 4);
    assert_int_equal(count_aside(s->folder), STORE_ASIDE_MAX);
}

/* The same for what lies beside the file after a kill. */
static void test_damaged_log(void **state)
{
    Scratch *s = *state;
    char wal[128], note[512];
    StoreFile f;

    snprintf(wal, sizeof wal, "%s-wal", s->path);
    for (size_t at = 0; at < 20000; at += 1999) {
        make_sound(s->path);
        assert_int_equal(open_at(&f, s->path, note), 0);
        db_exec(f.db, "INSERT INTO service VALUES(2, 'in', 'log');"
                      "UPDATE service_transition SET sentence = 'x'");
        store_file_close(&f, false);
        size_t len;
        CLEANUP_FREE char *log = slurp(wal, &len);
        assert_true(len > 20000);
        flip(log, len, at, 16);
        write_file(wal, log, len);
        assert_goes_on(s->path, note);
        /* a frame that does not add up ends the log: what was checkpointed is there */
        assert_string_equal(note, "");
        assert_int_equal(file_int(s->path, "SELECT count(*) FROM service_transition"), 301);
        unlink(s->path);
    }
}

static void test_set_aside_takes_all(void **state)
{
    Scratch *s = *state;
    char note[512], name[128];

    write_file(s->path, "a", 1);
    snprintf(name, sizeof name, "%s-wal", s->path);
    write_file(name, "b", 1);
    snprintf(name, sizeof name, "%s-shm", s->path);
    write_file(name, "c", 1);
    assert_int_equal(store_file_set_aside(s->path, "is damaged", note, sizeof note), 0);
    assert_int_equal(count_files(s->folder, "damaged"), 3);
    assert_int_equal(access(s->path, F_OK), -1);
    assert_int_equal(access(name, F_OK), -1);
    /* twice within a second: another name */
    write_file(s->path, "d", 1);
    assert_int_equal(store_file_set_aside(s->path, "is damaged", note, sizeof note), 0);
    assert_int_equal(count_files(s->folder, "damaged"), 4);
    assert_int_equal(store_file_set_aside(s->path, "is damaged", note, sizeof note), -ENOENT);
    assert_non_null(strstr(note, "cannot be set aside"));
}

/* Killed while it was being made: the next start makes it whole, nothing needs to be set aside. */
static void test_killed_while_made(void **state)
{
    Scratch *s = *state;

    for (rlim_t size = 1; size < 120000; size += 2999) {
        pid_t pid = fork();
        int status;
        char note[512];
        if (pid == 0) {
            StoreFile f;
            setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
            setrlimit(RLIMIT_FSIZE, &(struct rlimit){size, size});
            signal(SIGXFSZ, SIG_DFL);
            open_at(&f, s->path, note);
            kill(getpid(), SIGKILL);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_goes_on(s->path, note);
        assert_string_equal(note, "");
        unlink(s->path);
    }
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(test_new),
        WITH_SCRATCH(test_sound_stays),
        WITH_SCRATCH(test_newer_is_left_alone),
        WITH_SCRATCH(test_only_one),
        WITH_SCRATCH(test_notices_another_file),
        WITH_SCRATCH(test_foreign),
        WITH_SCRATCH(test_wrong_shape),
        WITH_SCRATCH(test_odd_things),
        WITH_SCRATCH(test_cannot_be_there),
        WITH_SCRATCH(test_read_only),
        WITH_SCRATCH(test_damaged_files),
        WITH_SCRATCH(test_damaged_log),
        WITH_SCRATCH(test_set_aside_takes_all),
        WITH_SCRATCH(test_killed_while_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
