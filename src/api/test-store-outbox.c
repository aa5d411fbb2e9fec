/* The outbox on its way to disk and back: when a row counts as durable, and what the next daemon is
 * told. The boots of the PCs go the same way. */
#include "api/test-store.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "api/store.h"

static const int64_t noon = INT64_C(1728043200000);

static Store *open_store(const char *path)
{
    Store *s = NULL;
    char note[512];

    assert_int_equal(store_open(path, 366, 3660, note, sizeof note, &s), 0);
    assert_string_equal(note, "");
    return s;
}

static void test_outbox(void **state)
{
    Scratch *f = *state;
    StoreOutbox *rows = NULL;
    size_t n = 9;
    StoreOutbox o = {.incident = {.id = 77,
                                  .kind = "service",
                                  .state = "open",
                                  .app_id = "web",
                                  .pc_id = "alpha",
                                  .began_ms = noon,
                                  .opened_ms = noon + 300000,
                                  .cause = CAUSE_SIGNAL,
                                  .sentence = "killed by SIGKILL"},
                     .event = "opened",
                     .channel = "mail",
                     .state = "waiting",
                     .created_ms = noon + 300001};

    assert_int_equal(store_recall_outbox(f->path, &rows, &n), 0);
    assert_int_equal(n, 0);
    Store *s = open_store(f->path);
    assert_int_equal(store_durable(s), 0);
    store_set_delay_ms(s, 600000);
    uint64_t first = store_add_outbox(s, &o);
    store_add_incident(s, &o.incident);
    store_commit(s);
    uint64_t second = store_add_outbox(s, &o); /* not handed over yet */
    assert_true(second > first);
    assert_true(store_durable(s) < first);
    store_set_delay_ms(s, 0);
    while (store_durable(s) < first)
        usleep(1000);
    assert_int_equal(store_durable(s), first);
    assert_int_equal(store_flush(s, 10000), 0);
    assert_int_equal(store_durable(s), second);
    assert_int_equal(store_recall_outbox(f->path, &rows, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(rows[0].incident.id, 77);
    assert_string_equal(rows[0].incident.kind, "service");
    assert_string_equal(rows[0].incident.state, "open");
    assert_string_equal(rows[0].incident.app_id, "web");
    assert_string_equal(rows[0].incident.pc_id, "alpha");
    assert_int_equal(rows[0].incident.began_ms, noon);
    assert_int_equal(rows[0].incident.opened_ms, noon + 300000);
    assert_int_equal(rows[0].incident.closed_ms, 0);
    assert_int_equal(rows[0].incident.cause, CAUSE_SIGNAL);
    assert_string_equal(rows[0].incident.sentence, "killed by SIGKILL");
    assert_string_equal(rows[0].event, "opened");
    assert_string_equal(rows[0].channel, "mail");
    assert_string_equal(rows[0].state, "waiting");
    assert_int_equal(rows[0].created_ms, noon + 300001);
    free(rows);
    strcpy(o.state, "sent"); /* told again as long as its incident is open */
    o.ended_ms = noon + 300002;
    store_add_outbox(s, &o);
    assert_int_equal(store_flush(s, 10000), 0);
    assert_int_equal(store_recall_outbox(f->path, &rows, &n), 0);
    assert_int_equal(n, 1);
    assert_string_equal(rows[0].state, "sent");
    assert_int_equal(rows[0].ended_ms, noon + 300002);
    free(rows);
    strcpy(o.incident.state, "closed");
    store_add_incident(s, &o.incident);
    store_close(s);
    assert_int_equal(store_recall_outbox(f->path, &rows, &n), 0);
    assert_int_equal(n, 0);
    free(rows);
}

static void test_audit(void **state)
{
    Scratch *f = *state;
    StoreAudit *rows = NULL;
    size_t n = 9;
    StoreAudit a = {.id = 78,
                    .ts_ms = noon,
                    .uid = 1000,
                    .origin = "cli",
                    .role = "token",
                    .app_id = "web",
                    .pc_id = "alpha",
                    .unit = "web.service",
                    .action = "restart",
                    .outcome = "requested"};

    assert_int_equal(store_recall_audits(f->path, 0, &rows, &n), 0);
    assert_int_equal(n, 0);
    Store *s = open_store(f->path);
    store_set_delay_ms(s, 600000);
    uint64_t number = store_add_audit(s, &a);
    store_commit(s);
    assert_true(number > store_durable(s));
    store_set_delay_ms(s, 0);
    while (store_durable(s) < number)
        usleep(1000);
    assert_int_equal(store_recall_audits(f->path, INT64_MAX, &rows, &n), 0);
    assert_int_equal(n, 1);
    assert_memory_equal(&rows[0], &a, sizeof a);
    free(rows);
    /* the outcome is the same row, and who asked stays who asked */
    strncpy(a.outcome, "failed", sizeof a.outcome);
    strcpy(a.reason, "exit code 1");
    strcpy(a.origin, "api");
    a.ended_ms = noon + 5;
    store_add_audit(s, &a);
    strcpy(a.origin, "auto_fix");
    a.id = 79;
    a.uid = -1;
    store_add_audit(s, &a);
    assert_int_equal(store_flush(s, 10000), 0);
    assert_string_equal(file_text(f->path,
                                  "SELECT group_concat(id || origin || outcome || reason ||"
                                  " (ended_ts - ts) || ifnull(uid, '-'), ' ') FROM audit"),
                        "78clifailedexit code 151000 79auto_fixfailedexit code 15-");
    assert_int_equal(store_recall_audits(f->path, noon - 1, &rows, &n), 0);
    assert_int_equal(n, 1);
    assert_memory_equal(&rows[0], &a, sizeof a);
    free(rows);
    assert_int_equal(store_recall_audits(f->path, noon, &rows, &n), 0);
    assert_int_equal(n, 0);
    free(rows);
    /* a stop counts for as long as nothing else was done to that service */
    strncpy(a.outcome, "done", sizeof a.outcome);
    strncpy(a.action, "stop", sizeof a.action);
    a.id = 80;
    store_add_audit(s, &a);
    assert_int_equal(store_flush(s, 10000), 0);
    assert_int_equal(store_recall_audits(f->path, noon, &rows, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(rows[0].id, 80);
    free(rows);
    strncpy(a.action, "start", sizeof a.action);
    a.id = 81;
    a.ts_ms++;
    store_add_audit(s, &a);
    assert_int_equal(store_flush(s, 10000), 0);
    assert_int_equal(store_recall_audits(f->path, noon + 1, &rows, &n), 0);
    assert_int_equal(n, 0);
    free(rows);
    store_close(s);
}

/* Opens incidents without end, with so much evidence around them that batches are handed over in
 * the middle. */
static void open_many(const char *path, int64_t from)
{
    CLEANUP_FREE char *evidence = malloc(60001);
    Store *s = open_store(path);

    memset(evidence, 'x', 60000);
    evidence[60000] = '\0';
    for (int64_t id = from;; id++) {
        StoreOutbox o = {.incident = {.id = id, .kind = "pc", .state = "open", .pc_id = "alpha"},
                         .event = "opened",
                         .state = "waiting",
                         .created_ms = noon};
        StoreTransition t = {.id = id, .ts_ms = noon, .pc_id = "alpha", .evidence = evidence};
        store_add_transition(s, &t);
        strcpy(o.channel, "mail");
        store_add_outbox(s, &o);
        strcpy(o.channel, "ntfy");
        store_add_outbox(s, &o);
        store_add_incident(s, &o.incident);
        if (id % 7 == 0)
            usleep(500);
    }
}

/* Killed at any moment: an incident is there with both of its notices, or none of the three is. */
static void test_killed_anywhere(void **state)
{
    Scratch *f = *state;
    int64_t seen = 0;

    for (int round = 0; round < 12; round++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            open_many(f->path, 1 + round * INT64_C(1000000));
        usleep(60000 + 7300 * (useconds_t)round);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        if (access(f->path, F_OK) < 0 || file_int(f->path, "PRAGMA user_version") == 0)
            continue;
        assert_int_equal(file_int(f->path, "SELECT count(*) FROM incident i WHERE 2 <> (SELECT"
                                           " count(*) FROM outbox WHERE incident = i.id)"),
                         0);
        assert_int_equal(file_int(f->path, "SELECT count(*) FROM outbox WHERE incident NOT IN"
                                           " (SELECT id FROM incident)"),
                         0);
        seen = file_int(f->path, "SELECT count(*) FROM incident");
    }
    assert_true(seen > 0);
}

static void test_boots(void **state)
{
    Scratch *f = *state;
    StoreBoot *rows = NULL;
    size_t n = 9;
    StoreBoot b = {
        .pc_id = "alpha", .boot_id = "0123abcd-ef00-4444-8888-0123456789ab", .ts_ms = noon};

    assert_int_equal(store_recall_boots(f->path, &rows, &n), 0);
    assert_int_equal(n, 0);
    Store *s = open_store(f->path);
    store_add_boot(s, &b);
    strcpy(b.pc_id, "beta");
    store_add_boot(s, &b);
    b.boot_id[0] = 'f';
    store_add_boot(s, &b); /* replaces it */
    store_close(s);
    sqlite3 *db = db_open(f->path);
    db_exec(db, "INSERT INTO pc_boot VALUES('gamma', 'nonsense', 1), ('../x', '0', 1)");
    sqlite3_close(db);
    assert_int_equal(store_recall_boots(f->path, &rows, &n), 0);
    assert_int_equal(n, 2);
    assert_string_equal(rows[0].pc_id, "alpha");
    assert_int_equal(rows[0].boot_id[0], '0');
    assert_string_equal(rows[1].pc_id, "beta");
    assert_int_equal(rows[1].boot_id[0], 'f');
    free(rows);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(test_outbox),
        WITH_SCRATCH(test_boots),
        WITH_SCRATCH(test_audit),
        WITH_SCRATCH(test_killed_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
