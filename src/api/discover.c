/* Proposes what to watch.
 *
 * Asks a PC's user manager over its transport's bus (asynchronously, like everything on D-Bus here)
 * for its unit files, takes those a person would call theirs, and finds their ports by the cgroup
 * that holds each listening socket. A service that a timer or a socket starts is proposed as that
 * timer or socket: it is what should be active. Nothing is written unless asked for. */
#include "api/discover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "api/cli-options.h"
#include "api/paths.h"
#include "api/reconcile.h"
#include "api/registry-yaml.h"
#include "api/way.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/name.h"
#include "common/sentence.h"

#define CANDIDATES_MAX 2000U
#define DEADLINE_US    (25U * USEC_PER_SEC)
#define MANAGER        "org.freedesktop.systemd1"
#define MANAGER_PATH   "/org/freedesktop/systemd1"

typedef struct Discovery Discovery;

typedef struct Candidate {
    Discovery *discovery;
    char unit[UNIT_MAX + 1];
    char triggers[UNIT_MAX + 1]; /* timer, socket: the service it starts */
    uint16_t port;
} Candidate;

struct Discovery {
    Way way;
    bool is_over; /* the present round of questions has its answers, or failed */
    sd_bus *bus;
    bool all;
    Candidate *candidates;
    size_t n;
    unsigned pending; /* calls that have not answered yet */
    int error;
    char *sentence;
    size_t size;
};

static void fail(Discovery *d, int error, const char *sentence)
{
    if (d->error == 0) {
        d->error = error;
        text_copy(d->sentence, d->size, sentence);
    }
    d->is_over = true;
}

static void fail_by_cause(Discovery *d, int error, Cause cause)
{
    char sentence[SENTENCE_MAX];

    fail(d, error, sentence_translate(sentence, cause_sentence(cause)));
}

static void answered(Discovery *d)
{
    if (--d->pending == 0)
        d->is_over = true;
}

/* ---- which units ---- */

static bool is_hand_written(const char *path)
{
    return strstr(path, "/.config/systemd/user/") || strncmp(path, "/etc/systemd/user/", 18) == 0;
}

static bool is_candidate(const Discovery *d, const char *name, const char *path, const char *state)
{
    UnitKind kind = unit_kind_of(name);

    if (kind == KIND_OTHER || strstr(name, "@.") || !name_is_unit(name))
        return false;
    if (strcmp(state, "masked") == 0 || strcmp(state, "alias") == 0)
        return false;
    if (d->all && kind == KIND_SERVICE)
        return true;
    return is_hand_written(path) || (kind == KIND_SERVICE && strncmp(state, "enabled", 7) == 0);
}

/* Socket: Listen is a(ss), e.g. ("Stream", "127.0.0.1:8405"). */
static int on_listen(sd_bus_message *m, void *userdata, sd_bus_error *bus_error)
{
    Candidate *c = userdata;
    const char *type, *address;

    (void)bus_error;
    if (!sd_bus_message_is_method_error(m, NULL) &&
        sd_bus_message_enter_container(m, 'v', "a(ss)") > 0 &&
        sd_bus_message_enter_container(m, 'a', "(ss)") > 0) {
        while (sd_bus_message_read(m, "(ss)", &type, &address) > 0) {
            const char *colon = strrchr(address, ':');
            unsigned long port = colon ? strtoul(colon + 1, NULL, 10) : 0;
            if (strcmp(type, "Stream") == 0 && port > 0 && port < 65536 && c->port == 0)
                c->port = (uint16_t)port;
        }
    }
    answered(c->discovery);
    return 0;
}

static int on_triggers(sd_bus_message *m, void *userdata, sd_bus_error *bus_error)
{
    Candidate *c = userdata;
    const char *unit;

    (void)bus_error;
    if (!sd_bus_message_is_method_error(m, NULL) &&
        sd_bus_message_enter_container(m, 'v', "as") > 0 &&
        sd_bus_message_enter_container(m, 'a', "s") > 0 && sd_bus_message_read(m, "s", &unit) > 0 &&
        name_is_unit(unit))
        text_copy(c->triggers, sizeof c->triggers, unit);
    answered(c->discovery);
    return 0;
}

