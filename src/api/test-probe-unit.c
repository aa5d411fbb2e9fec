/* The unit prober against a real dbus-daemon on which test-fake-systemd.h plays the manager. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "api/probe-unit.h"
#include "api/test-fake-systemd.h"
#include "basic/macro.h"

static UnitBus *bus;
static pid_t daemon_pid;

/* what the prober told */
static unsigned n_states, n_units, n_events, n_checked;
static Cause last_cause;
static UnitFacts last_facts;
static void *last_watch;

/* ---- the receiver ---- */

static void on_state(void *userdata UNUSED, UnitScope scope, Cause cause)
{
    assert_int_equal(scope, SCOPE_USER);
    n_states++;
    last_cause = cause;
}

static void on_unit(void *userdata UNUSED, UnitScope scope UNUSED, void *watch_userdata,
                    const UnitFacts *facts, bool is_event)
{
    assert_true(facts->has_details);
    n_units++;
    n_events += is_event;
    last_facts = *facts;
    last_watch = watch_userdata;
}

static void on_checked(void *userdata UNUSED, UnitScope scope UNUSED, int32_t lag_us)
{
    assert_true(lag_us >= 0);
    n_checked++;
}

static uint64_t fixed_cgroup_id(const char *control_group)
{
    return strlen(control_group);
}

static const UnitBusOps ops = {
    .state = on_state, .unit = on_unit, .checked = on_checked, .cgroup_id = fixed_cgroup_id};

static void run_until(const unsigned *counter, unsigned value)
{
    while (*counter < value)
        assert_true(sd_event_run(event, PATIENCE_US) > 0);
}

static void run_until_cause(Cause cause)
{
    while (last_cause != cause)
        assert_true(sd_event_run(event, PATIENCE_US) > 0);
}

static void run_for(uint64_t us)
{
    uint64_t end = clock_now().mono_us + us;

    for (uint64_t now; (now = clock_now().mono_us) < end;)
        assert_true(sd_event_run(event, end - now) >= 0);
}

static void check_and_wait(void)
{
    unsigned before = n_checked;

    unit_bus_check(bus, clock_now());
    run_until(&n_checked, before + 1);
}

static UnitWatch *watch(const char *name, void *userdata)
{
    UnitWatch *w = NULL;

    assert_int_equal(unit_bus_watch(bus, name, userdata, &w), 0);
    return w;
}

static void connect_and_wait(void)
{
    assert_int_equal(unit_bus_connect(bus, address), 0);
    run_until(&n_checked, 1);
    assert_int_equal(last_cause, CAUSE_NONE);
    assert_true(unit_bus_is_ready(bus));
}

/* ---- set-up ---- */

static void daemon_start(void)
{
    int fds[2];
    ssize_t n;

    assert_int_equal(pipe(fds), 0);
    daemon_pid = fork();
    if (daemon_pid == 0) {
        dup2(fds[1], 1);
        close(fds[0]);
        close(fds[1]);
        execlp("dbus-daemon", "dbus-daemon", "--session", "--nofork", "--nosyslog",
               "--print-address=1", "--address=unix:tmpdir=/tmp", NULL);
        _exit(127);
    }
    close(fds[1]);
    n = read(fds[0], address, sizeof address - 1);
    close(fds[0]);
    assert_true(n > 1);
    address[n] = '\0';
    address[strcspn(address, "\n")] = '\0';
}

static void daemon_stop(void)
{
    if (daemon_pid <= 0)
        return;
    kill(daemon_pid, SIGTERM);
    waitpid(daemon_pid, NULL, 0);
    daemon_pid = 0;
}

static int set_up(void **state UNUSED)
{
    n_fake = n_stash = most_stashed = 0;
    n_subscribe = n_list = n_get_all = n_get = 0;
    n_states = n_units = n_events = n_checked = 0;
    mode = MODE_GOOD;
    last_cause = CAUSE_NOT_CHECKED_YET;
    daemon_start();
    assert_true(sd_event_new(&event) >= 0);
    fake_start();
    assert_int_equal(unit_bus_new(event, SCOPE_USER, &ops, NULL, &bus), 0);
    return 0;
}

static int tear_down(void **state UNUSED)
{
    bus = unit_bus_free(bus);
    fake_stop();
    event = sd_event_unref(event);
    daemon_stop();
    return 0;
}

/* ---- tests ---- */

