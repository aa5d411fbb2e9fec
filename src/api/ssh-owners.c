/* See ssh-owners.h. A container engine holds the ports of what it runs (docker-proxy sits in
 * docker.service's cgroup), so its units count as "cannot be told". */
#include "api/ssh-owners.h"

#include <errno.h>
#include <string.h>

#include "api/probe-port.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/name.h"
#include "common/unit.h"

#define NAMES_MAX   (SSH_OWNERS_MAX * (UNIT_MAX + 1U))
#define CGROUP_PATH 1024

static bool is_engine(const char *unit)
{
    static const char *const engines[] = {"docker.service", "containerd.service", "podman.service"};

    for (size_t i = 0; i < ELEMENTS(engines); i++)
        if (strcmp(unit, engines[i]) == 0)
            return true;
    return false;
}

/* The innermost *.service of a cgroup path, unless it is a user's manager as such. */
static bool unit_of(const char *path, char ret[UNIT_MAX + 1])
{
    static const char suffix[] = ".service";

    ret[0] = '\0';
    for (const char *at = path; *at;) {
        size_t len = strcspn(at, "/");
        if (len > sizeof suffix && len <= UNIT_MAX && strncmp(at, "user@", 5) != 0 &&
            strncmp(at + len - (sizeof suffix - 1), suffix, sizeof suffix - 1) == 0) {
            memcpy(ret, at, len);
            ret[len] = '\0';
        }
        at += len + (at[len] == '/');
    }
    return ret[0] && name_is_unit(ret) && !is_engine(ret);
}

static int add(SshOwners *o, uint64_t id, const char *unit)
{
    if (o->n == SSH_OWNERS_MAX)
        return 0;
    if (o->n == o->cap) {
        size_t cap = o->cap ? o->cap * 2 : 64;
        SshOwner *items = realloc(o->items, cap * sizeof *items);
        if (!items)
            return -ENOMEM;
        o->items = items;
        o->cap = cap;
    }
    o->items[o->n++] = (SshOwner){.id = id, .name = (uint32_t)o->names.len};
    buffer_append(&o->names, unit, strlen(unit) + 1);
    return buffer_error(&o->names);
}

static int word_read(SshOwners *o, const char *word, size_t len)
{
    char path[CGROUP_PATH], unit[UNIT_MAX + 1];

    if (len >= sizeof path || memchr(word, '\0', len))
        return 0;
    memcpy(path, word, len);
    path[len] = '\0';
    return unit_of(path, unit) ? add(o, port_cgroup_hash(path), unit) : 0;
}

static int compare(const void *a, const void *b)
{
    const SshOwner *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

int ssh_owners_read(SshOwners *o, const char *text, size_t len)
{
    static const char key[] = " cgroup:";
    const char *end = text + len, *at = text;
    int r = 0;

    o->n = 0;
    buffer_reset(&o->names);
    o->names.max = NAMES_MAX;
    while (r >= 0 && (at = memmem(at, (size_t)(end - at), key, sizeof key - 1))) {
        const char *word = at += sizeof key - 1;
        while (at < end && *at != ' ' && *at != '\t' && *at != '\n' && *at != '\r')
            at++;
        r = word_read(o, word, (size_t)(at - word));
    }
    if (r < 0)
        o->n = 0;
    else if (o->n > 1)
        qsort(o->items, o->n, sizeof *o->items, compare);
    return r;
}

void ssh_owners_done(SshOwners *o)
{
    free(o->items);
    buffer_done(&o->names);
    *o = (SshOwners){0};
}

bool ssh_owners_find(const SshOwners *o, uint64_t id, char *name, size_t size)
{
    SshOwner key = {.id = id};
    const SshOwner *found = o->n ? bsearch(&key, o->items, o->n, sizeof *o->items, compare) : NULL;

    if (!found)
        return false;
    text_copy(name, size, o->names.data + found->name);
    return true;
}
