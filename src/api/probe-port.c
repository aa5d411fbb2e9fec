/* Listening TCP ports by netlink sock_diag, or from the text of ss.
 *
 * A look is a dump of the sockets in state LISTEN, once for IPv4 and once for IPv6, over a socket
 * that stays open. The kernel builds each part of a dump inside our own send() or recv(), so the
 * socket is non-blocking and still never has nothing to say in mid-dump; EAGAIN is an error. After
 * any error the socket is closed, since a half-read dump would be taken for the next one's
 * beginning; sequence numbers are checked as well.
 *
 * A table is replaced whole and only when all of it was read: what was known stays known over an
 * error. It is sorted by port, and within a port the address that a health check should dial comes
 * first.
 *
 * For a LISTEN socket the kernel reports the accept queue as rqueue and the backlog as wqueue; the
 * queue is full when it is longer than the backlog, not equal to it. */
#include "api/probe-port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "basic/macro.h"
#include "basic/text.h"

#define STATE_LISTEN   10 /* TCP_LISTEN of the kernel's enum, which no user header has */
#define ATTR_CGROUP_ID 21 /* INET_DIAG_CGROUP_ID, since Linux 5.9 */
#define DUMP_PART_MAX  32768
#define SS_LINE_MAX    4096
#define CGROUP_PATH    1024

struct PortReader {
    int fd; /* -1 after an error */
    uint32_t seq;
    PortTable next; /* the table that is being read; its memory is used again */
    union {
        struct nlmsghdr header; /* aligns the bytes */
        char bytes[DUMP_PART_MAX];
    } part;
};

DEFINE_CLEANUP(PortReader, port_reader_free);

/* ---- table ---- */

static bool is_loopback_or_any(const PortEntry *e)
{
    static const uint8_t any[16], loopback6[16] = {[15] = 1};

    if (!e->is_ipv6)
        return e->addr[0] == 127 || memcmp(e->addr, any, 4) == 0;
    return memcmp(e->addr, any, 16) == 0 || memcmp(e->addr, loopback6, 16) == 0;
}

static int entry_rank(const PortEntry *e)
{
    return (is_loopback_or_any(e) ? 0 : 2) + e->is_ipv6;
}

static int entry_compare(const void *a, const void *b)
{
    const PortEntry *x = a, *y = b;

    if (x->port != y->port)
        return x->port < y->port ? -1 : 1;
    int rx = entry_rank(x), ry = entry_rank(y);
    return rx != ry ? rx - ry : memcmp(x->addr, y->addr, sizeof x->addr);
}

/* An IPv6 socket on ::ffff:a.b.c.d is reached as IPv4. */
static void entry_unmap(PortEntry *e)
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};

    if (!e->is_ipv6 || memcmp(e->addr, mapped, sizeof mapped) != 0)
        return;
    memmove(e->addr, e->addr + 12, 4);
    memset(e->addr + 4, 0, 12);
    e->is_ipv6 = false;
}

static int table_add(PortTable *t, const PortEntry *e)
{
    if (t->n == PORT_TABLE_MAX)
        return -EFBIG;
    if (t->n == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        PortEntry *entries = realloc(t->entries, cap * sizeof *entries);
        if (!entries)
            return -ENOMEM;
        t->entries = entries;
        t->cap = cap;
    }
    t->entries[t->n] = *e;
    entry_unmap(&t->entries[t->n++]);
    return 0;
}

/* Makes next the content of t; t's old memory becomes next's. */
static void table_publish(PortTable *t, PortTable *next, uint64_t now_us)
{
    PortTable old = *t;

    if (next->n > 1)
        qsort(next->entries, next->n, sizeof *next->entries, entry_compare);
    next->at_us = now_us;
    *t = *next;
    *next = old;
    next->n = 0;
}

void port_table_done(PortTable *t)
{
    free(t->entries);
    *t = (PortTable){0};
}

/* ---- netlink ---- */

static int reader_open(PortReader *r)
{
    if (r->fd >= 0)
        return 0;
    r->fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    return r->fd < 0 ? -errno : 0;
}

