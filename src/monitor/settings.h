/* What the window remembers: $XDG_CONFIG_HOME/services_monitor/settings, lines "key=value".
 *
 * Unknown keys and broken values are ignored with their defaults: a settings file must never keep
 * the window shut. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct Settings {
    int width, height; /* logical pixels */
    float scale;       /* 0: what the display says */
    bool dark;
    bool notify;       /* desktop notifications */
    char language[16]; /* "": the environment's */
    char panel[160];   /* a place, see app.h */
    char filter[64];   /* of the services list */
} Settings;

Settings settings_default(void);
void settings_parse(Settings *s, const char *text); /* what text says over what is there */
/* 0 and nothing changed when there is no file. -EFBIG, other -errno: not readable; s stays as it
 * was. */
int settings_load(Settings *s, const char *path);
int settings_save(const Settings *s, const char *path); /* whole or not at all; makes the folder */
int settings_path(char *ret, size_t size);              /* -ENOENT: no home */
