/* registry.db: round trip, atomic saving, and files that are damaged, foreign, hostile or edited by
 * hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "api/registry-yaml.h"
#include "api/registry.h"
#include "api/test-dir.h"
#include "basic/macro.h"

static const char yaml_text[] = "pcs:\n"
                                "  - pc_id: a\n"
                                "    may_sleep: true\n"
                                "  - pc_id: b\n"
                                "    ssh_host: bee\n"
                                "    pc_is_self: true\n"
                                "    note: \"it's \xC3\xA4 \\\"note\\\"\"\n"
                                "\n"
                                "apps:\n"
                                "  - app_id: web\n"
                                "    title: \"Web pages\"\n"
                                "    tag: web\n"
                                "    unit: web.service\n"
                                "    unit_scope: system\n"
                                "    port: 80\n"
                                "    health_endpoint: /health\n"
                                "    health_timeout_ms: 700\n"
                                "    is_local_only: true\n"
                                "\n"
                                "service_targets:\n"
                                "  - app_id: web\n"
                                "    pc_id: a\n"
                                "    expected: stopped\n"
                                "    unit: other.service\n"
                                "    port: 65535\n"
                                "    health_endpoint: \"http://127.0.0.1:8080/\"\n"
                                "    health_timeout_ms: 100\n";

typedef struct Fixture {
    char *dir;
    const char *db;
    Registry *r;
} Fixture;

static int set_up(void **state)
{
    Fixture *f = calloc(1, sizeof(*f));
    RegistryError error;

    f->dir = test_dir_new();
    f->db = strdup(test_path(f->dir, "registry.db"));
    assert_int_equal(registry_yaml_parse("f", yaml_text, strlen(yaml_text), &f->r, &error), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    Fixture *f = *state;

    test_dir_free(f->dir);
    free((char *)f->db);
    registry_free(f->r);
    free(f);
    return 0;
}

static void save(const Fixture *f)
{
    RegistryError error = {};

    if (registry_save(f->db, f->r, &error) < 0)
        fail_msg("%s", error.text);
}

static void assert_same(const char *path)
{
    CLEANUP(registry_freep) Registry *r = NULL;
    CLEANUP(buffer_done) Buffer yaml = BUFFER_INIT(1U << 20);
    RegistryError error = {};

    if (registry_load(path, &r, &error) < 0)
        fail_msg("%s", error.text);
    registry_yaml_write(r, &yaml);
    assert_string_equal(buffer_cstr(&yaml), yaml_text);
}

static void test_round_trip(void **state)
{
    const Fixture *f = *state;
    struct stat st;

    save(f);
    assert_same(f->db);
    save(f); /* over an existing one */
    assert_same(f->db);
    assert_int_equal(stat(f->db, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(test_count_files(f->dir), 1);
}

static void test_makes_directories(void **state)
{
    const Fixture *f = *state;
    const char *path = test_path(f->dir, "one/two/registry.db");
    RegistryError error;
    struct stat st;

    assert_int_equal(registry_save(path, f->r, &error), 0);
    assert_same(path);
    assert_int_equal(stat(test_path(f->dir, "one"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void test_keeps_symbolic_links(void **state)
{
    const Fixture *f = *state;
    const char *link_path = test_path(f->dir, "link.db");
    RegistryError error;
    struct stat st;

    save(f);
    assert_int_equal(symlink("registry.db", link_path), 0);
    assert_int_equal(registry_save(link_path, f->r, &error), 0);
    assert_int_equal(lstat(link_path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_same(f->db);
}

static void test_absent(void **state)
{
    const Fixture *f = *state;
    Registry *r = NULL;
    RegistryError error = {};

    assert_int_equal(registry_load(f->db, &r, &error), -ENOENT);
    assert_non_null(strstr(error.text, "No such file"));
    assert_null(r);
    assert_int_equal(registry_load(f->dir, &r, &error), -EINVAL);
    assert_int_equal(registry_load("", &r, &error), -ENOENT);
    assert_int_equal(registry_load(":memory:", &r, &error), -ENOENT);
    assert_int_equal(registry_load("file:x?mode=memory", &r, &error), -ENOENT);
}

/* Each failing save leaves the old file as it is and nothing beside it. */
static void test_failing_save(void **state)
{
    const Fixture *f = *state;
    struct rlimit old, small = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    RegistryError error = {};

    save(f);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int e = registry_save(f->db, f->r, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(e < 0);
    assert_true(*error.text);
    assert_same(f->db);
    assert_int_equal(test_count_files(f->dir), 1);

    assert_int_equal(mkdir(test_path(f->dir, "taken"), 0700), 0);
    assert_int_equal(registry_save(test_path(f->dir, "taken"), f->r, &error), -EINVAL);
    assert_int_equal(registry_save(test_path(f->dir, "registry.db/x/y"), f->r, &error), -ENOTDIR);
    assert_int_equal(registry_save("/proc/no/registry.db", f->r, &error), -ENOENT);
    assert_int_equal(test_count_files(f->dir), 2);
    assert_same(f->db);
}

/* A crashed sqlite3 may leave these; replayed into the new file they would ruin it. */
static void test_side_files_go(void **state)
{
    const Fixture *f = *state;
    static const char *const names[] = {"registry.db-journal", "registry.db-wal",
                                        "registry.db-shm"};

    save(f);
    for (size_t i = 0; i < ELEMENTS(names); i++)
        test_write(test_path(f->dir, names[i]), "xxxxxxxx", 8);
    save(f);
    assert_int_equal(test_count_files(f->dir), 1);
    assert_same(f->db);
}

static void edit(const char *path, const char *sql)
{
    sqlite3 *db;
    char *message = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    sqlite3_close(db);
}

static void refuse(const Fixture *f, const char *what, const char *reason)
{
    Registry *r = NULL;
    RegistryError error = {};
    int e = registry_load(f->db, &r, &error);

    if (e != -EINVAL || !strstr(error.text, reason))
        fail_msg("%s: %d \"%s\", not \"%s\"", what, e, error.text, reason);
    assert_memory_equal(error.text, f->db, strlen(f->db));
    assert_null(r);
}

#define UNCHECKED "PRAGMA ignore_check_constraints = ON;"
#define LOOSE_APPS                                                                             \
    "DROP TABLE apps; CREATE TABLE apps(app_id, title, tag, unit, unit_scope DEFAULT 'user', " \
    "port, "                                                                                   \
    "health_endpoint, health_timeout_ms, is_local_only DEFAULT 0, note);"
#define LOOSE_APP LOOSE_APPS "INSERT INTO apps(app_id, port) VALUES('web', 80);"

static void test_edited_by_hand(void **state)
{
    static const struct {
        const char *sql, *reason;
    } cases[] = {
        {UNCHECKED "UPDATE apps SET port = 70000",
         "table apps, row 1 (web), column port: 70000 is not a port, use a number from 1 to 65535"},
        {UNCHECKED "UPDATE apps SET port = -1", "column port: -1 is not a port"},
        {UNCHECKED "UPDATE apps SET unit_scope = 'root'",
         "column unit_scope: \"root\" is not a unit scope"},
        {UNCHECKED "UPDATE apps SET is_local_only = 2",
         "column is_local_only: 2 is not a truth value"},
        {UNCHECKED "UPDATE apps SET health_timeout_ms = 9223372036854775807",
         "column health_timeout_ms: 9223372036854775807 is not a time in ms"},
        {UNCHECKED "UPDATE service_targets SET expected = 'up'",
         "table service_targets, row 1 (web), column expected: \"up\" is not an expectation, use "
         "running or stopped"},
        {"UPDATE apps SET unit = 'web'",
         "column unit: \"web\" has no suffix, did you mean web.service?"},
        {"UPDATE apps SET unit = '-x.service'",
         "column unit: \"-x.service\" is not a systemd unit"},
        {"UPDATE apps SET title = 'a' || char(27) || 'b'", "column title: \"a?b\" is not a title"},
        {"UPDATE apps SET title = 'a' || char(0) || 'b'", "column title: \"a?b\" is not a title"},
        {"UPDATE apps SET note = CAST(x'FF' AS TEXT)",
         "column note: \"\xEF\xBF\xBD\" is not a note"},
        {"UPDATE apps SET health_endpoint = 'health'",
         "column health_endpoint: \"health\" is not a health endpoint"},
        {"UPDATE pcs SET ssh_host = 'me@b' WHERE pc_id = 'b'",
         "table pcs, row 2 (b), column ssh_host: \"me@b\" has a user name, make a Host entry"},
        {"UPDATE pcs SET pc_id = 'a b' WHERE pc_id = 'b'", "column pc_id: \"a b\" is not an id"},
        {"UPDATE pcs SET pc_id = '' WHERE pc_id = 'b'", "column pc_id: is missing"},
        {"UPDATE service_targets SET pc_id = 'c'",
         "table service_targets, row 1 (web), column pc_id: c is not in pcs, add it there"},
        {"DELETE FROM apps",
         "table service_targets, row 1 (web), column app_id: web is not in apps"},
        {"UPDATE apps SET port = NULL, unit = NULL",
         "column app_id: the path /health needs a port"},
        {LOOSE_APP "UPDATE apps SET port = '80'", "column port: text is not a port"},
        {LOOSE_APP "UPDATE apps SET port = 80.5",
         "column port: a number with a point is not a port"},
        {LOOSE_APP "UPDATE apps SET port = x'00'", "column port: a blob is not a port"},
        {LOOSE_APP "UPDATE apps SET app_id = 7", "column app_id: a number is not an id"},
        {LOOSE_APP "UPDATE apps SET unit = x'772e73657276696365'",
         "column unit: a blob is not a systemd unit"},
        {LOOSE_APP "UPDATE apps SET is_local_only = 'true'",
         "column is_local_only: text is not a truth value"},
        {LOOSE_APP "UPDATE apps SET app_id = NULL", "table apps, row 1, column app_id: is missing"},
        {LOOSE_APP "INSERT INTO apps SELECT * FROM apps",
         "row 2 (web), column app_id: web is here twice"},
        {"ALTER TABLE apps ADD COLUMN prot INTEGER",
         "table apps: the column prot is not known, did you mean port?"},
        {"ALTER TABLE apps ADD COLUMN x INT AS (1)", "table apps: the column x is not known"},
        {"ALTER TABLE pcs DROP COLUMN note",
         "table pcs lacks a column, it must have pc_id, ssh_host, pc_is_self, may_sleep, note"},
        {"DROP TABLE service_targets", "it has no table service_targets, this is not a registry"},
        {"DROP TABLE pcs; CREATE VIEW pcs AS SELECT 'a' AS pc_id", "pcs is not an ordinary table"},
        {"DROP TABLE pcs; CREATE VIRTUAL TABLE pcs USING fts5(pc_id)",
         "pcs is not an ordinary table"},
        {"UPDATE pcs SET note = (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
         "WHERE i < 70000) "
         "SELECT group_concat('x', '') FROM n)",
         "too big"},
    };
    const Fixture *f = *state;

    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        save(f);
        edit(f->db, cases[i].sql);
        refuse(f, cases[i].sql, cases[i].reason);
    }
}

static void test_good_edits(void **state)
{
    static const char *const edits[] = {
        "PRAGMA journal_mode = WAL; UPDATE apps SET port = 80; PRAGMA journal_mode = DELETE;",
        "VACUUM",
        "CREATE INDEX i ON apps(port)",
        "CREATE TABLE mine(x)",
        "CREATE TRIGGER t AFTER INSERT ON apps BEGIN SELECT 1; END",
        "UPDATE pcs SET ssh_host = '' WHERE pc_id = 'a'",
    };
    const Fixture *f = *state;

    for (size_t i = 0; i < ELEMENTS(edits); i++) {
        save(f);
        edit(f->db, edits[i]);
        assert_same(f->db);
    }
}

static void test_being_written(void **state)
{
    const Fixture *f = *state;
    sqlite3 *db;
    Registry *r = NULL;
    RegistryError error;

    save(f);
    assert_int_equal(sqlite3_open(f->db, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(registry_load(f->db, &r, &error), -EBUSY);
    assert_non_null(strstr(error.text, "somebody else is writing it"));
    sqlite3_close(db);
    assert_same(f->db);
}

static void test_foreign_files(void **state)
{
    const Fixture *f = *state;
    static char zeros[8192];

    test_write(f->db, "pcs: []\n", 8);
    refuse(f, "yaml", "it is not an SQLite database, make one with: services_api import FILE.yaml");
    test_write(f->db, "", 0);
    refuse(f, "empty", "it has no table pcs, this is not a registry");
    test_write(f->db, zeros, sizeof(zeros));
    refuse(f, "zeros", "it is not an SQLite database");
    unlink(f->db);
    edit(f->db, "CREATE TABLE photos(x)");
    refuse(f, "other", "it has no table pcs");
}

/* Bytes turned over at any place: either refused with a reason, or the registry is as it was. */
static void test_damaged(void **state)
{
    const Fixture *f = *state;
    CLEANUP_FREE char *bytes = NULL;
    struct stat st;
    size_t refused = 0;
    uint32_t seed = 1;

    save(f);
    assert_int_equal(stat(f->db, &st), 0);
    size_t len = (size_t)st.st_size;
    bytes = malloc(len);
    FILE *file = fopen(f->db, "re");
    assert_int_equal(fread(bytes, 1, len, file), len);
    fclose(file);
    for (int i = 0; i < 300; i++) {
        Registry *r = NULL;
        RegistryError error = {};
        char old[16];

        seed = seed * 1664525 + 1013904223;
        size_t at = i < 100 ? (size_t)i : (seed >> 4) % (len - sizeof(old));
        memcpy(old, bytes + at, sizeof(old));
        for (size_t k = 0; k < sizeof(old); k++)
            bytes[at + k] ^= (char)(seed >> (k % 24));
        test_write(f->db, bytes, i % 10 ? len : at);
        int e = registry_load(f->db, &r, &error);
        if (e < 0)
            assert_true(*error.text);
        else
            registry_free(r);
        refused += e < 0;
        memcpy(bytes + at, old, sizeof(old));
    }
    assert_true(refused > 100);
    test_write(f->db, bytes, len);
    assert_same(f->db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_makes_directories, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keeps_symbolic_links, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_absent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failing_save, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_side_files_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_edited_by_hand, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_good_edits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_being_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_foreign_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("registry-db", tests, NULL, NULL);
}