static int dump_ask(PortReader *r, int family)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 request;
    } q = {
        .header = {.nlmsg_len = sizeof q,
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                   .nlmsg_seq = ++r->seq},
        .request = {.sdiag_family = (uint8_t)family,
                    .sdiag_protocol = IPPROTO_TCP,
                    .idiag_states = 1U << STATE_LISTEN},
    };
    ssize_t n = send(r->fd, &q, sizeof q, MSG_NOSIGNAL);

    return n < 0 ? -errno : n == sizeof q ? 0 : -EIO;
}

static uint64_t attr_cgroup_id(const struct nlmsghdr *h)
{
    const char *at = (const char *)NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(struct inet_diag_msg));
    const char *end = (const char *)h + h->nlmsg_len;
    struct nlattr a;

    while (end - at >= (ptrdiff_t)sizeof a) {
        memcpy(&a, at, sizeof a);
        if (a.nla_len < sizeof a || a.nla_len > end - at)
            return 0;
        if (a.nla_type == ATTR_CGROUP_ID && a.nla_len == NLA_HDRLEN + sizeof(uint64_t)) {
            uint64_t id;
            memcpy(&id, at + NLA_HDRLEN, sizeof id);
            return id;
        }
        if (NLA_ALIGN(a.nla_len) > end - at)
            return 0;
        at += NLA_ALIGN(a.nla_len);
    }
    return 0;
}

static int dump_entry(PortReader *r, const struct nlmsghdr *h)
{
    const struct inet_diag_msg *d = NLMSG_DATA(h);

    if (h->nlmsg_len < NLMSG_LENGTH(sizeof *d))
        return -EBADMSG;
    if (d->idiag_state != STATE_LISTEN)
        return 0;
    PortEntry e = {
        .port = ntohs(d->id.idiag_sport),
        .is_ipv6 = d->idiag_family == AF_INET6,
        .queue = d->idiag_rqueue,
        .backlog = d->idiag_wqueue,
        .uid = d->idiag_uid,
        .cgroup_id = attr_cgroup_id(h),
    };
    memcpy(e.addr, d->id.idiag_src, e.is_ipv6 ? 16 : 4);
    return table_add(&r->next, &e);
}

static int dump_error(const struct nlmsghdr *h)
{
    const struct nlmsgerr *e = NLMSG_DATA(h);

    if (h->nlmsg_len < NLMSG_LENGTH(sizeof *e) || e->error >= 0)
        return -EIO;
    return e->error;
}

/* One part of a dump. 1: there is more to come; 0: that was the end. */
static int dump_part(PortReader *r)
{
    ssize_t n = recv(r->fd, r->part.bytes, sizeof r->part.bytes, MSG_TRUNC);

    if (n < 0)
        return -errno;
    if ((size_t)n > sizeof r->part.bytes)
        return -EIO;
    size_t left = (size_t)n;
    for (const struct nlmsghdr *h = &r->part.header; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
        if (h->nlmsg_seq != r->seq)
            continue;
        if (h->nlmsg_type == NLMSG_DONE)
            return 0;
        if (h->nlmsg_type == NLMSG_ERROR)
            return dump_error(h);
        int rc = dump_entry(r, h);
        if (rc < 0)
            return rc;
    }
    return 1;
}

static int dump_read(PortReader *r, int family)
{
    int rc = dump_ask(r, family);

    if (rc < 0)
        return rc;
    do
        rc = dump_part(r);
    while (rc > 0);
    return rc;
}

int port_reader_new(PortReader **ret)
{
    CLEANUP(port_reader_freep) PortReader *r = calloc(1, sizeof *r);

    if (!r)
        return -ENOMEM;
    r->fd = -1;
    int rc = reader_open(r);
    if (rc < 0)
        return rc;
    *ret = TAKE_PTR(r);
    return 0;
}

PortReader *port_reader_free(PortReader *r)
{
    if (r) {
        close_fd(r->fd);
        port_table_done(&r->next);
        free(r);
    }
    return NULL;
}

int port_reader_read(PortReader *r, PortTable *table, uint64_t now_us)
{
    int rc = reader_open(r);

    r->next.n = 0;
    if (rc == 0)
        rc = dump_read(r, AF_INET);
    if (rc == 0) {
        rc = dump_read(r, AF_INET6);
        if (rc == -ENOENT) /* a kernel without IPv6 */
            rc = 0;
    }
    if (rc < 0) {
        r->fd = close_fd(r->fd);
        return rc == -EAGAIN ? -EIO : rc;
    }
    table_publish(table, &r->next, now_us);
    return 0;
}

