/* Which TCP ports listen on a PC, and who holds them.
 *
 * The own PC: one netlink sock_diag dump of LISTEN sockets for each address family (41 us at 100
 * listeners). Another PC: the text of `ss -Htlne` (see port_table_parse_ss). Both fill the same
 * PortTable. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/unit.h"

#define PORT_TABLE_MAX 65536

typedef struct PortEntry {
    uint16_t port;
    bool is_ipv6;
    uint8_t addr[16]; /* network order; IPv4 in the first 4 */
    uint32_t queue;   /* connections that wait for accept() */
    uint32_t backlog;
    uint32_t uid;
    uint64_t cgroup_id; /* INET_DIAG_CGROUP_ID: inode of the owner's cgroup directory (from ss:
                           port_cgroup_hash() of its path); 0 or 1: cannot tell */
    char unit[32];      /* from ss only: the service unit the owner sits in, cleaned; "" none */
} PortEntry;

typedef struct PortTable {
    PortEntry *entries; /* sorted by port */
    size_t n, cap;
    uint64_t at_us; /* mono; 0: never read */
} PortTable;

typedef struct PortReader PortReader; /* holds the netlink socket open between looks */

int port_reader_new(PortReader **ret);
PortReader *port_reader_free(PortReader *r);
/* Replaces the table's content; on error (-EIO, -ENOMEM, ...) the table keeps what it had. */
int port_reader_read(PortReader *r, PortTable *table, uint64_t now_us);

void port_table_done(PortTable *t);

/* Text of `ss -Htlne`: hostile until checked; lines that do not parse are skipped and counted in
 * *ret_bad. The text must end with a newline. -EFBIG beyond PORT_TABLE_MAX entries. */
int port_table_parse_ss(PortTable *t, const char *text, size_t len, uint64_t now_us,
                        size_t *ret_bad);

/* Is it listening? entry (may be NULL) gets the entry that a health check should connect to:
 * loopback or wildcard first, IPv4 before IPv6. */
bool port_listening_check(const PortTable *t, uint16_t port, const PortEntry **entry);

/* Is this the cgroup of a service unit that is not the one in question? Fills its name. False: it
 * is no foreign service, or that cannot be told. */
typedef bool (*PortForeignLookup)(void *userdata, uint64_t cgroup_id, char *name, size_t size);

/* Fills facts from the table: listening, queue, misses, full_since, owner. own_ids (may be NULL):
 * cgroup ids that count as the unit's own; zeros are ignored. The owner is OWNER_SELF if one of
 * them holds the port, OWNER_FOREIGN if lookup (may be NULL) says so of every holder, else
 * OWNER_UNKNOWN. A table that was never read changes nothing; one that was seen before counts no
 * further miss. */
void port_facts_update(PortFacts *facts, const PortTable *t, uint16_t port, const uint64_t *own_ids,
                       size_t n_own, PortForeignLookup lookup, void *userdata);

/* Where cgroup v2 is mounted: /sys/fs/cgroup, or its "unified" on hybrid hosts. */
const char *cgroup_root(void);

/* Inode of the cgroup directory of a unit's ControlGroup property; 0 when there is none. */
uint64_t cgroup_id_of(const char *control_group);

/* What stands for it where only the path is known (ss on another PC): never a small number. */
uint64_t port_cgroup_hash(const char *control_group);