static void ask_property(Candidate *c, const char *interface, const char *property,
                         sd_bus_message_handler_t handler)
{
    Discovery *d = c->discovery;
    CLEANUP_FREE char *path = NULL;

    if (sd_bus_path_encode("/org/freedesktop/systemd1/unit", c->unit, &path) < 0)
        return;
    if (sd_bus_call_method_async(d->bus, NULL, MANAGER, path, "org.freedesktop.DBus.Properties",
                                 "Get", handler, c, "ss", interface, property) >= 0)
        d->pending++;
}

static void ask_about(Candidate *c)
{
    UnitKind kind = unit_kind_of(c->unit);

    if (kind == KIND_SOCKET)
        ask_property(c, "org.freedesktop.systemd1.Socket", "Listen", on_listen);
    if (kind == KIND_SOCKET || kind == KIND_TIMER)
        ask_property(c, "org.freedesktop.systemd1.Unit", "Triggers", on_triggers);
}

static int on_unit_files(sd_bus_message *m, void *userdata, sd_bus_error *bus_error)
{
    Discovery *d = userdata;
    const char *path, *state;

    (void)bus_error;
    if (sd_bus_message_is_method_error(m, NULL) ||
        sd_bus_message_enter_container(m, 'a', "(ss)") < 0) {
        fail(d, -EIO, _("the user manager does not list its unit files"));
        return 0;
    }
    while (d->n < CANDIDATES_MAX && sd_bus_message_read(m, "(ss)", &path, &state) > 0) {
        const char *slash = strrchr(path, '/');
        if (!slash || !is_candidate(d, slash + 1, path, state))
            continue;
        Candidate *c = &d->candidates[d->n++];
        *c = (Candidate){.discovery = d};
        text_copy(c->unit, sizeof c->unit, slash + 1);
    }
    for (size_t i = 0; i < d->n; i++)
        ask_about(&d->candidates[i]);
    answered(d);
    return 0;
}

/* ---- ports ---- */

static Candidate *find_unit(Discovery *d, const char *unit)
{
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->candidates[i].unit, unit) == 0)
            return &d->candidates[i];
    return NULL;
}

static void on_ports(void *userdata, int error, const PortTable *table)
{
    Discovery *d = userdata;
    char name[UNIT_MAX + 1];

    for (size_t i = 0; error >= 0 && i < table->n; i++) {
        const PortEntry *e = &table->entries[i];
        if (!d->way.transport->ops->cgroup_service ||
            !d->way.transport->ops->cgroup_service(d->way.transport, e->cgroup_id, name,
                                                   sizeof name))
            continue;
        Candidate *c = find_unit(d, name);
        if (c && c->port == 0)
            c->port = e->port;
    }
    answered(d);
}

/* ---- the question ---- */

static void on_transport(void *userdata, Cause cause)
{
    Discovery *d = userdata;
    char address[256];

    if (cause != CAUSE_NONE) {
        fail_by_cause(d, -ENOTCONN, cause);
        return;
    }
    if (d->bus)
        return;
    if (d->way.transport->is_polled) {
        fail_by_cause(d, -EOPNOTSUPP, CAUSE_FORWARD_REFUSED);
        return;
    }
    if (d->way.transport->ops->bus_address(d->way.transport, SCOPE_USER, address, sizeof address) <
        0) {
        fail_by_cause(d, -ENOTCONN, CAUSE_NO_BUS);
        return;
    }
    int r = sd_bus_new(&d->bus);
    if (r >= 0)
        r = sd_bus_set_address(d->bus, address);
    if (r >= 0)
        r = sd_bus_set_bus_client(d->bus, true);
    if (r >= 0)
        r = sd_bus_negotiate_fds(d->bus, false);
    if (r >= 0)
        r = sd_bus_start(d->bus);
    if (r >= 0)
        r = sd_bus_attach_event(d->bus, d->way.event, SD_EVENT_PRIORITY_NORMAL);
    if (r >= 0)
        r = sd_bus_call_method_async(d->bus, NULL, MANAGER, MANAGER_PATH, MANAGER ".Manager",
                                     "ListUnitFiles", on_unit_files, d, NULL);
    if (r < 0)
        fail_by_cause(d, r, CAUSE_NO_BUS);
    else
        d->pending++;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source, (void)usec;
    fail(userdata, -ETIMEDOUT, _("the PC did not answer within 25 s"));
    return 0;
}