/* ---- ss ---- */

/* The next word of a line, NULL at its end. */
static char *word_next(char **line)
{
    char *s = *line + strspn(*line, " \t\r");

    if (*s == '\0')
        return NULL;
    *line = s + strcspn(s, " \t\r");
    if (**line)
        *(*line)++ = '\0';
    return s;
}

static bool number_parse(const char *s, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;

    if (*s == '\0')
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return false;
        v = v * 10 + (uint64_t)(*s - '0');
        if (v > max)
            return false;
    }
    *ret = v;
    return true;
}

/* "127.0.0.53%lo", "[fe80::1]%eth0", "[::]", "*"; destroys s */
static bool address_parse(char *s, PortEntry *e)
{
    char *scope = strchr(s, '%');
    size_t len;

    if (scope)
        *scope = '\0';
    if (strcmp(s, "*") == 0) { /* a dual-stack wildcard */
        e->is_ipv6 = true;
        return true;
    }
    len = strlen(s);
    if (*s == '[') {
        char *end = strchr(s, ']');
        if (!end || end[1] != '\0')
            return false;
        *end = '\0';
        s++;
    } else if (len == 0) {
        return false;
    }
    e->is_ipv6 = strchr(s, ':') != NULL;
    return inet_pton(e->is_ipv6 ? AF_INET6 : AF_INET, s, e->addr) == 1;
}

static bool local_parse(char *s, PortEntry *e)
{
    char *colon = strrchr(s, ':');
    uint64_t port;

    if (!colon || !number_parse(colon + 1, 65535, &port) || port == 0)
        return false;
    *colon = '\0';
    e->port = (uint16_t)port;
    return address_parse(s, e);
}

/* The innermost *.service of a cgroup path, unless it is a user's manager as such. */
static void unit_of_cgroup(const char *path, char *ret, size_t size)
{
    static const char suffix[] = ".service";

    for (const char *at = path; *at;) {
        size_t len = strcspn(at, "/");
        if (len >= sizeof suffix && strncmp(at, "user@", 5) != 0 &&
            strncmp(at + len - (sizeof suffix - 1), suffix, sizeof suffix - 1) == 0)
            text_clean(ret, size, at, len);
        at += len + (at[len] == '/');
    }
}

static void extra_parse(const char *word, PortEntry *e)
{
    uint64_t uid;

    if (strncmp(word, "uid:", 4) == 0) {
        if (number_parse(word + 4, UINT32_MAX, &uid))
            e->uid = (uint32_t)uid;
    } else if (strncmp(word, "cgroup:/", 8) == 0 && word[8] != '\0') {
        e->cgroup_id = port_cgroup_hash(word + 7);
        unit_of_cgroup(word + 7, e->unit, sizeof e->unit);
    }
}

static bool line_parse(char *line, PortEntry *e)
{
    char *state = word_next(&line), *recv_q = word_next(&line), *send_q = word_next(&line);
    char *local = word_next(&line), *peer = word_next(&line);
    uint64_t queue, backlog;

    if (!peer || strcmp(state, "LISTEN") != 0 || !number_parse(recv_q, UINT32_MAX, &queue) ||
        !number_parse(send_q, UINT32_MAX, &backlog) || !local_parse(local, e))
        return false;
    e->queue = (uint32_t)queue;
    e->backlog = (uint32_t)backlog;
    for (char *word; (word = word_next(&line));)
        extra_parse(word, e);
    return true;
}

/* One line without its newline. 1: an entry; 0: nothing that parses. */
static int line_read(const char *line, size_t len, PortEntry *ret)
{
    char copy[SS_LINE_MAX];

    if (len >= sizeof copy || memchr(line, '\0', len))
        return 0;
    memcpy(copy, line, len);
    copy[len] = '\0';
    *ret = (PortEntry){0};
    return line_parse(copy, ret);
}

static int lines_read(PortTable *next, const char *text, size_t len, size_t *bad)
{
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        PortEntry e;
        if (!end)
            return -EBADMSG;
        size_t line = (size_t)(end - text);
        if (line_read(text, line, &e)) {
            int r = table_add(next, &e);
            if (r < 0)
                return r;
        } else if (line > 0) {
            (*bad)++;
        }
        text = end + 1;
        len -= line + 1;
    }
    return 0;
}

