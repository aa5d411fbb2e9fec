/* The way to this PC: everything directly, nothing by ssh.
 *
 * It is usable from start() on, whatever is missing: a bus that is not there is the bus's own
 * cause. Ports are read in place, uname and linger need no process. Only a journal question starts
 * a child; at most RUNS_MAX are out. */
#include <errno.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <sys/utsname.h>

#include "api/cgroup-map.h"
#include "api/child.h"
#include "api/journal.h"
#include "api/transport.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/name.h"

#define RUNS_MAX   16
#define SYSTEM_BUS "/run/dbus/system_bus_socket"
#define LINGER_DIR "/var/lib/systemd/linger"
#define BOOT_FILE  "/proc/sys/kernel/random/boot_id"

typedef struct Run {
    struct LocalTransport *transport;
    Child *child;
    TransportReply callback;
    void *userdata;
    struct Run *next;
} Run;

typedef struct LocalTransport {
    Transport base;
    sd_event *event;
    PortReader *reader;
    PortTable ports;
    CgroupMap *cgroups;
    Run *runs;
    size_t n_runs;
    char user[64];
} LocalTransport;

static LocalTransport *local(Transport *t)
{
    return container_of(t, LocalTransport, base);
}

static Transport *local_free(Transport *t)
{
    LocalTransport *l;

    if (!t)
        return NULL;
    l = local(t);
    for (Run *r = l->runs, *next; r; r = next) {
        next = r->next;
        child_cancel(r->child);
        free(r);
    }
    port_reader_free(l->reader);
    port_table_done(&l->ports);
    cgroup_map_free(l->cgroups);
    sd_event_unref(l->event);
    free(l);
    return NULL;
}

static void local_start(Transport *t, Now now UNUSED)
{
    t->events.state(t->userdata, CAUSE_NONE);
}

/* ---- buses ---- */

/* Only these need no escaping in a D-Bus address. */
static bool is_plain_path(const char *s)
{
    return s[0] == '/' && s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789-_/.")] == '\0';
}

static int user_bus_path(char *ret, size_t size)
{
    static const char prefix[] = "unix:path=";
    const char *address = getenv("DBUS_SESSION_BUS_ADDRESS");
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int n = -1;

    if (address && strncmp(address, prefix, sizeof prefix - 1) == 0) {
        const char *path = address + sizeof prefix - 1;
        n = snprintf(ret, size, "%.*s", (int)strcspn(path, ",;"), path); /* without its guid */
    } else if (runtime && *runtime) {
        n = snprintf(ret, size, "%s/bus", runtime);
    } else {
        n = snprintf(ret, size, "/run/user/%u/bus", (unsigned)getuid());
    }
    return n < 0 || (size_t)n >= size ? -ENOENT : 0;
}

static int local_bus_address(Transport *t UNUSED, UnitScope scope, char *ret, size_t size)
{
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = SYSTEM_BUS;

    if (scope == SCOPE_USER && user_bus_path(path, sizeof path) < 0)
        return -ENOENT;
    if (!is_plain_path(path) || access(path, F_OK) < 0)
        return -ENOENT;
    int n = snprintf(ret, size, "unix:path=%s", path);
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* ---- ports and health ---- */

static int local_look_ports(Transport *t, Now now, TransportPorts callback, void *userdata)
{
    LocalTransport *l = local(t);
    int r = port_reader_read(l->reader, &l->ports, now.mono_us);

    callback(userdata, r, &l->ports);
    return 0;
}

static bool local_cgroup_service(Transport *t, uint64_t cgroup_id, char *name, size_t size)
{
    return cgroup_map_service(local(t)->cgroups, cgroup_id, clock_now().mono_us, name, size);
}

static int local_dial(Transport *t UNUSED, const PortEntry *entry, HttpDial *ret)
{
    static const uint8_t any[16];
    HttpDial d = {0};

    if (entry->is_ipv6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&d.address;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(entry->port);
        memcpy(&in6->sin6_addr, entry->addr, 16);
        if (memcmp(entry->addr, any, 16) == 0)
            in6->sin6_addr = in6addr_loopback;
        d.address_len = sizeof *in6;
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)&d.address;
        in->sin_family = AF_INET;
        in->sin_port = htons(entry->port);
        memcpy(&in->sin_addr, entry->addr, 4);
        if (memcmp(entry->addr, any, 4) == 0)
            in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        d.address_len = sizeof *in;
    }
    *ret = d;
    return 0;
}

/* ---- commands ---- */