static void test_no_bus(void **state UNUSED)
{
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(unit_bus_connect(bus, "unix:path=/tmp/no-such-bus-here"), 0);
        assert_int_equal(n_states, i - 1);
        run_until(&n_states, i); /* told each time: the caller tries again from there */
        assert_int_equal(last_cause, CAUSE_NO_BUS);
        assert_null(unit_bus_get(bus));
    }
    unit_bus_check(bus, clock_now());
    unit_bus_ping(bus, clock_now());
    assert_int_equal(unit_bus_connect(bus, "nonsense"), 0);
    run_until(&n_states, 4);
}

static void test_manager_comes_and_goes(void **state UNUSED)
{
    fake_stop();
    assert_int_equal(unit_bus_connect(bus, address), 0);
    run_until_cause(CAUSE_NO_USER_MANAGER);
    assert_false(unit_bus_is_ready(bus));
    fake_start();
    run_until_cause(CAUSE_NONE);
    run_until(&n_subscribe, 1);
    fake_stop();
    run_until_cause(CAUSE_NO_USER_MANAGER);
    fake_start();
    run_until_cause(CAUSE_NONE);
    assert_true(unit_bus_is_ready(bus));
    assert_int_equal(unit_bus_cause(bus), CAUSE_NONE);
}

static void test_bus_dies(void **state UNUSED)
{
    watch("one.service", NULL);
    fake_add("one.service");
    connect_and_wait();
    kill(daemon_pid, SIGKILL); /* a gentle end would first tell that the manager left */
    run_until_cause(CAUSE_NO_BUS);
    assert_null(unit_bus_get(bus));
    assert_int_equal(n_states, 2);
}

static void test_details(void **state UNUSED)
{
    FakeUnit *u = fake_add("one.service");
    int me;
    UnitWatch *w = watch("one.service", &me);

    u->active = "failed";
    u->sub = "failed";
    u->result = "signal";
    u->exec_code = 2;
    u->exec_status = 9;
    u->n_restarts = 3;
    u->type = "oneshot";
    connect_and_wait();
    assert_int_equal(n_units, 1);
    assert_int_equal(n_events, 0);
    assert_ptr_equal(last_watch, &me);
    const UnitFacts *f = &last_facts;
    assert_memory_equal(f, unit_watch_facts(w), sizeof *f);
    assert_int_equal(f->load, LOAD_LOADED);
    assert_int_equal(f->active, ACTIVE_FAILED);
    assert_string_equal(f->sub, "failed");
    assert_int_equal(f->kind, KIND_SERVICE);
    assert_true(f->oneshot && f->remain_after_exit && f->has_details);
    assert_int_equal(f->main_pid, 42);
    assert_int_equal(f->n_restarts, 3);
    assert_string_equal(f->result, "signal");
    assert_int_equal(f->exec_code, 2);
    assert_int_equal(f->exec_status, 9);
    assert_int_equal(f->invocation[0], 1);
    assert_string_equal(f->file_state, "enabled");
    assert_int_equal(f->state_change_ms, 1700000000123);
    assert_int_equal(f->active_enter_ms, 1700000000123);
    assert_int_equal(f->inactive_enter_ms, 0); /* "infinity" */
    assert_int_equal(f->exec_exit_ms, 1700000000123);
    assert_string_equal(unit_watch_control_group(w), "/app.slice/x.service");
    assert_int_equal(f->cgroup_id, strlen("/app.slice/x.service"));
}

static void test_check_of_nothing_and_of_the_same(void **state UNUSED)
{
    connect_and_wait();
    fake_add("one.service");
    watch("one.service", NULL);
    run_until(&n_units, 1);
    unsigned asked = n_get_all;
    check_and_wait();
    check_and_wait();
    assert_int_equal(n_get_all, asked); /* nothing differs: nothing is read */
    assert_int_equal(n_units, 1);
    assert_int_equal(n_states, 1);
}

static void test_level_check_finds_a_change(void **state UNUSED)
{
    FakeUnit *u = fake_add("one.service");

    watch("one.service", NULL);
    connect_and_wait();
    u->active = "inactive";
    u->sub = "dead";
    check_and_wait();
    assert_int_equal(n_units, 2); /* by the time of `checked` its facts have been told */
    assert_int_equal(last_facts.active, ACTIVE_INACTIVE);
    assert_int_equal(n_events, 0);
}

static void test_missing_unit(void **state UNUSED)
{
    UnitWatch *w = NULL;

    watch("nobody.service", NULL);
    connect_and_wait();
    assert_int_equal(last_facts.load, LOAD_NOT_FOUND);
    assert_int_equal(last_facts.active, ACTIVE_INACTIVE);
    assert_int_equal(unit_bus_watch(bus, "template@.service", NULL, &w), -EINVAL);
    assert_int_equal(unit_bus_watch(bus, "../etc.service", NULL, &w), -EINVAL);
    assert_int_equal(unit_bus_watch(bus, "no-suffix", NULL, &w), -EINVAL);
    assert_null(w);
}

