/* The reader of systemd's D-Bus dictionaries.
 *
 * One table maps a property's name to its type and its place in UnitFacts; a message that gives a
 * known property another type than org.freedesktop.systemd1(5) says is refused whole. The same
 * table serves GetAll("") (all interfaces of a unit in one answer) and PropertiesChanged (the few
 * that changed), because the names do not collide between the Unit, Service, Socket and Timer
 * interfaces for anything we read.
 *
 * sd-bus tells nobody how long a message is. What it hands out are pointers into the one block that
 * holds the body, so the distance between the first key and the present one is the length read so
 * far: that is what is held against the maximum. (sd-bus itself refuses messages above 128 MiB.) */
#include "api/probe-unit-props.h"

#include <string.h>

#include "basic/macro.h"
#include "basic/text.h"

#define UNIT_PATH_PREFIX "/org/freedesktop/systemd1/unit/"
#define TIMESTAMP_MAX_US (UINT64_C(253402300799) * USEC_PER_SEC) /* the end of year 9999 */

typedef enum PropType {
    PROP_TEXT,
    PROP_LOAD,
    PROP_ACTIVE,
    PROP_ONESHOT,
    PROP_BOOL,
    PROP_U32,
    PROP_I32,
    PROP_TIME,
    PROP_ID,
    PROP_CONTROL_GROUP,
    PROP_TRIGGERS,
} PropType;

typedef struct Prop {
    const char *name;
    PropType type;
    size_t offset;
    size_t size;
} Prop;

#define FACT(member) offsetof(UnitFacts, member), sizeof(((UnitFacts *)NULL)->member)

/* sorted by name */
static const Prop props[] = {
    {"ActiveEnterTimestamp", PROP_TIME, FACT(active_enter_ms)},
    {"ActiveState", PROP_ACTIVE, FACT(active)},
    {"ControlGroup", PROP_CONTROL_GROUP, 0, 0},
    {"ExecMainCode", PROP_I32, FACT(exec_code)},
    {"ExecMainExitTimestamp", PROP_TIME, FACT(exec_exit_ms)},
    {"ExecMainStatus", PROP_I32, FACT(exec_status)},
    {"InactiveEnterTimestamp", PROP_TIME, FACT(inactive_enter_ms)},
    {"InvocationID", PROP_ID, FACT(invocation)},
    {"LoadState", PROP_LOAD, FACT(load)},
    {"MainPID", PROP_U32, FACT(main_pid)},
    {"NRestarts", PROP_U32, FACT(n_restarts)},
    {"RemainAfterExit", PROP_BOOL, FACT(remain_after_exit)},
    {"Result", PROP_TEXT, FACT(result)},
    {"StateChangeTimestamp", PROP_TIME, FACT(state_change_ms)},
    {"SubState", PROP_TEXT, FACT(sub)},
    {"Type", PROP_ONESHOT, FACT(oneshot)},
    {"Unit", PROP_TRIGGERS, 0, 0},
    {"UnitFileState", PROP_TEXT, FACT(file_state)},
};

static const char *const prop_signature[] = {
    [PROP_TEXT] = "s", [PROP_LOAD] = "s",          [PROP_ACTIVE] = "s",   [PROP_ONESHOT] = "s",
    [PROP_BOOL] = "b", [PROP_U32] = "u",           [PROP_I32] = "i",      [PROP_TIME] = "t",
    [PROP_ID] = "ay",  [PROP_CONTROL_GROUP] = "s", [PROP_TRIGGERS] = "s",
};

static int prop_compare(const void *key, const void *element)
{
    return strcmp(key, ((const Prop *)element)->name);
}

static LoadState load_of(const char *s)
{
    LoadState load = load_state_from_string(s);

    return load == LOAD_INVALID ? LOAD_UNKNOWN : load;
}

/* "refreshing" came with systemd 257: a reload of a running unit's mounts. */
static ActiveState active_of(const char *s)
{
    ActiveState active = active_state_from_string(s);

    if (active == ACTIVE_INVALID)
        return strcmp(s, "refreshing") == 0 ? ACTIVE_RELOADING : ACTIVE_UNKNOWN;
    return active;
}