static bool lingers(const LocalTransport *l)
{
    char path[sizeof LINGER_DIR + sizeof l->user + 1];

    snprintf(path, sizeof path, LINGER_DIR "/%s", l->user);
    return l->user[0] && access(path, F_OK) == 0;
}

static void tell_uname(LocalTransport *l, TransportReply callback, void *userdata)
{
    struct utsname u;
    char text[512];
    int n = 0;

    if (uname(&u) == 0)
        n = snprintf(text, sizeof text, "%.64s %.64s %.64s\nlinger=%s\n", u.sysname, u.release,
                     u.machine, lingers(l) ? "yes" : "no");
    callback(userdata, n > 0 ? 0 : -EIO, text, n > 0 ? (size_t)n : 0);
}

static void run_free(Run *r)
{
    LocalTransport *l = r->transport;
    Run **at = &l->runs;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    l->n_runs--;
    free(r);
}

static void on_child(void *userdata, int error, int status, const char *out, size_t out_len,
                     const char *err UNUSED)
{
    Run *r = userdata;
    TransportReply callback = r->callback;
    void *callback_userdata = r->userdata;

    run_free(r);
    if (error == 0 && status != 0)
        error = status == 127 ? -ENOENT : -EIO;
    callback(callback_userdata, error, out, out_len);
}

static int run_journal(LocalTransport *l, const char *input, uint32_t timeout_ms,
                       TransportReply callback, void *userdata)
{
    JournalCommand command;
    int e = journal_command(input, &command);

    if (e < 0)
        return e;
    if (l->n_runs == RUNS_MAX)
        return -EBUSY;
    CLEANUP_FREE Run *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    *r = (Run){.transport = l, .callback = callback, .userdata = userdata};
    ChildSpec spec = {
        .argv = command.argv, .output_max = JOURNAL_BYTES_MAX, .timeout_ms = timeout_ms};
    e = child_run(l->event, &spec, on_child, r, &r->child);
    if (e < 0)
        return e;
    r->next = l->runs;
    l->n_runs++;
    l->runs = TAKE_PTR(r);
    return 0;
}

static int local_run(Transport *t, TransportCommand command, const char *input, uint32_t timeout_ms,
                     TransportReply callback, void *userdata)
{
    switch (command) {
    case COMMAND_UNAME: tell_uname(local(t), callback, userdata); return 0;
    case COMMAND_JOURNAL: return run_journal(local(t), input, timeout_ms, callback, userdata);
    default: return -EINVAL;
    }
}

static uint64_t local_next_us(const Transport *t UNUSED)
{
    return UINT64_MAX;
}

static void local_tick(Transport *t UNUSED, Now now UNUSED)
{
}

/* ---- the object ---- */

static const TransportOps local_ops = {
    .free = local_free,
    .start = local_start,
    .bus_address = local_bus_address,
    .look_ports = local_look_ports,
    .dial = local_dial,
    .run = local_run,
    .cgroup_service = local_cgroup_service,
    .next_us = local_next_us,
    .tick = local_tick,
    .has_events = true,
};

/* Asked once, before the loop runs: it may go to a directory server. */
static void user_look_up(LocalTransport *l)
{
    struct passwd entry, *found = NULL;
    char strings[4096];

    if (getpwuid_r(getuid(), &entry, strings, sizeof strings, &found) != 0 || !found ||
        strlen(found->pw_name) >= sizeof l->user || strchr(found->pw_name, '/'))
        return;
    text_copy(l->user, sizeof l->user, found->pw_name);
}

/* Once: it cannot change while we run. */
static void boot_look_up(LocalTransport *l)
{
    char id[BOOT_ID_LEN + 1] = "";
    FILE *f = fopen(BOOT_FILE, "re");

    if (!f)
        return;
    if (fgets(id, sizeof id, f) && name_is_boot_id(id))
        text_copy(l->base.boot_id, sizeof l->base.boot_id, id);
    fclose(f);
}

int transport_local_new(sd_event *event, const TransportEvents *events, void *userdata,
                        Transport **ret)
{
    LocalTransport *l = calloc(1, sizeof *l);
    int r;

    if (!l)
        return -ENOMEM;
    l->base = (Transport){.ops = &local_ops, .events = *events, .userdata = userdata};
    l->event = sd_event_ref(event);
    user_look_up(l);
    boot_look_up(l);
    if ((r = port_reader_new(&l->reader)) < 0 || (r = cgroup_map_new(NULL, &l->cgroups)) < 0) {
        local_free(&l->base);
        return r;
    }
    *ret = &l->base;
    return 0;
}