static void test_event_is_one_judgement(void **state UNUSED)
{
    FakeUnit *u = fake_add("a-b@c\\x20d.service");

    watch(u->name, NULL);
    connect_and_wait();
    u->active = "failed";
    u->sub = "failed";
    u->result = "exit-code";
    u->exec_code = 1;
    u->exec_status = 3;
    fake_changed(u);
    run_until(&n_events, 1);
    assert_int_equal(n_units, 2);
    assert_int_equal(last_facts.active, ACTIVE_FAILED);
    assert_string_equal(last_facts.result, "exit-code"); /* from the Service message before it */
    assert_int_equal(last_facts.exec_status, 3);
    u->active = "active";
    u->sub = "running";
    u->id = 2;
    fake_changed(u);
    fake_changed(u); /* says nothing new */
    run_until(&n_events, 2);
    run_for(50000);
    assert_int_equal(n_events, 2);
    assert_int_equal(last_facts.invocation[0], 2);
}

static void test_unit_that_was_missing_starts(void **state UNUSED)
{
    watch("late.service", NULL);
    connect_and_wait();
    FakeUnit *u = fake_add("late.service");
    fake_changed(u);
    run_until(&n_units, 2);
    while (last_facts.load != LOAD_LOADED)
        run_until(&n_units, n_units + 1);
    assert_int_equal(last_facts.active, ACTIVE_ACTIVE);
}

static void test_alias_is_watched_by_its_real_path(void **state UNUSED)
{
    FakeUnit *u = fake_add("alias.service");

    u->alias_path = UNIT_PREFIX "/real_2eservice";
    watch("alias.service", NULL);
    connect_and_wait();
    u->active = "failed";
    fake_changed(u);
    run_until(&n_events, 1);
    assert_int_equal(last_facts.active, ACTIVE_FAILED);
}

static void test_restart_without_a_signal(void **state UNUSED)
{
    FakeUnit *u = fake_add("one.service");
    Now now = clock_now();

    watch("one.service", NULL);
    connect_and_wait();
    unit_bus_ping(bus, now);
    u->id = 9;
    now.mono_us += 30 * USEC_PER_SEC;
    check_and_wait(); /* the row is the same: the check sees nothing */
    assert_int_equal(n_units, 1);
    now.mono_us += 60 * USEC_PER_SEC;
    unit_bus_check(bus, now);
    run_until(&n_units, 2);
    assert_int_equal(last_facts.invocation[0], 9);
    assert_int_equal(n_events, 0);
}

static void test_timer_whose_service_failed(void **state UNUSED)
{
    FakeUnit *t = fake_add("backup.timer"), *s = fake_add("backup.service");

    t->triggers = "backup.service";
    watch("backup.timer", NULL);
    connect_and_wait();
    assert_int_equal(last_facts.kind, KIND_TIMER);
    assert_false(last_facts.triggered_failed);
    run_for(50000); /* its service is read behind it */
    s->active = "failed";
    fake_changed(s);
    run_until(&n_events, 1);
    assert_true(last_facts.triggered_failed);
    s->active = "inactive";
    check_and_wait();
    assert_false(last_facts.triggered_failed);
    t->triggers = "backup.timer"; /* a timer that says it starts itself */
    fake_manager_signal("Reloading", "b", 0);
    run_until(&n_checked, n_checked + 1);
}

static void test_reload_and_files_changed_read_all_again(void **state UNUSED)
{
    FakeUnit *u = fake_add("one.service");

    watch("one.service", NULL);
    connect_and_wait();
    u->file_state = "disabled";
    fake_manager_signal("Reloading", "b", 1);
    fake_manager_signal("Reloading", "b", 0);
    run_until(&n_units, 2);
    assert_string_equal(last_facts.file_state, "disabled");
    u->file_state = "enabled";
    fake_manager_signal("UnitFilesChanged", "", 0);
    run_until(&n_units, 3);
    assert_string_equal(last_facts.file_state, "enabled");
    fake_manager_signal("Reloading", "u", 0);
    run_for(20000);
}

