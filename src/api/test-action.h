/* A fleet of one PC, a store on disk, and a systemd manager at the other end of a socket pair that
 * counts every call, as the tests of actions need them. */
#pragma once

#include "api/test-store.h"

#include <poll.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "api/action.h"
#include "api/store.h"
#include "basic/clock.h"

#define MANAGER      "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define JOB_PATH     "/org/freedesktop/systemd1/job/7"
#define APPS         5

static struct {
    Scratch *scratch;
    sd_event *event;
    sd_bus *bus;     /* the daemon's end; NULL: there is none */
    sd_bus *manager; /* the other */
    Fleet *fleet;
    FleetPc *pc;
    Store *store;
    Actions *actions;
    RegistryPc pcs[1];
    Registry registry;
    Want wants[APPS];
    /* what the manager got, and does */
    unsigned n_calls, n_jobs, n_resets;
    char last_call[64], last_unit[64], last_mode[16];
    bool silent;            /* takes calls without an answer */
    bool early;             /* says that the job has ended before it answers the call */
    const char *error;      /* answers with it */
    const char *odd;        /* answers with a string instead of a path */
    const char *job_result; /* NULL: the job does not end */
    const char *unit_result;
    int32_t exec_code, exec_status;
    bool mute_reason; /* no word on the unit's properties */
    /* what the waiter was told */
    unsigned n_done;
    ActionResult result;
} w;

static sd_bus *w_bus(void *userdata UNUSED, FleetPc *pc UNUSED, UnitScope scope UNUSED)
{
    return w.bus;
}

UNUSED static void w_done(void *userdata, const ActionResult *result)
{
    assert_ptr_equal(userdata, &w);
    w.n_done++;
    w.result = *result;
}

/* ---- the manager ---- */

static void w_send(sd_bus_message *m)
{
    assert_true(sd_bus_message_set_sender(m, MANAGER) >= 0);
    assert_true(sd_bus_send(w.manager, m, NULL) >= 0);
}

UNUSED static void w_job_removed(const char *path, const char *result)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;

    assert_true(sd_bus_message_new_signal(w.manager, &m, MANAGER_PATH, MANAGER ".Manager",
                                          "JobRemoved") >= 0);
    assert_true(sd_bus_message_append(m, "uoss", 7U, path, "any.service", result) >= 0);
    w_send(m);
}

static void w_answer_job(sd_bus_message *call)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *r = NULL;
    const char *unit, *mode;

    w.n_jobs++;
    assert_true(sd_bus_message_read(call, "ss", &unit, &mode) > 0);
    snprintf(w.last_unit, sizeof w.last_unit, "%s", unit);
    snprintf(w.last_mode, sizeof w.last_mode, "%s", mode);
    if (w.silent)
        return;
    if (w.error) {
        sd_bus_reply_method_errorf(call, "org.freedesktop.systemd1.NoSuchUnit", "%s", w.error);
        return;
    }
    if (w.early && w.job_result)
        w_job_removed(JOB_PATH, w.job_result);
    assert_true(sd_bus_message_new_method_return(call, &r) >= 0);
    if (w.odd)
        assert_true(sd_bus_message_append(r, "s", w.odd) >= 0);
    else
        assert_true(sd_bus_message_append(r, "o", JOB_PATH) >= 0);
    w_send(r);
    w_job_removed("/org/freedesktop/systemd1/job/99", "failed"); /* somebody else's */
    if (!w.early && w.job_result)
        w_job_removed(JOB_PATH, w.job_result);
}

static void w_answer_reason(sd_bus_message *call)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *r = NULL;

    if (w.mute_reason)
        return;
    assert_true(sd_bus_message_new_method_return(call, &r) >= 0);
    assert_true(sd_bus_message_append(r, "a{sv}", 4, "Result", "s", w.unit_result, "Nobody", "as",
                                      1, "reads this", "ExecMainCode", "i", w.exec_code,
                                      "ExecMainStatus", "i", w.exec_status) >= 0);
    w_send(r);
}

static int w_on_call(sd_bus_message *m, void *userdata UNUSED, sd_bus_error *e UNUSED)
{
    const char *member = sd_bus_message_get_member(m);

    if (!sd_bus_message_is_method_call(m, NULL, NULL))
        return 0;
    w.n_calls++;
    snprintf(w.last_call, sizeof w.last_call, "%s", member);
    if (strcmp(member, "ResetFailedUnit") == 0)
        w.n_resets++;
    else if (strcmp(member, "GetAll") == 0)
        w_answer_reason(m);
    else
        w_answer_job(m);
    return 1;
}

