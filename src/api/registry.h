/* What is expected: PCs, apps and which app should run (or not) on which PC.
 *
 * A Registry is an immutable value, read whole from registry.db or from YAML and checked whole: one
 * that breaks a rule is never returned. All strings are the registry's own. Arrays are sorted by id
 * (targets by app, then PC). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/buffer.h"
#include "common/unit.h"

#define REGISTRY_PCS_MAX          1000
#define REGISTRY_APPS_MAX         20000
#define REGISTRY_TARGETS_MAX      100000
#define HEALTH_TIMEOUT_DEFAULT_MS 2000

typedef struct RegistryPc {
    char *pc_id;
    char *ssh_host; /* NULL: the pc_id */
    bool is_self;
    bool may_sleep;
    char *note;
    uint32_t place; /* position in the file it was read from, for errors only; in each row type */
} RegistryPc;

typedef struct RegistryApp {
    char *app_id;
    char *title; /* NULL: none */
    char *tag;
    char *unit; /* NULL: known by port or health only */
    UnitScope scope;
    uint16_t port;       /* 0: none */
    char *health;        /* path or URL, NULL: none */
    uint32_t timeout_ms; /* 0: HEALTH_TIMEOUT_DEFAULT_MS */
    bool is_local_only;
    char *note;
    uint32_t place;
} RegistryApp;

/* NULL and 0 mean "as the app says". */
typedef struct RegistryTarget {
    char *app_id;
    char *pc_id;
    Expected expected;
    char *unit;
    uint16_t port;
    char *health;
    uint32_t timeout_ms;
    uint32_t place;
} RegistryTarget;

typedef struct Registry {
    RegistryPc *pcs;
    size_t n_pcs;
    RegistryApp *apps;
    size_t n_apps;
    RegistryTarget *targets;
    size_t n_targets;
} Registry;

/* One sentence with the place ("registry.yaml:12: apps[3].port: 70000 is not a port, use 1-65535").
 */
typedef struct RegistryError {
    char text[512];
} RegistryError;

Registry *registry_free(Registry *r);

static inline void registry_freep(Registry **r)
{
    *r = registry_free(*r);
}

/* Sorts and checks every rule that spans rows: duplicate and dangling ids, more than one target per
 * pair, an app with neither unit, port nor health, a health path without port. -EINVAL with the
 * error's text. */
int registry_check(Registry *r, RegistryError *error);

/* registry.db. Loading opens read-only, reads all in one transaction and closes; -ENOENT when there
 * is no file, -EBUSY while somebody is writing it, -EINVAL for anything that is no valid registry.
 * Saving writes a new file beside it and renames it (mode 0600). */
int registry_load(const char *path, Registry **ret, RegistryError *error);
int registry_save(const char *path, const Registry *r, RegistryError *error);

const RegistryPc *registry_find_pc(const Registry *r, const char *pc_id);
const RegistryApp *registry_find_app(const Registry *r, const char *app_id);

/* Which PC am I? `wanted` is --self or the config's word (NULL: none given; "none": observe only).
 * Order: wanted, then the PC whose pc_id or ssh_host equals host_name (also without its domain),
 * then the only row with pc_is_self. Returns 0 with *ret set (NULL for "none"), or -ENOENT with the
 * candidates in the error. */
int registry_self(const Registry *r, const char *wanted, const char *host_name,
                  const RegistryPc **ret, RegistryError *error);

/* Adds one app with one target (and the PC if it is new) to r, replacing rows of the same id; each
 * of the three may be NULL. A known PC stays as it is, except that a given ssh_host replaces its
 * own. -EINVAL leaves r as is. Pointers to rows of r are void afterwards. */
int registry_add(Registry *r, const RegistryPc *pc, const RegistryApp *app,
                 const RegistryTarget *target, RegistryError *error);

/* All services that the daemon on `self` (NULL: none) watches, overrides applied, sorted by (pc_id,
 * app_id): every target, except those of is_local_only apps on other PCs, plus one row on self for
 * each is_local_only app without a target there. Strings are borrowed from r. timeout_ms is filled
 * in and capped to max_timeout_ms. */
int registry_wants(const Registry *r, const RegistryPc *self, uint32_t max_timeout_ms, Want **ret,
                   size_t *ret_n);