static void test_silence_and_the_late_answer(void **state UNUSED)
{
    FakeUnit *u = fake_add("one.service");

    watch("one.service", NULL);
    connect_and_wait();
    mode = MODE_STASH;
    unit_bus_ping(bus, clock_now());
    for (int i = 0; i < 5; i++) {
        unit_bus_check(bus, clock_now());
        unit_bus_ping(bus, clock_now());
    }
    run_until_cause(CAUSE_BUS_SILENT);
    assert_int_equal(n_stash, 2); /* neither was doubled */
    assert_false(unit_bus_is_ready(bus));
    assert_non_null(unit_bus_get(bus));
    u->active = "failed";
    mode = MODE_GOOD;
    stash_answer();
    run_until_cause(CAUSE_NONE);
    run_until(&n_checked, 2);
    assert_int_equal(last_facts.active, ACTIVE_FAILED);
}

/* Details that stay away count as silence as well, and hold up nothing for ever. */
static void test_silent_details(void **state UNUSED)
{
    FakeUnit *u = fake_add("one.service");

    watch("one.service", NULL);
    connect_and_wait();
    u->active = "failed";
    unit_bus_check(bus, clock_now());
    run_until(&n_list, 2);
    mode = MODE_STASH;
    run_until_cause(CAUSE_BUS_SILENT);
    assert_int_equal(n_checked, 1);
    mode = MODE_GOOD;
    stash_answer();
    run_until_cause(CAUSE_NONE);
    run_until(&n_checked, 2);
    assert_int_equal(last_facts.active, ACTIVE_FAILED);
}

static void test_lies_are_a_bus_error(void **state UNUSED)
{
    static const Mode lies[] = {MODE_SHORT_ROWS,  MODE_LONG_ROWS,   MODE_WRONG_ROWS,
                                MODE_WRONG_PATHS, MODE_WRONG_TYPES, MODE_NO_STATE,
                                MODE_MANY_PROPS,  MODE_HUGE,        MODE_REFUSE};
    FakeUnit *u = fake_add("one.service");

    watch("one.service", NULL);
    connect_and_wait();
    for (size_t i = 0; i < ELEMENTS(lies); i++) {
        UnitFacts before = last_facts;
        mode = lies[i];
        u->active = i % 2 ? "active" : "failed";
        unit_bus_check(bus, clock_now());
        run_until_cause(CAUSE_BUS_ERROR);
        assert_false(unit_bus_is_ready(bus));
        assert_memory_equal(&before, &last_facts, sizeof before);
        mode = MODE_GOOD;
        check_and_wait();
        assert_int_equal(last_cause, CAUSE_NONE);
        assert_int_equal(last_facts.active, i % 2 ? ACTIVE_ACTIVE : ACTIVE_FAILED);
    }
}

static void test_one_refused_unit(void **state UNUSED)
{
    fake_add("one.service");
    watch("one.service", NULL);
    mode = MODE_REFUSE_UNIT;
    connect_and_wait();
    assert_int_equal(last_facts.load, LOAD_ERROR);
    assert_int_equal(last_facts.active, ACTIVE_UNKNOWN);
}

static void put_garbage(sd_bus_message *m, const FakeUnit *u UNUSED)
{
    put(m, "ActiveState", "u", &(uint32_t){7});
}

static void test_garbage_signal_changes_nothing(void **state UNUSED)
{
    FakeUnit *u = fake_add("one.service");

    watch("one.service", NULL);
    connect_and_wait();
    unsigned asked = n_get_all;
    fake_signal(u, MANAGER ".Unit", put_garbage);
    run_until(&n_get_all, asked + 1); /* asked what is true instead */
    run_for(20000);
    assert_int_equal(n_units, 1);
    assert_int_equal(last_facts.active, ACTIVE_ACTIVE);
    assert_int_equal(last_cause, CAUSE_NONE);
}

static void test_hostile_texts(void **state UNUSED)
{
    FakeUnit *u = fake_add("one.service");

    u->active = "\x1b[31mactive";
    u->load = "none of the known";
    u->sub = "\x1b]0;title\x07 and much longer than twenty bytes";
    u->result = "\xE2\x80\xAE right to left";
    u->file_state = "0123456789012345678901234567890123456789";
    watch("one.service", NULL);
    connect_and_wait();
    assert_int_equal(last_facts.active, ACTIVE_UNKNOWN);
    assert_int_equal(last_facts.load, LOAD_UNKNOWN);
    assert_string_equal(last_facts.sub, "?]0;title? and much");
    assert_string_equal(last_facts.result, "? right to left");
    assert_string_equal(last_facts.file_state, "012345678901234");
}