int port_table_parse_ss(PortTable *t, const char *text, size_t len, uint64_t now_us,
                        size_t *ret_bad)
{
    CLEANUP(port_table_done) PortTable next = {0};
    size_t bad = 0;
    int r = lines_read(&next, text, len, &bad);

    if (r < 0)
        return r;
    table_publish(t, &next, now_us);
    if (ret_bad)
        *ret_bad = bad;
    return 0;
}

/* ---- questions ---- */

/* Index of the first entry of that port, or t->n. */
static size_t table_find(const PortTable *t, uint16_t port)
{
    size_t low = 0, high = t->n;

    while (low < high) {
        size_t mid = (low + high) / 2;
        if (t->entries[mid].port < port)
            low = mid + 1;
        else
            high = mid;
    }
    return low < t->n && t->entries[low].port == port ? low : t->n;
}

bool port_listening_check(const PortTable *t, uint16_t port, const PortEntry **entry)
{
    size_t at = table_find(t, port);

    if (at == t->n)
        return false;
    if (entry)
        *entry = &t->entries[at];
    return true;
}

static bool is_own(const PortEntry *e, const uint64_t *own_ids, size_t n_own)
{
    for (size_t i = 0; i < n_own; i++)
        if (own_ids[i] > 1 && own_ids[i] == e->cgroup_id)
            return true;
    return false;
}

/* Foreign only if every one of the port's sockets is; the first one names the holder. */
static void owner_set(PortFacts *facts, const PortEntry *e, size_t n, PortForeignLookup lookup,
                      void *userdata)
{
    char name[sizeof facts->owner_name] = "", other[sizeof name];

    for (size_t i = 0; i < n; i++)
        if (e[i].cgroup_id <= 1 || !lookup(userdata, e[i].cgroup_id, i ? other : name, sizeof name))
            return;
    facts->owner = OWNER_FOREIGN;
    text_copy(facts->owner_name, sizeof facts->owner_name, name);
}

/* The fullest queue of those that the port's sockets have. */
static void queue_set(PortFacts *facts, const PortEntry *e, size_t n, uint64_t now_us)
{
    bool full = false;

    facts->queue = facts->backlog = 0;
    for (size_t i = 0; i < n; i++) {
        full |= e[i].queue > e[i].backlog;
        if (i == 0 || e[i].queue > facts->queue) {
            facts->queue = e[i].queue;
            facts->backlog = e[i].backlog;
        }
    }
    if (!full)
        facts->full_since_us = 0;
    else if (facts->full_since_us == 0)
        facts->full_since_us = now_us;
}

void port_facts_update(PortFacts *facts, const PortTable *t, uint16_t port, const uint64_t *own_ids,
                       size_t n_own, PortForeignLookup lookup, void *userdata)
{
    size_t first = table_find(t, port), n = 0;
    bool own = false;

    if (t->at_us == 0)
        return;
    while (first + n < t->n && t->entries[first + n].port == port)
        own |= is_own(&t->entries[first + n++], own_ids, n_own);
    if (n > 0)
        facts->misses = 0;
    else if (facts->at_us != t->at_us && facts->misses < UINT32_MAX)
        facts->misses++;
    facts->looked = true;
    facts->listening = n > 0;
    facts->at_us = t->at_us;
    facts->owner = own ? OWNER_SELF : OWNER_UNKNOWN;
    facts->owner_pid = 0;
    memset(facts->owner_name, 0, sizeof facts->owner_name);
    queue_set(facts, t->entries + first, n, t->at_us);
    if (n > 0 && !own && lookup)
        owner_set(facts, t->entries + first, n, lookup, userdata);
}

/* ---- cgroups ---- */

const char *cgroup_root(void)
{
    static const char unified[] = "/sys/fs/cgroup/unified";
    struct statfs fs;

    if (statfs(unified, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
        return unified;
    return "/sys/fs/cgroup";
}

uint64_t cgroup_id_of(const char *control_group)
{
    char path[CGROUP_PATH];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s%s", cgroup_root(), control_group);

    if (control_group[0] != '/' || strstr(control_group, "/../") || n < 0 ||
        (size_t)n >= sizeof path || stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return 0;
    return st.st_ino;
}

uint64_t port_cgroup_hash(const char *control_group)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325); /* FNV-1a */

    for (const char *s = control_group; *s; s++)
        h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001B3);
    return h | UINT64_C(1) << 63;
}