static int ask(Discovery *d, const RegistryPc *pc, bool is_self)
{
    static const TransportEvents events = {.state = on_transport};

    d->candidates = calloc(CANDIDATES_MAX, sizeof *d->candidates);
    if (!d->candidates)
        return -ENOMEM;
    int r = way_open(&d->way, pc->pc_id, pc->ssh_host, is_self, &events, d);
    if (r >= 0)
        r = sd_event_add_time_relative(d->way.event, NULL, CLOCK_MONOTONIC, DEADLINE_US, 0,
                                       on_deadline, d);
    if (r < 0)
        return r;
    d->way.transport->ops->start(d->way.transport, clock_now());
    while (r >= 0 && !d->is_over)
        r = sd_event_run(d->way.event, UINT64_MAX);
    return d->error ? d->error : r;
}

/* The second round, after the units are known: who listens where. */
static int ask_ports(Discovery *d)
{
    d->pending = 1;
    int r = d->way.transport->ops->look_ports(d->way.transport, clock_now(), on_ports, d);
    while (r >= 0 && d->pending && d->error == 0)
        r = sd_event_run(d->way.event, 100 * USEC_PER_MSEC);
    return r < 0 ? r : 0;
}

static void discovery_done(Discovery *d)
{
    way_close(&d->way);
    sd_bus_close_unref(d->bus);
    way_done(&d->way);
    free(d->candidates);
}

/* ---- into the registry ---- */

static void app_id_of(const char *unit, char ret[ID_MAX + 1])
{
    const char *dot = strrchr(unit, '.');
    size_t len = MIN(dot ? (size_t)(dot - unit) : strlen(unit), (size_t)ID_MAX);

    for (size_t i = 0; i < len; i++) {
        char c = unit[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        ret[i] = plain || (i && (c == '.' || c == '_' || c == '-')) ? c : i ? '_' : 'x';
    }
    ret[len] = '\0';
}

static bool is_triggered(const Discovery *d, const char *unit)
{
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->candidates[i].triggers, unit) == 0)
            return true;
    return false;
}

static bool registry_has(const Registry *r, const char *pc_id, const char *app_id, const char *unit)
{
    for (size_t i = 0; i < r->n_targets; i++) {
        const RegistryTarget *t = &r->targets[i];
        const RegistryApp *app = registry_find_app(r, t->app_id);
        const char *its_unit = t->unit ? t->unit : app ? app->unit : NULL;
        if (strcmp(t->pc_id, pc_id) == 0 &&
            ((its_unit && strcmp(its_unit, unit) == 0) || strcmp(t->app_id, app_id) == 0))
            return true;
    }
    const RegistryApp *local = registry_find_app(r, app_id);
    return local && local->is_local_only;
}

static int add_candidate(Registry *r, const RegistryPc *pc, Candidate *c, RegistryError *error)
{
    char app_id[ID_MAX + 1];
    RegistryApp app = {.app_id = app_id, .unit = c->unit, .port = c->port, .tag = NULL};
    RegistryTarget target = {.app_id = app_id, .pc_id = pc->pc_id};

    app_id_of(c->unit, app_id);
    if (registry_has(r, pc->pc_id, app_id, c->unit))
        return 0;
    const RegistryApp *known = registry_find_app(r, app_id);
    if (known) { /* the same app on another PC: only what differs is an override */
        RegistryApp same = *known;
        target.unit = known->unit && strcmp(known->unit, c->unit) == 0 ? NULL : c->unit;
        target.port = known->port == c->port ? 0 : c->port;
        int e = registry_add(r, pc, &same, &target, error);
        return e < 0 ? e : 1;
    }
    int e = registry_add(r, pc, &app, &target, error);
    return e < 0 ? e : 1;
}

int discover_run(Registry *r, const RegistryPc *pc, bool is_self, bool all, char *error,
                 size_t size)
{
    Discovery d = {.all = all, .sentence = error, .size = size};
    RegistryError registry_error = {""};
    int added = 0;

    text_copy(error, size, "");
    int e = ask(&d, pc, is_self);
    if (e >= 0)
        e = ask_ports(&d);
    for (size_t i = 0; e >= 0 && i < d.n; i++) {
        Candidate *c = &d.candidates[i];
        if (unit_kind_of(c->unit) == KIND_SERVICE && is_triggered(&d, c->unit))
            continue;
        if (strcmp(c->unit, "services_api.service") == 0)
            continue; /* it has its own row */
        e = add_candidate(r, pc, c, &registry_error);
        if (e > 0)
            added++;
    }
    discovery_done(&d);
    if (e < 0 && !error[0])
        text_copy(error, size, registry_error.text[0] ? registry_error.text : strerror(-e));
    return e < 0 ? e : added;
}

/* ---- the command ---- */

