/* A systemd manager as a test plays it on a private bus: as it should be, slow, silent, and lying.
 *
 * It shares the event loop with what it is shown to, and answers from `fake_units`; `mode` says
 * how. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "api/probe-unit-props.h"
#include "api/probe-unit.h"
#include "basic/macro.h"

#define MANAGER      "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define UNIT_PREFIX  "/org/freedesktop/systemd1/unit"
#define PATIENCE_US  (20U * USEC_PER_SEC)

typedef enum Mode {
    MODE_GOOD,
    MODE_STASH,       /* keeps calls for later */
    MODE_SHORT_ROWS,  /* a row less than asked */
    MODE_LONG_ROWS,   /* a row more */
    MODE_WRONG_ROWS,  /* another signature */
    MODE_WRONG_PATHS, /* rows with an object path outside of the units */
    MODE_WRONG_TYPES, /* details with MainPID as text */
    MODE_NO_STATE,    /* details without ActiveState */
    MODE_MANY_PROPS,  /* details without end */
    MODE_HUGE,        /* details of many MiB */
    MODE_REFUSE,      /* AccessDenied for everything */
    MODE_REFUSE_UNIT, /* an error for each GetAll */
} Mode;

typedef struct FakeUnit {
    char name[300];
    const char *load, *active, *sub, *result, *control_group, *triggers, *file_state, *type;
    const char *alias_path;
    uint32_t main_pid, n_restarts;
    int32_t exec_code, exec_status;
    uint64_t changed_us;
    uint8_t id;
} FakeUnit;

static FakeUnit fake_units[1000];
static size_t n_fake;
static Mode mode;
static sd_bus_message *stash[2000];
static size_t n_stash, most_stashed;
static unsigned n_subscribe, n_list, n_get_all, n_get;

static sd_event *event;
static sd_bus *fake;
static char address[256]; /* of the bus */

static FakeUnit *fake_add(const char *name)
{
    FakeUnit *u = &fake_units[n_fake++];

    *u = (FakeUnit){.load = "loaded",
                    .active = "active",
                    .sub = "running",
                    .result = "success",
                    .control_group = "/app.slice/x.service",
                    .file_state = "enabled",
                    .type = "simple",
                    .main_pid = 42,
                    .changed_us = 1700000000123456,
                    .id = 1};
    snprintf(u->name, sizeof u->name, "%s", name);
    return u;
}

static FakeUnit *fake_find(const char *name)
{
    static FakeUnit missing = {.load = "not-found",
                               .active = "inactive",
                               .sub = "dead",
                               .result = "success",
                               .type = "simple"};

    for (size_t i = 0; i < n_fake; i++)
        if (strcmp(fake_units[i].name, name) == 0)
            return &fake_units[i];
    snprintf(missing.name, sizeof missing.name, "%s", name);
    return &missing;
}

static FakeUnit *fake_by_path(const char *path)
{
    CLEANUP_FREE char *name = NULL;

    for (size_t i = 0; i < n_fake; i++)
        if (fake_units[i].alias_path && strcmp(fake_units[i].alias_path, path) == 0)
            return &fake_units[i];
    assert_true(sd_bus_path_decode(path, UNIT_PREFIX, &name) > 0);
    return fake_find(name);
}

static void put(sd_bus_message *m, const char *key, const char *type, const void *value)
{
    assert_true(sd_bus_message_open_container(m, 'e', "sv") >= 0);
    assert_true(sd_bus_message_append_basic(m, 's', key) >= 0);
    assert_true(sd_bus_message_open_container(m, 'v', type) >= 0);
    if (strcmp(type, "ay") == 0)
        assert_true(sd_bus_message_append_array(m, 'y', value, 16) >= 0);
    else
        assert_true(sd_bus_message_append_basic(m, type[0], value) >= 0);
    assert_true(sd_bus_message_close_container(m) >= 0);
    assert_true(sd_bus_message_close_container(m) >= 0);
}

static void put_id(sd_bus_message *m, const FakeUnit *u)
{
    uint8_t id[16] = {u->id};

    put(m, "InvocationID", "ay", id);
}