static void w_open_bus(void)
{
    int fds[2];
    sd_id128_t id = {.bytes = {1}};

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_true(sd_bus_new(&w.manager) >= 0);
    assert_true(sd_bus_set_fd(w.manager, fds[0], fds[0]) >= 0);
    assert_true(sd_bus_set_server(w.manager, true, id) >= 0);
    assert_true(sd_bus_set_anonymous(w.manager, true) >= 0);
    assert_true(sd_bus_start(w.manager) >= 0);
    assert_true(sd_bus_attach_event(w.manager, w.event, 0) >= 0);
    assert_true(sd_bus_add_filter(w.manager, NULL, w_on_call, NULL) >= 0);
    assert_true(sd_bus_new(&w.bus) >= 0);
    assert_true(sd_bus_set_fd(w.bus, fds[1], fds[1]) >= 0);
    assert_true(sd_bus_set_anonymous(w.bus, true) >= 0);
    assert_true(sd_bus_start(w.bus) >= 0);
    assert_true(sd_bus_attach_event(w.bus, w.event, 0) >= 0);
}

UNUSED static void w_close_bus(void)
{
    w.bus = sd_bus_close_unref(w.bus);
    w.manager = sd_bus_close_unref(w.manager);
}

/* ---- the fleet ---- */

static void w_transition(void *userdata UNUSED, FleetPc *pc UNUSED, Service *s UNUSED,
                         const TransitionRow *row UNUSED, const Change *change UNUSED)
{
}

static void w_check(void *userdata UNUSED, Service *s UNUSED, int64_t ts_ms UNUSED)
{
}

static void w_hour(void *userdata UNUSED, Service *s UNUSED, int64_t hour_ms UNUSED,
                   uint32_t healthy_ms UNUSED, uint32_t observed_ms UNUSED, uint32_t n UNUSED)
{
}

static void w_news(void *userdata UNUSED)
{
}

static void w_fleet_change(void *userdata UNUSED, FleetPc *pc UNUSED, Service *s UNUSED)
{
}

static const FleetOps w_ops = {
    .transition = w_transition,
    .check = w_check,
    .hour = w_hour,
    .changed = w_news,
    .removed = w_fleet_change,
    .added = w_fleet_change,
};

/* "web", "sock" and "own" have units, "sys" one of the system's manager, "port" none. */
static void w_open_fleet(void)
{
    static char pc_id[] = "alpha";
    static const Want wants[APPS] = {
        {.app_id = "own", .pc_id = pc_id, .unit = "own.service", .timeout_ms = 2000},
        {.app_id = "port", .pc_id = pc_id, .port = 80, .timeout_ms = 2000},
        {.app_id = "sock", .pc_id = pc_id, .unit = "sock.socket", .timeout_ms = 2000},
        {.app_id = "sys",
         .pc_id = pc_id,
         .unit = "ssh.service",
         .scope = SCOPE_SYSTEM,
         .timeout_ms = 2000},
        {.app_id = "web", .pc_id = pc_id, .unit = "web.service", .timeout_ms = 2000},
    };

    memcpy(w.wants, wants, sizeof wants);
    w.pcs[0].pc_id = pc_id;
    w.registry = (Registry){.pcs = w.pcs, .n_pcs = 1};
    assert_int_equal(fleet_new(&w_ops, NULL, 10000, 1700000000, &w.fleet), 0);
    assert_int_equal(fleet_apply(w.fleet, &w.registry, &w.pcs[0], w.wants, APPS, clock_now()), 0);
    w.pc = fleet_pc_at(w.fleet, 0);
    w.pc->facts = (PcFacts){.known = true, .reachable = true};
    fleet_service(w.fleet, "own", "alpha")->facts.unit.main_pid = (uint32_t)getpid();
}

UNUSED static int w_setup(void **state)
{
    char note[512];

    memset(&w, 0, sizeof w);
    w.unit_result = "success";
    w.job_result = "done";
    if (scratch_setup((void **)&w.scratch) < 0)
        return -1;
    *state = w.scratch;
    assert_true(sd_event_new(&w.event) >= 0);
    w_open_bus();
    w_open_fleet();
    assert_int_equal(store_open(w.scratch->path, 366, 3660, note, sizeof note, &w.store), 0);
    assert_int_equal(actions_new(w.fleet, w.store, w_bus, NULL, &w.actions), 0);
    return 0;
}

UNUSED static int w_teardown(void **state)
{
    actions_free(w.actions);
    w_close_bus();
    fleet_free(w.fleet);
    store_close(w.store);
    sd_event_unref(w.event);
    return scratch_teardown(state);
}

static Service *w_service(const char *app_id)
{
    Service *s = fleet_service(w.fleet, app_id, "alpha");

    assert_non_null(s);
    return s;
}

/* Turns the loop once, as the manager does. */
UNUSED static void w_turn(void)
{
    assert_true(sd_event_run(w.event, 2000) >= 0);
    Now now = clock_now();
    if (now.mono_us >= actions_next_us(w.actions))
        actions_run(w.actions, now);
}

UNUSED static const char *w_sql(const char *sql)
{
    assert_int_equal(store_flush(w.store, 10000), 0);
    return file_text(w.scratch->path, sql);
}