static void text_set(const Prop *p, const char *s, UnitFacts *facts, UnitExtras *extras)
{
    switch (p->type) {
    case PROP_LOAD:
        facts->load = load_of(s);
        extras->seen |= SEEN_LOAD;
        break;
    case PROP_ACTIVE:
        facts->active = active_of(s);
        extras->seen |= SEEN_ACTIVE;
        break;
    case PROP_ONESHOT: facts->oneshot = strcmp(s, "oneshot") == 0; break;
    case PROP_CONTROL_GROUP:
        text_clean(extras->control_group, sizeof extras->control_group, s, strlen(s));
        extras->seen |= SEEN_CONTROL_GROUP;
        break;
    case PROP_TRIGGERS:
        text_clean(extras->triggers, sizeof extras->triggers, s, strlen(s));
        extras->seen |= SEEN_TRIGGERS;
        break;
    default: text_clean((char *)facts + p->offset, p->size, s, strlen(s)); break;
    }
}

static int id_read(sd_bus_message *m, uint8_t ret[16])
{
    const void *bytes;
    size_t n;

    if (sd_bus_message_read_array(m, 'y', &bytes, &n) < 0 || (n != 0 && n != 16))
        return -EBADMSG;
    if (n == 16)
        memcpy(ret, bytes, 16);
    else
        memset(ret, 0, 16);
    return 0;
}

/* The value of a known property, inside its variant. */
static int value_read(sd_bus_message *m, const Prop *p, UnitFacts *facts, UnitExtras *extras)
{
    void *field = (char *)facts + p->offset;
    union {
        const char *s;
        uint64_t t;
        uint32_t u;
        int32_t i;
        int b;
    } v;

    if (p->type == PROP_ID)
        return id_read(m, field);
    if (sd_bus_message_read_basic(m, prop_signature[p->type][0], &v) <= 0)
        return -EBADMSG;
    switch (p->type) {
    case PROP_BOOL: *(bool *)field = v.b != 0; break;
    case PROP_U32: *(uint32_t *)field = v.u; break;
    case PROP_I32: *(int32_t *)field = v.i; break;
    case PROP_TIME:
        *(int64_t *)field = v.t > TIMESTAMP_MAX_US ? 0 : (int64_t)(v.t / USEC_PER_MSEC);
        break;
    default: text_set(p, v.s, facts, extras); break;
    }
    return 0;
}

static int variant_read(sd_bus_message *m, const Prop *p, UnitFacts *facts, UnitExtras *extras)
{
    if (sd_bus_message_enter_container(m, 'v', prop_signature[p->type]) <= 0)
        return -EBADMSG;
    int r = value_read(m, p, facts, extras);
    if (r < 0)
        return r;
    return sd_bus_message_exit_container(m) < 0 ? -EBADMSG : 0;
}

static int entry_read(sd_bus_message *m, const char *key, UnitFacts *facts, UnitExtras *extras)
{
    const Prop *p = bsearch(key, props, ELEMENTS(props), sizeof props[0], prop_compare);

    if (p)
        return variant_read(m, p, facts, extras);
    return sd_bus_message_skip(m, "v") < 0 ? -EBADMSG : 0;
}

int unit_props_merge(sd_bus_message *m, size_t max, UnitFacts *facts, UnitExtras *extras)
{
    const char *first = NULL, *key;
    unsigned n = 0;
    int r;

    if (sd_bus_message_enter_container(m, 'a', "{sv}") <= 0)
        return -EBADMSG;
    while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
        if (sd_bus_message_read_basic(m, 's', &key) <= 0)
            return -EBADMSG;
        if (!first)
            first = key;
        if (++n > UNIT_PROPS_MAX || (uintptr_t)key - (uintptr_t)first > max)
            return -EFBIG;
        r = entry_read(m, key, facts, extras);
        if (r < 0)
            return r;
        if (sd_bus_message_exit_container(m) < 0)
            return -EBADMSG;
    }
    return r < 0 || sd_bus_message_exit_container(m) < 0 ? -EBADMSG : 0;
}

int unit_props_invocation(sd_bus_message *m, uint8_t ret[16])
{
    if (sd_bus_message_enter_container(m, 'v', "ay") <= 0)
        return -EBADMSG;
    return id_read(m, ret);
}

int unit_row_read(sd_bus_message *m, UnitRow *ret)
{
    const char *id, *description, *load, *active, *sub, *following, *path, *job_type, *job_path;
    uint32_t job;
    int r = sd_bus_message_read(m, "(ssssssouso)", &id, &description, &load, &active, &sub,
                                &following, &path, &job, &job_type, &job_path);

    if (r <= 0)
        return r < 0 ? -EBADMSG : 0;
    if (strncmp(path, UNIT_PATH_PREFIX, strlen(UNIT_PATH_PREFIX)) != 0 ||
        strlen(path) >= UNIT_PATH_MAX)
        return -EBADMSG;
    ret->load = load_of(load);
    ret->active = active_of(active);
    text_clean(ret->sub, sizeof ret->sub, sub, strlen(sub));
    ret->path = path;
    return 1;
}