static void put_service(sd_bus_message *m, const FakeUnit *u)
{
    int yes = 1;

    if (mode == MODE_WRONG_TYPES)
        put(m, "MainPID", "s", "42");
    else
        put(m, "MainPID", "u", &u->main_pid);
    put(m, "NRestarts", "u", &u->n_restarts);
    put(m, "Result", "s", u->result);
    put(m, "ExecMainCode", "i", &u->exec_code);
    put(m, "ExecMainStatus", "i", &u->exec_status);
    put(m, "ExecMainExitTimestamp", "t", &u->changed_us);
    put(m, "RemainAfterExit", "b", &yes);
    put(m, "Type", "s", u->type);
    if (u->control_group)
        put(m, "ControlGroup", "s", u->control_group);
    if (u->triggers)
        put(m, "Unit", "s", u->triggers);
}

static void put_unit(sd_bus_message *m, const FakeUnit *u)
{
    put(m, "SubState", "s", u->sub);
    if (mode != MODE_NO_STATE)
        put(m, "ActiveState", "s", u->active);
    put(m, "StateChangeTimestamp", "t", &u->changed_us);
    put(m, "ActiveEnterTimestamp", "t", &u->changed_us);
    put(m, "InactiveEnterTimestamp", "t", &(uint64_t){UINT64_MAX});
    put_id(m, u);
}

static void put_hostile(sd_bus_message *m)
{
    char key[32];
    size_t size = 64U << 10;
    CLEANUP_FREE char *big = calloc(1, size + 1);

    memset(big, 'x', size);
    for (unsigned i = 0; i < (mode == MODE_MANY_PROPS ? UNIT_PROPS_MAX + 1U : 100U); i++) {
        snprintf(key, sizeof key, "Property%u", i);
        put(m, key, "s", mode == MODE_HUGE ? big : "");
    }
}

static void reply_get_all(sd_bus_message *r, const FakeUnit *u)
{
    assert_true(sd_bus_message_open_container(r, 'a', "{sv}") >= 0);
    put_unit(r, u);
    put(r, "LoadState", "s", u->load);
    put(r, "Description", "s", "a property that nobody reads");
    put(r, "UnitFileState", "s", u->file_state ? u->file_state : "");
    put_service(r, u);
    if (mode == MODE_MANY_PROPS || mode == MODE_HUGE)
        put_hostile(r);
    assert_true(sd_bus_message_close_container(r) >= 0);
}

static void reply_get(sd_bus_message *call, sd_bus_message *r)
{
    const char *interface, *property;
    uint8_t id[16] = {0};

    assert_true(sd_bus_message_read(call, "ss", &interface, &property) > 0);
    if (strcmp(property, "InvocationID") != 0) {
        assert_string_equal(property, "NFailedUnits");
        assert_true(sd_bus_message_append(r, "v", "u", 0U) >= 0);
        return;
    }
    id[0] = fake_by_path(sd_bus_message_get_path(call))->id;
    assert_true(sd_bus_message_open_container(r, 'v', "ay") >= 0);
    assert_true(sd_bus_message_append_array(r, 'y', id, 16) >= 0);
    assert_true(sd_bus_message_close_container(r) >= 0);
}

static void row_put(sd_bus_message *r, const char *name)
{
    const FakeUnit *u = fake_find(name);
    CLEANUP_FREE char *path = NULL;

    assert_true(sd_bus_path_encode(UNIT_PREFIX, name, &path) >= 0);
    assert_true(sd_bus_message_append(r, "(ssssssouso)", name, "text", u->load, u->active, u->sub,
                                      "",
                                      mode == MODE_WRONG_PATHS ? "/etc"
                                      : u->alias_path          ? u->alias_path
                                                               : path,
                                      0U, "", "/") >= 0);
}

static void reply_list(sd_bus_message *call, sd_bus_message *r)
{
    const char *name = NULL;
    unsigned n = 0;

    if (mode == MODE_WRONG_ROWS) {
        assert_true(sd_bus_message_append(r, "s", "no rows") >= 0);
        return;
    }
    assert_true(sd_bus_message_enter_container(call, 'a', "s") > 0);
    assert_true(sd_bus_message_open_container(r, 'a', "(ssssssouso)") >= 0);
    while (sd_bus_message_read(call, "s", &name) > 0)
        if (n++ > 0 || mode != MODE_SHORT_ROWS)
            row_put(r, name);
    assert_true(n <= UNIT_BUS_SLICE);
    if (mode == MODE_LONG_ROWS)
        row_put(r, "one.service");
    assert_true(sd_bus_message_close_container(r) >= 0);
}

