/* What an established connection offers: addresses, a look at the ports, a way to dial, commands.
 */
#include "api/transport-ssh-private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "api/journal.h"

#define PORTS_BYTES_MAX (4U << 20)
#define PORTS_MS        5000
#define OUTPUT_MAX      4096

int ssh_bus_address(Transport *base, UnitScope scope, char *ret, size_t size)
{
    SshTransport *t = ssh_transport(base);

    if (t->phase != SSH_UP)
        return -ENOTCONN;
    if (scope == SCOPE_USER) {
        ssh_about_refresh(t); /* asked again and again only when the bus does not work */
        if (!t->report.bus_exists)
            return t->report.has_manager ? -ENOENT : -ESRCH;
    }
    int n = snprintf(ret, size, "unix:path=%s",
                     scope == SCOPE_USER ? t->sockets.user_bus : t->sockets.system_bus);
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* ---- ports ---- */

static void on_ports(void *userdata, int error, const char *output, size_t len)
{
    SshTransport *t = userdata;
    TransportPorts callback = t->ports_callback;
    size_t bad = 0;

    t->ports_callback = NULL;
    if (error >= 0)
        error = port_table_parse_ss(&t->ports, output, len, clock_now().mono_us, &bad);
    if (error >= 0)
        error = ssh_owners_read(&t->owners, output, len);
    callback(t->ports_userdata, error, &t->ports);
}

int ssh_look_ports(Transport *base, Now now UNUSED, TransportPorts callback, void *userdata)
{
    SshTransport *t = ssh_transport(base);

    if (t->phase != SSH_UP)
        return -ENOTCONN;
    if (t->ports_callback)
        return -EBUSY;
    int r = ssh_exec(t->shell, SSH_PORTS, "", PORTS_BYTES_MAX, PORTS_MS, on_ports, t);
    if (r < 0)
        return r;
    t->ports_callback = callback;
    t->ports_userdata = userdata;
    return 0;
}

bool ssh_cgroup_service(Transport *base, uint64_t cgroup_id, char *name, size_t size)
{
    return ssh_owners_find(&ssh_transport(base)->owners, cgroup_id, name, size);
}

/* ---- health ---- */

void ssh_want_port(Transport *base, uint16_t port)
{
    SshTransport *t = ssh_transport(base);

    for (size_t i = 0; i < t->n_wanted; i++)
        if (t->wanted[i] == port)
            return;
    if (t->n_wanted < SSH_PORTS_MAX)
        t->wanted[t->n_wanted++] = port;
}

static int dial_socket(const char *path, HttpDial *ret)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    HttpDial d = {.address_len = sizeof un};

    if (strlen(path) >= sizeof un.sun_path)
        return -ENAMETOOLONG;
    memcpy(un.sun_path, path, strlen(path) + 1);
    memcpy(&d.address, &un, sizeof un);
    *ret = d;
    return 0;
}

/* Greeting and request of SOCKS5 in one: the server need not be waited for. */
static void preamble_make(const PortEntry *entry, HttpDial *d)
{
    static const uint8_t any[16], loopback6[16] = {[15] = 1}, loopback4[4] = {127, 0, 0, 1};
    uint8_t *at = d->preamble;
    size_t len = entry->is_ipv6 ? 16 : 4;
    const uint8_t *address = entry->addr;

    if (memcmp(address, any, len) == 0)
        address = entry->is_ipv6 ? loopback6 : loopback4;
    memcpy(at, "\5\1\0\5\1\0", 6);
    at += 6;
    *at++ = entry->is_ipv6 ? 4 : 1;
    memcpy(at, address, len);
    at += len;
    *at++ = (uint8_t)(entry->port >> 8);
    *at++ = (uint8_t)entry->port;
    d->preamble_len = (uint8_t)(at - d->preamble);
    d->socks = true;
}

static bool is_loopback4(const PortEntry *e)
{
    static const uint8_t any[4];

    return !e->is_ipv6 && (e->addr[0] == 127 || memcmp(e->addr, any, 4) == 0);
}

static int dial_forward(SshTransport *t, const PortEntry *entry, HttpDial *ret)
{
    char path[SSH_SOCKET_MAX + 8];

    for (size_t i = 0; is_loopback4(entry) && i < t->n_forwarded; i++) {
        if (t->forwarded[i] == entry->port) {
            snprintf(path, sizeof path, "%s%u", t->sockets.port, entry->port);
            return dial_socket(path, ret);
        }
    }
    return -EOPNOTSUPP;
}

int ssh_dial(Transport *base, const PortEntry *entry, HttpDial *ret)
{
    SshTransport *t = ssh_transport(base);

    if (t->phase != SSH_UP)
        return -ENOTCONN;
    if (t->tcp_refused)
        return -EOPNOTSUPP;
    if (t->no_socket_socks)
        return dial_forward(t, entry, ret);
    int r = dial_socket(t->sockets.socks, ret);
    if (r >= 0)
        preamble_make(entry, ret);
    return r;
}

/* ---- commands ---- */

int ssh_run(Transport *base, TransportCommand command, const char *input, uint32_t timeout_ms,
            TransportReply callback, void *userdata)
{
    SshTransport *t = ssh_transport(base);
    JournalCommand check;

    if (t->phase != SSH_UP)
        return -ENOTCONN;
    switch (command) {
    case COMMAND_UNAME:
        return ssh_exec(t->shell, SSH_ABOUT, "", OUTPUT_MAX, timeout_ms, callback, userdata);
    case COMMAND_JOURNAL:
        if (journal_command(input, &check) < 0)
            return -EINVAL;
        return ssh_exec(t->shell, SSH_JOURNAL, input, JOURNAL_BYTES_MAX, timeout_ms, callback,
                        userdata);
    default: return -EINVAL;
    }
}
