/* Which service unit of another PC a cgroup id of its port table belongs to: the paths are in what
 * ss printed, the table keeps only port_cgroup_hash() of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/buffer.h"

#define SSH_OWNERS_MAX 4096

typedef struct SshOwner {
    uint64_t id;
    uint32_t name; /* offset into names */
} SshOwner;

typedef struct SshOwners {
    SshOwner *items; /* sorted by id */
    size_t n, cap;
    Buffer names;
} SshOwners;

/* Replaces the content by what the text of `ss -Htlne` says. -ENOMEM leaves it empty. */
int ssh_owners_read(SshOwners *o, const char *text, size_t len);
void ssh_owners_done(SshOwners *o);
/* False: it sits in no service, or in one that holds ports for others. */
bool ssh_owners_find(const SshOwners *o, uint64_t id, char *name, size_t size);