static int load_or_begin(const char *path, Registry **ret, RegistryError *error)
{
    int r = registry_load(path, ret, error);

    if (r != -ENOENT)
        return r;
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -ENOMEM;
}

/* services_api is one of the services it watches. */
static int add_ourselves(Registry *r, const RegistryPc *pc, RegistryError *error)
{
    static char id[] = "services_api", unit[] = "services_api.service", tag[] = "service",
                health[] = "/api/health", title[] = "services_monitor daemon";
    RegistryApp app = {.app_id = id,
                       .title = title,
                       .unit = unit,
                       .tag = tag,
                       .port = 8485,
                       .health = health,
                       .is_local_only = true};
    RegistryTarget target = {.app_id = id, .pc_id = pc->pc_id};

    if (registry_find_app(r, id))
        return 0;
    return registry_add(r, pc, &app, &target, error);
}

static int print_yaml(const Registry *r)
{
    Buffer out = BUFFER_INIT(64U << 20);

    registry_yaml_write(r, &out);
    if (buffer_error(&out))
        return cli_complain("discover", _("out of memory"));
    fwrite(out.data, 1, out.len, stdout);
    buffer_done(&out);
    return CLI_EXIT_OK;
}

int cli_discover(int argc, char *argv[])
{
    CLEANUP_FREE char *default_registry = paths_registry();
    const char *path = default_registry, *operand = NULL;
    bool all = false, write_it = false;
    int n = 0;
    const CliOption options[] = {
        {"registry", "FILE", N_("what is known already"), CLI_TEXT, &path, 0, 0},
        {"all", NULL, N_("every user service, not only enabled and own ones"), CLI_FLAG, &all, 0,
         0},
        {"write", NULL, N_("add what was found to the registry"), CLI_FLAG, &write_it, 0, 0},
    };
    const CliCommand command = {
        "discover",
        "[PC]",
        N_("Propose a registry from the user services of a PC (default: this one),\n"
           "printed as YAML. Nothing is written without --write."),
        options,
        ELEMENTS(options),
        0,
        1};
    RegistryError error = {""};
    Registry *r = NULL;
    char host[256] = "", why[512] = "", pc_id[256], ssh_host[256];

    int e = cli_parse(&command, argc, argv, &operand, &n);
    if (e >= 0)
        return e;
    if (!path)
        return cli_complain("discover", _("HOME is not set; give --registry FILE"));
    gethostname(host, sizeof host - 1);
    if (load_or_begin(path, &r, &error) < 0)
        return cli_complain("discover", error.text);
    const RegistryPc *self = NULL;
    RegistryPc pc = {.pc_id = (char *)(operand ? operand : host)};
    if (r->n_pcs && registry_self(r, NULL, host, &self, &error) < 0)
        self = NULL;
    if (!operand && self)
        pc.pc_id = self->pc_id;
    /* copies: rows of r are void after each registry_add() */
    text_copy(pc_id, sizeof pc_id, pc.pc_id);
    pc.pc_id = pc_id;
    const RegistryPc *known = registry_find_pc(r, pc.pc_id);
    if (known && known->ssh_host) {
        text_copy(ssh_host, sizeof ssh_host, known->ssh_host);
        pc.ssh_host = ssh_host;
    }
    bool is_self =
        !operand || strcmp(operand, host) == 0 || (self && strcmp(operand, self->pc_id) == 0);
    int found =
        name_is_id(pc.pc_id) ? discover_run(r, &pc, is_self, all, why, sizeof why) : -EINVAL;
    if (found == -EINVAL && !why[0])
        snprintf(why, sizeof why, _("'%s' is no PC name; use letters, digits, '.', '_' and '-'"),
                 pc.pc_id);
    if (found >= 0 && is_self && add_ourselves(r, &pc, &error) < 0) {
        found = -EINVAL;
        text_copy(why, sizeof why, error.text);
    }
    int code = CLI_EXIT_OK;
    if (found < 0) {
        cli_complain("discover", why);
        code = CLI_EXIT_BAD;
    } else if (!write_it) {
        code = print_yaml(r);
    } else if (registry_save(path, r, &error) < 0) {
        code = cli_complain("discover", error.text);
    } else {
        printf(P_("%d new service on %s; the registry at %s now has %zu apps\n",
                  "%d new services on %s; the registry at %s now has %zu apps\n", found),
               found, pc.pc_id, path, r->n_apps);
    }
    registry_free(r);
    return code;
}
