/* Validators for every name that comes from a person, a file or a PC. All are pure and bounded.
 * Nothing that fails here ever reaches a command line, a path, SQL or D-Bus. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* NULL is never valid. */
bool name_is_id(const char *s); /* app_id, pc_id: [A-Za-z0-9][A-Za-z0-9._-]{0,63} */

/* An alias of ssh_config(5), in the form of an id: it never starts with '-' and has no user. */
bool name_is_ssh_host(const char *s);

/* systemd.unit(5): [A-Za-z0-9:_.\\@-]+ with a known suffix, at most 255 bytes. Not a template
 * without instance ("x@.service"), not one that begins with '-'. */
bool name_is_unit(const char *s);

/* Titles, notes, tags: valid UTF-8 without any character of text_is_control(), at most max bytes.
 */
bool name_is_text(const char *s, size_t max);

#define BOOT_ID_LEN 36

/* What the kernel calls a boot: a UUID in lower case hex digits, 8-4-4-4-12. */
bool name_is_boot_id(const char *s);

/* '/' then visible ASCII without space and '#', at most 1,024 bytes. */
bool name_is_health_path(const char *s);

/* http:// or https://, host name or literal address, then optionally a port 1-65535 and a health
 * path; no userinfo; at most 1,024 bytes. */
bool name_is_health_url(const char *s);