static void fake_answer(sd_bus_message *call)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *r = NULL;
    const char *member = sd_bus_message_get_member(call);

    assert_false(sd_bus_message_get_auto_start(call));
    if (strcmp(member, "Subscribe") == 0) {
        n_subscribe++;
        return;
    }
    if (mode == MODE_REFUSE || (mode == MODE_REFUSE_UNIT && strcmp(member, "GetAll") == 0)) {
        sd_bus_reply_method_errorf(call, SD_BUS_ERROR_ACCESS_DENIED, "no");
        return;
    }
    assert_true(sd_bus_message_new_method_return(call, &r) >= 0);
    if (strcmp(member, "ListUnitsByNames") == 0) {
        n_list++;
        reply_list(call, r);
    } else if (strcmp(member, "GetAll") == 0) {
        n_get_all++;
        reply_get_all(r, fake_by_path(sd_bus_message_get_path(call)));
    } else {
        n_get++;
        reply_get(call, r);
    }
    assert_true(sd_bus_send(fake, r, NULL) >= 0);
}

static int on_call(sd_bus_message *m, void *userdata UNUSED, sd_bus_error *e UNUSED)
{
    const char *path = sd_bus_message_get_path(m);

    if (!sd_bus_message_is_method_call(m, NULL, NULL) || strncmp(path, MANAGER_PATH, 24) != 0)
        return 0;
    if (mode != MODE_STASH) {
        fake_answer(m);
        return 1;
    }
    assert_true(n_stash < ELEMENTS(stash));
    stash[n_stash++] = sd_bus_message_ref(m);
    most_stashed = MAX(most_stashed, n_stash);
    return 1;
}

UNUSED static void stash_answer(void)
{
    size_t n = n_stash;

    n_stash = 0;
    for (size_t i = 0; i < n; i++) {
        fake_answer(stash[i]);
        sd_bus_message_unref(stash[i]);
    }
}

static int on_name(sd_bus_message *m, void *userdata, sd_bus_error *e UNUSED)
{
    assert_false(sd_bus_message_is_method_error(m, NULL));
    *(bool *)userdata = true;
    return 0;
}

static void fake_start(void)
{
    bool has_name = false;

    assert_true(sd_bus_new(&fake) >= 0);
    assert_true(sd_bus_set_address(fake, address) >= 0);
    assert_true(sd_bus_set_bus_client(fake, true) >= 0);
    assert_true(sd_bus_start(fake) >= 0);
    assert_true(sd_bus_attach_event(fake, event, 0) >= 0);
    assert_true(sd_bus_add_filter(fake, NULL, on_call, NULL) >= 0);
    assert_true(sd_bus_request_name_async(fake, NULL, MANAGER, 0, on_name, &has_name) >= 0);
    while (!has_name)
        assert_true(sd_event_run(event, PATIENCE_US) > 0);
}

UNUSED static void fake_stop(void)
{
    for (size_t i = 0; i < n_stash; i++)
        sd_bus_message_unref(stash[i]);
    n_stash = 0;
    fake = sd_bus_close_unref(fake);
}

static void fake_signal(const FakeUnit *u, const char *interface,
                        void (*fill)(sd_bus_message *m, const FakeUnit *u))
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    CLEANUP_FREE char *path = NULL;

    assert_true(sd_bus_path_encode(UNIT_PREFIX, u->name, &path) >= 0);
    assert_true(sd_bus_message_new_signal(fake, &m, u->alias_path ? u->alias_path : path,
                                          "org.freedesktop.DBus.Properties",
                                          "PropertiesChanged") >= 0);
    assert_true(sd_bus_message_append(m, "s", interface) >= 0);
    assert_true(sd_bus_message_open_container(m, 'a', "{sv}") >= 0);
    fill(m, u);
    assert_true(sd_bus_message_close_container(m) >= 0);
    assert_true(sd_bus_message_append(m, "as", 0) >= 0);
    assert_true(sd_bus_send(fake, m, NULL) >= 0);
}

/* As systemd does it: the type's interface first, the Unit after it. */
static void fake_changed(const FakeUnit *u)
{
    fake_signal(u, MANAGER ".Service", put_service);
    fake_signal(u, MANAGER ".Unit", put_unit);
}

UNUSED static void fake_manager_signal(const char *member, const char *types, int value)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;

    assert_true(sd_bus_message_new_signal(fake, &m, MANAGER_PATH, MANAGER ".Manager", member) >= 0);
    if (*types)
        assert_true(sd_bus_message_append(m, types, value) >= 0);
    assert_true(sd_bus_send(fake, m, NULL) >= 0);
}
