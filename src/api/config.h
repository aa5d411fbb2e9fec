/* config.yaml: how the daemon behaves. Absent file: the defaults. Strict like the registry: unknown
 * keys, wrong types and values out of range are refused with file, line and key; a config is taken
 * whole or not at all.
 *
 * The table in config.c is the only list of keys; the man page's table is checked against it by a
 * test. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/buffer.h"

typedef struct ConfigError {
    char text[512];
} ConfigError;

#define CONFIG_LIST_MAX 32

typedef struct ConfigList {
    char *items[CONFIG_LIST_MAX];
    size_t n;
} ConfigList;

typedef struct Config {
    char *listen; /* "127.0.0.1:8485"; a loopback address also opens its ::1 (or 127.0.0.1) twin */
    char *self;   /* pc_id, "none", or NULL: find out */
    uint32_t interval_ms;                /* 1,000-3,600,000; 10,000 */
    uint32_t alert_after_s;              /* 0-86,400; 300 */
    uint32_t retention_checks_days;      /* 1-366; 7 */
    uint32_t retention_transitions_days; /* 1-3,660; 730 */
    ConfigList hosts;                    /* further Host names that are accepted, without port */
    ConfigList origins;                  /* further Origins that are accepted, exactly */
    bool feature_actions;                /* features.actions */
    bool auto_fix;                       /* services_monitor.auto_fix */
    uint32_t auto_fix_budget;            /* actions per window: 1-100; 3 */
    uint32_t auto_fix_window_s;          /* 60-86,400; 600 */
    uint32_t reboot_grace_s;             /* 0-3,600; 120 */
    /* notify.* (off while all are NULL) */
    char *notify_webhook_url;
    char *notify_ntfy_url;
    char *notify_smtp_url; /* smtp[s]://host[:port] */
    char *notify_mail_from;
    char *notify_mail_to;
    char *notify_smtp_user;
    char *notify_smtp_password_file;
    char *notify_heartbeat_url;  /* called while all is well */
    uint32_t notify_heartbeat_s; /* 10-86,400; 60 */
} Config;

int config_default(Config **ret);
/* -ENOENT is not an error: defaults are returned. -EINVAL with the error's text. */
int config_load(const char *path, Config **ret, ConfigError *error);
int config_parse(const char *name, const char *text, size_t len, Config **ret, ConfigError *error);
Config *config_free(Config *c);

/* Appends the names of the keys whose values differ, ", " between them; never a value. Returns how
 * many. */
size_t config_changes(const Config *a, const Config *b, Buffer *out);

static inline void config_freep(Config **c)
{
    *c = config_free(*c);
}

/* Splits "127.0.0.1:8485" or "[::1]:8485" (literal addresses only). -EINVAL. host has room for 64
 * bytes. */
int config_split_address(const char *text, char *host, uint16_t *ret_port);

/* The key table for --help, the man page and its test: name, type, range, default, one line of
 * meaning per key. */
void config_write_keys(Buffer *out);