static void test_many_units_in_slices(void **state UNUSED)
{
    char name[64];

    for (unsigned i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "u%03u.service", i);
        fake_add(name);
        watch(name, NULL);
    }
    connect_and_wait();
    assert_int_equal(n_units, 600);
    assert_int_equal(n_list, 3);
    mode = MODE_STASH;
    fake_manager_signal("Reloading", "b", 0);
    for (int i = 0; i < 2000 && n_units < 600 + 1; i++) {
        run_for(1000);
        stash_answer();
        if (n_checked == 2)
            break;
    }
    assert_int_equal(n_checked, 2);
    assert_true(most_stashed <= UNIT_BUS_IN_FLIGHT_MAX + 1); /* and the slice */
}

static UnitWatch *watches[3];

static void on_unit_that_unwatches(void *userdata UNUSED, UnitScope scope UNUSED,
                                   void *watch_userdata UNUSED, const UnitFacts *facts UNUSED,
                                   bool is_event UNUSED)
{
    n_units++;
    for (size_t i = 0; i < ELEMENTS(watches); i++)
        watches[i] = unit_bus_unwatch(bus, watches[i]);
}

static void test_unwatch_from_within(void **state UNUSED)
{
    static const UnitBusOps rude = {
        .state = on_state, .unit = on_unit_that_unwatches, .checked = on_checked};

    bus = unit_bus_free(bus);
    assert_int_equal(unit_bus_new(event, SCOPE_USER, &rude, NULL, &bus), 0);
    fake_add("one.service");
    for (size_t i = 0; i < ELEMENTS(watches); i++)
        watches[i] = watch(i == 1 ? "two.service" : "one.service", NULL);
    connect_and_wait();
    assert_int_equal(n_units, 1);
    check_and_wait();
    assert_int_equal(n_list, 2);
}

static void test_second_watch_learns_what_is_known(void **state UNUSED)
{
    int second;

    fake_add("one.service");
    UnitWatch *w = watch("one.service", NULL);
    connect_and_wait();
    watch("one.service", &second);
    run_until(&n_units, 3);
    unit_bus_unwatch(bus, w);
    check_and_wait();
    assert_int_equal(last_facts.active, ACTIVE_ACTIVE);
}

/* The unit that a check waits for goes away: the next check still runs. */
static void test_unwatch_while_its_details_are_out(void **state UNUSED)
{
    fake_add("one.service");
    UnitWatch *w = watch("one.service", NULL);
    connect_and_wait();
    fake_units[0].active = "failed";
    unit_bus_check(bus, clock_now());
    run_until(&n_list, 2);
    mode = MODE_STASH;
    while (n_stash == 0)
        assert_true(sd_event_run(event, PATIENCE_US) > 0);
    assert_null(unit_bus_unwatch(bus, w));
    assert_null(unit_bus_unwatch(bus, NULL));
    mode = MODE_GOOD;
    stash_answer();
    check_and_wait();
    check_and_wait();
    assert_int_equal(last_cause, CAUSE_NONE);
}

static void test_disconnect_and_connect_with_calls_out(void **state UNUSED)
{
    fake_add("one.service");
    watch("one.service", NULL);
    mode = MODE_STASH;
    assert_int_equal(unit_bus_connect(bus, address), 0);
    while (n_stash == 0)
        assert_true(sd_event_run(event, PATIENCE_US) > 0);
    unit_bus_disconnect(bus, CAUSE_HOST_TIMEOUT);
    assert_int_equal(last_cause, CAUSE_HOST_TIMEOUT);
    mode = MODE_GOOD;
    stash_answer();
    run_for(20000);
    assert_int_equal(n_units, 0);
    connect_and_wait();
    assert_int_equal(n_units, 1);
    unit_bus_check(bus, clock_now()); /* still out at tear_down */
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_no_bus),
        CASE(test_manager_comes_and_goes),
        CASE(test_bus_dies),
        CASE(test_details),
        CASE(test_check_of_nothing_and_of_the_same),
        CASE(test_level_check_finds_a_change),
        CASE(test_missing_unit),
        CASE(test_event_is_one_judgement),
        CASE(test_unit_that_was_missing_starts),
        CASE(test_alias_is_watched_by_its_real_path),
        CASE(test_restart_without_a_signal),
        CASE(test_timer_whose_service_failed),
        CASE(test_reload_and_files_changed_read_all_again),
        CASE(test_silence_and_the_late_answer),
        CASE(test_silent_details),
        CASE(test_lies_are_a_bus_error),
        CASE(test_one_refused_unit),
        CASE(test_garbage_signal_changes_nothing),
        CASE(test_hostile_texts),
        CASE(test_many_units_in_slices),
        CASE(test_unwatch_from_within),
        CASE(test_second_watch_learns_what_is_known),
        CASE(test_unwatch_while_its_details_are_out),
        CASE(test_disconnect_and_connect_with_calls_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
