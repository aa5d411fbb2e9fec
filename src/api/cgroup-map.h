/* Which service unit of this machine a cgroup id belongs to.
 *
 * The kernel tells a socket's cgroup as an inode number; its path can be had without privileges
 * only by walking the tree. So the tree is walked when an unknown id shows up, at most each
 * CGROUP_MAP_PAUSE_US. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CGROUP_MAP_MAX      4096 /* directories that are looked at in one walk */
#define CGROUP_MAP_DEPTH    10
#define CGROUP_MAP_PAUSE_US (10U * 1000000U)

typedef struct CgroupMap CgroupMap;

int cgroup_map_new(const char *root, CgroupMap **ret); /* NULL: cgroup_root(); copied */
CgroupMap *cgroup_map_free(CgroupMap *m);

/* Name of the *.service unit whose cgroup (or a cgroup below it) has that id. False: it is in no
 * service of the system or of this user, or a proxy's that may well serve another unit
 * (docker-proxy, rootlessport, pasta), or it cannot be told yet. */
bool cgroup_map_service(CgroupMap *m, uint64_t id, uint64_t now_us, char *name, size_t size);
