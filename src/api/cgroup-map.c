/* A sorted list of (inode, unit) made by walking the system's slice and this user's manager.
 *
 * Only directories below a *.service are kept, user@UID.service itself apart: that is the manager
 * which holds this user's units, not one of them. A walk is bounded in depth and in directories,
 * and it replaces the list whole.
 *
 * Containers publish ports by a helper process that sits in another unit's cgroup than the service
 * it works for. It is looked at when a unit is first asked for after a walk: "cannot tell" is then
 * the honest answer. */
#include "api/cgroup-map.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/probe-port.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/unit.h"

#define PROCS_MAX 64 /* processes of a cgroup whose names are looked at */

typedef struct Place {
    uint64_t id;
    char *path; /* of its directory */
    char *unit; /* the innermost service it lies in */
    bool judged;
    bool is_proxy;
} Place;

struct CgroupMap {
    char root[256];
    Place *places;
    size_t n, cap;
    size_t visited; /* in the present walk */
    uint64_t walked_us;
    bool walked;
};

static void places_drop(CgroupMap *m)
{
    for (size_t i = 0; i < m->n; i++) {
        free(m->places[i].path);
        free(m->places[i].unit);
    }
    m->n = 0;
}

int cgroup_map_new(const char *root, CgroupMap **ret)
{
    CgroupMap *m = calloc(1, sizeof *m);

    if (!m)
        return -ENOMEM;
    text_copy(m->root, sizeof m->root, root ? root : cgroup_root());
    *ret = m;
    return 0;
}

CgroupMap *cgroup_map_free(CgroupMap *m)
{
    if (m) {
        places_drop(m);
        free(m->places);
        free(m);
    }
    return NULL;
}

/* ---- the walk ---- */

static bool is_service(const char *name)
{
    size_t len = strlen(name);

    return len > 8 && strcmp(name + len - 8, ".service") == 0 && strncmp(name, "user@", 5) != 0;
}

static int place_add(CgroupMap *m, uint64_t id, const char *path, const char *unit)
{
    if (m->n == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 64;
        Place *places = realloc(m->places, cap * sizeof *places);
        if (!places)
            return -ENOMEM;
        m->places = places;
        m->cap = cap;
    }
    Place p = {.id = id, .path = strdup(path), .unit = strdup(unit)};
    if (!p.path || !p.unit) {
        free(p.path);
        free(p.unit);
        return -ENOMEM;
    }
    m->places[m->n++] = p;
    return 0;
}

/* Walks one directory. unit: the service that it lies in, NULL none. The path buffer is extended in
 * place. */
static void walk(CgroupMap *m, char *path, size_t size, const char *unit, unsigned depth)
{
    DIR *dir = depth < CGROUP_MAP_DEPTH ? opendir(path) : NULL;
    size_t len = strlen(path);
    struct dirent *e;

    while (dir && (e = readdir(dir)) && m->visited < CGROUP_MAP_MAX) {
        struct stat st;
        if (e->d_type != DT_DIR || e->d_name[0] == '.')
            continue;
        m->visited++;
        int n = snprintf(path + len, size - len, "/%s", e->d_name);
        if (n < 0 || (size_t)n >= size - len || stat(path, &st) < 0) {
            path[len] = '\0';
            continue;
        }
        const char *inside = is_service(e->d_name) ? e->d_name : unit;
        if (inside)
            place_add(m, st.st_ino, path, inside);
        walk(m, path, size, inside, depth + 1);
        path[len] = '\0';
    }
    if (dir)
        closedir(dir);
}

static int place_compare(const void *a, const void *b)
{
    const Place *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static void walk_all(CgroupMap *m)
{
    char path[4096];
    unsigned uid = (unsigned)getuid();

    places_drop(m);
    m->visited = 0;
    snprintf(path, sizeof path, "%s/user.slice/user-%u.slice/user@%u.service", m->root, uid, uid);
    walk(m, path, sizeof path, NULL, 0);
    snprintf(path, sizeof path, "%s/system.slice", m->root);
    walk(m, path, sizeof path, NULL, 0);
    if (m->n > 1)
        qsort(m->places, m->n, sizeof *m->places, place_compare);
}

/* ---- the question ---- */

/* First line of a small file; "" when it cannot be read. */
static void line_read(const char *path, char *ret, size_t size)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);

    ret[n > 0 ? n : 0] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
}

static bool is_proxy_process(const char *pid)
{
    static const char *const proxies[] = {"docker-proxy", "rootlessport", "rootlessport-c",
                                          "pasta",        "pasta.avx2",   "passt",
                                          "slirp4netns",  "conmon"};
    char path[64], comm[32];

    snprintf(path, sizeof path, "/proc/%.16s/comm", pid);
    line_read(path, comm, sizeof comm);
    for (size_t i = 0; i < ELEMENTS(proxies); i++)
        if (strcmp(comm, proxies[i]) == 0)
            return true;
    return false;
}

static bool has_proxy(const char *cgroup)
{
    char path[4200], line[32];
    bool found = false;

    snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
    FILE *f = fopen(path, "re");
    for (int i = 0; f && !found && i < PROCS_MAX && fgets(line, sizeof line, f); i++) {
        line[strcspn(line, "\n")] = '\0';
        found = is_proxy_process(line);
    }
    if (f)
        fclose(f);
    return found;
}

static Place *place_find(const CgroupMap *m, uint64_t id)
{
    Place key = {.id = id};

    return m->n ? bsearch(&key, m->places, m->n, sizeof *m->places, place_compare) : NULL;
}

bool cgroup_map_service(CgroupMap *m, uint64_t id, uint64_t now_us, char *name, size_t size)
{
    if (id <= 1)
        return false;
    Place *p = place_find(m, id);
    if (!p && (!m->walked || now_us >= m->walked_us + CGROUP_MAP_PAUSE_US)) {
        m->walked = true;
        m->walked_us = now_us;
        walk_all(m);
        p = place_find(m, id);
    }
    if (!p)
        return false;
    if (!p->judged) {
        p->judged = true;
        p->is_proxy = has_proxy(p->path);
    }
    if (p->is_proxy)
        return false;
    text_clean(name, size, p->unit, strlen(p->unit));
    return true;
}
