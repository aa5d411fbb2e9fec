/* The column tables, and what can be said of one value or one row alone.
 *
 * Everything that knows the registry's shape reads it from here: the YAML reader and writer, the
 * SQLite schema and its loader, the checks. A new column is one line below plus a field in
 * registry.h.
 *
 * Rows are addressed by offset. That is the price of one table for three record types; the typed
 * face is registry.h. */
#include "api/registry-columns.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/name.h"
#include "common/protocol.h"

#define NOTE_MAX       1024
#define TIMEOUT_MIN_MS 100
#define TIMEOUT_MAX_MS 3599500

static bool is_title(const char *s)
{
    return name_is_text(s, TITLE_MAX);
}

static bool is_tag(const char *s)
{
    return name_is_text(s, ID_MAX);
}

static bool is_note(const char *s)
{
    return name_is_text(s, NOTE_MAX);
}

static bool is_health(const char *s)
{
    return *s == '/' ? name_is_health_path(s) : name_is_health_url(s);
}

#define RIGHT_ID \
    N_("use letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 64")
#define RIGHT_HOST \
    N_("use the name of a Host entry in ~/.ssh/config: letters, digits, '.', '_' and '-'")
#define RIGHT_UNIT N_("use its full name, like sqlite_api.service")
#define RIGHT_PORT N_("use a number from 1 to 65535")
#define RIGHT_MS   N_("use a number from 100 to 3599500")
#define RIGHT_HEALTH \
    N_("use a path like /health or a URL like http://host:8080/health, without user and password")
#define RIGHT_BOOL  N_("use true or false")
#define RIGHT_TAG   N_("use one line of text without control characters, at most 64 bytes")
#define RIGHT_TITLE N_("use one line of text without control characters, at most 128 bytes")
#define RIGHT_NOTE  N_("use one line of text without control characters, at most 1024 bytes")

#define KEY(type, name)                                                                   \
    {                                                                                     \
#name, offsetof(type, name), COLUMN_TEXT, true, name_is_id, N_("an id"), RIGHT_ID \
    }
#define TEXT(type, name, field, valid, what, right)                         \
    {                                                                       \
        name, offsetof(type, field), COLUMN_TEXT, false, valid, what, right \
    }
#define OTHER(type, name, field, kind, what, right)                 \
    {                                                               \
        name, offsetof(type, field), kind, false, NULL, what, right \
    }

static const RegistryColumn pc_columns[] = {
    KEY(RegistryPc, pc_id),
    TEXT(RegistryPc, "ssh_host", ssh_host, name_is_ssh_host, N_("an ssh host"), RIGHT_HOST),
    OTHER(RegistryPc, "pc_is_self", is_self, COLUMN_BOOL, N_("a truth value"), RIGHT_BOOL),
    OTHER(RegistryPc, "may_sleep", may_sleep, COLUMN_BOOL, N_("a truth value"), RIGHT_BOOL),
    TEXT(RegistryPc, "note", note, is_note, N_("a note"), RIGHT_NOTE),
};

static const RegistryColumn app_columns[] = {
    KEY(RegistryApp, app_id),
    TEXT(RegistryApp, "title", title, is_title, N_("a title"), RIGHT_TITLE),
    TEXT(RegistryApp, "tag", tag, is_tag, N_("a tag"), RIGHT_TAG),
    TEXT(RegistryApp, "unit", unit, name_is_unit, N_("a systemd unit"), RIGHT_UNIT),
    OTHER(RegistryApp, "unit_scope", scope, COLUMN_SCOPE, N_("a unit scope"),
          N_("use user or system")),
    OTHER(RegistryApp, "port", port, COLUMN_PORT, N_("a port"), RIGHT_PORT),
    TEXT(RegistryApp, "health_endpoint", health, is_health, N_("a health endpoint"), RIGHT_HEALTH),
    OTHER(RegistryApp, "health_timeout_ms", timeout_ms, COLUMN_TIMEOUT, N_("a time in ms"),
          RIGHT_MS),
    OTHER(RegistryApp, "is_local_only", is_local_only, COLUMN_BOOL, N_("a truth value"),
          RIGHT_BOOL),
    TEXT(RegistryApp, "note", note, is_note, N_("a note"), RIGHT_NOTE),
};

static const RegistryColumn target_columns[] = {
    KEY(RegistryTarget, app_id),
    KEY(RegistryTarget, pc_id),
    OTHER(RegistryTarget, "expected", expected, COLUMN_EXPECTED, N_("an expectation"),
          N_("use running or stopped")),
    TEXT(RegistryTarget, "unit", unit, name_is_unit, N_("a systemd unit"), RIGHT_UNIT),
    OTHER(RegistryTarget, "port", port, COLUMN_PORT, N_("a port"), RIGHT_PORT),
    TEXT(RegistryTarget, "health_endpoint", health, is_health, N_("a health endpoint"),
         RIGHT_HEALTH),
    OTHER(RegistryTarget, "health_timeout_ms", timeout_ms, COLUMN_TIMEOUT, N_("a time in ms"),
          RIGHT_MS),
};

static int compare_pc(const void *a, const void *b)
{
    const RegistryPc *x = a, *y = b;

    return strcmp(x->pc_id, y->pc_id);
}

static int compare_app(const void *a, const void *b)
{
    const RegistryApp *x = a, *y = b;

    return strcmp(x->app_id, y->app_id);
}

static int compare_target(const void *a, const void *b)
{
    const RegistryTarget *x = a, *y = b;
    int r = strcmp(x->app_id, y->app_id);

    return r ? r : strcmp(x->pc_id, y->pc_id);
}

#define TABLE(name, type, columns, rows, n, max, compare)                         \
    {                                                                             \
        name, columns, ELEMENTS(columns), sizeof(type), offsetof(Registry, rows), \
            offsetof(Registry, n), offsetof(type, place), max, compare            \
    }

const RegistryTable registry_tables[TABLE_MAX] = {
    [TABLE_PCS] = TABLE("pcs", RegistryPc, pc_columns, pcs, n_pcs, REGISTRY_PCS_MAX, compare_pc),
    [TABLE_APPS] =
        TABLE("apps", RegistryApp, app_columns, apps, n_apps, REGISTRY_APPS_MAX, compare_app),
    [TABLE_TARGETS] = TABLE("service_targets", RegistryTarget, target_columns, targets, n_targets,
                            REGISTRY_TARGETS_MAX, compare_target),
};

static void *field(const RegistryColumn *c, const void *row)
{
    return (char *)row + c->offset;
}

size_t registry_count(const RegistryTable *t, const Registry *r)
{
    return *(const size_t *)(const void *)((const char *)r + t->n_offset);
}

static void **rows_of(const RegistryTable *t, const Registry *r)
{
    return (void **)(void *)((char *)r + t->rows_offset);
}

void *registry_row(const RegistryTable *t, const Registry *r, size_t index)
{
    return (char *)*rows_of(t, r) + index * t->row_size;
}

uint32_t registry_place(const RegistryTable *t, const void *row)
{
    return *(const uint32_t *)(const void *)((const char *)row + t->place_offset);
}

int registry_append(const RegistryTable *t, Registry *r, void **ret_row)
{
    size_t n = registry_count(t, r);

    if (n >= t->max)
        return -E2BIG;
    if ((n & (n - 1)) == 0) { /* full at each power of two, and at 0 */
        void *rows = realloc(*rows_of(t, r), MAX(n * 2, 1U) * t->row_size);
        if (!rows)
            return -ENOMEM;
        *rows_of(t, r) = rows;
    }
    char *row = registry_row(t, r, n);
    memset(row, 0, t->row_size);
    *(uint32_t *)(void *)(row + t->place_offset) = (uint32_t)n;
    *(size_t *)(void *)((char *)r + t->n_offset) = n + 1;
    *ret_row = row;
    return 0;
}

void registry_row_done(const RegistryTable *t, void *row)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (t->columns[i].kind == COLUMN_TEXT)
            freep(field(&t->columns[i], row));
    memset(row, 0, t->row_size);
}

int registry_row_copy(const RegistryTable *t, void *dst, const void *src)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        const RegistryColumn *c = &t->columns[i];
        char *text;

        if (c->kind != COLUMN_TEXT)
            continue;
        text = *(char **)field(c, src);
        text = text ? strdup(text) : NULL;
        if (!text && *(char **)field(c, src))
            return -ENOMEM;
        *(char **)field(c, dst) = text;
    }
    for (size_t i = 0; i < t->n_columns; i++) {
        const RegistryColumn *c = &t->columns[i];

        switch (c->kind) {
        case COLUMN_TEXT: break;
        case COLUMN_BOOL: *(bool *)field(c, dst) = *(bool *)field(c, src); break;
        case COLUMN_PORT: *(uint16_t *)field(c, dst) = *(uint16_t *)field(c, src); break;
        case COLUMN_TIMEOUT: *(uint32_t *)field(c, dst) = *(uint32_t *)field(c, src); break;
        case COLUMN_SCOPE: *(UnitScope *)field(c, dst) = *(UnitScope *)field(c, src); break;
        case COLUMN_EXPECTED: *(Expected *)field(c, dst) = *(Expected *)field(c, src); break;
        }
    }
    return 0;
}

void registry_why(const RegistryColumn *c, const char *shown, char *why)
{
    snprintf(why, REGISTRY_WHY_MAX, _("%s is not %s, %s"), shown, i18n_text(c->what),
             i18n_text(c->right));
}

static void quote(const char *text, size_t len, char *dst, size_t size)
{
    char clean[80];

    text_clean(clean, sizeof(clean), text, len);
    if (strstr(clean, "://") && memchr(text, '@', len)) /* its password must not get into a log */
        text_copy(clean, sizeof(clean), _("(a URL with user or password)"));
    snprintf(dst, size, "\"%s\"", clean);
}

static int bad_text(const RegistryColumn *c, const char *text, size_t len, char *why)
{
    char shown[96], service[80];

    quote(text, len, shown, sizeof(shown));
    registry_why(c, shown, why);
    if (c->valid == name_is_ssh_host && memchr(text, '@', len))
        snprintf(why, REGISTRY_WHY_MAX,
                 _("%s has a user name, make a Host entry in ~/.ssh/config with HostName and User "
                   "and use its alias"),
                 shown);
    if (c->valid == name_is_unit && len <= 64) {
        snprintf(service, sizeof(service), "%.*s.service", (int)len, text);
        if (name_is_unit(service))
            snprintf(why, REGISTRY_WHY_MAX, _("%s has no suffix, did you mean %s?"), shown,
                     service);
    }
    return -EINVAL;
}

int registry_set_text(const RegistryColumn *c, void *row, const char *text, size_t len, char *why)
{
    char shown[96];

    if (len == 0)
        return 0;
    if (memchr(text, '\0', len))
        return bad_text(c, text, len, why);
    CLEANUP_FREE char *copy = strndup(text, len);
    if (!copy)
        return -ENOMEM;

    switch (c->kind) {
    case COLUMN_TEXT: *(char **)field(c, row) = TAKE_PTR(copy); return 0;
    case COLUMN_SCOPE:
        if (unit_scope_from_string(copy) == SCOPE_INVALID)
            break;
        *(UnitScope *)field(c, row) = unit_scope_from_string(copy);
        return 0;
    case COLUMN_EXPECTED:
        if (expected_from_string(copy) == EXPECTED_INVALID)
            break;
        *(Expected *)field(c, row) = expected_from_string(copy);
        return 0;
    default: break;
    }
    quote(text, len, shown, sizeof(shown));
    registry_why(c, shown, why);
    return -EINVAL;
}

int registry_set_number(const RegistryColumn *c, void *row, int64_t number, char *why)
{
    char shown[32];

    if (c->kind == COLUMN_PORT && number >= 1 && number <= UINT16_MAX)
        *(uint16_t *)field(c, row) = (uint16_t)number;
    else if (c->kind == COLUMN_TIMEOUT && number >= TIMEOUT_MIN_MS && number <= TIMEOUT_MAX_MS)
        *(uint32_t *)field(c, row) = (uint32_t)number;
    else if (c->kind == COLUMN_BOOL && (number == 0 || number == 1))
        *(bool *)field(c, row) = number == 1;
    else {
        snprintf(shown, sizeof(shown), "%" PRId64, number);
        registry_why(c, shown, why);
        return -EINVAL;
    }
    return 0;
}

void registry_set_bool(const RegistryColumn *c, void *row, bool value)
{
    assert(c->kind == COLUMN_BOOL);
    *(bool *)field(c, row) = value;
}

const char *registry_get_text(const RegistryColumn *c, const void *row)
{
    switch (c->kind) {
    case COLUMN_TEXT: return *(char **)field(c, row);
    case COLUMN_SCOPE: return unit_scope_to_string(*(UnitScope *)field(c, row));
    case COLUMN_EXPECTED: return expected_to_string(*(Expected *)field(c, row));
    default: return NULL;
    }
}

int64_t registry_get_number(const RegistryColumn *c, const void *row)
{
    switch (c->kind) {
    case COLUMN_BOOL: return *(bool *)field(c, row);
    case COLUMN_PORT: return *(uint16_t *)field(c, row);
    case COLUMN_TIMEOUT: return *(uint32_t *)field(c, row);
    default: return 0;
    }
}

static int check_column(const RegistryColumn *c, const void *row, char *why)
{
    const char *text = registry_get_text(c, row);
    char shown[32];

    if (c->kind == COLUMN_SCOPE || c->kind == COLUMN_EXPECTED) {
        if (*text)
            return 0;
        registry_why(c, _("it"), why);
        return -EINVAL;
    }
    if (c->kind == COLUMN_TIMEOUT) {
        int64_t ms = registry_get_number(c, row);
        if (ms == 0 || (ms >= TIMEOUT_MIN_MS && ms <= TIMEOUT_MAX_MS))
            return 0;
        snprintf(shown, sizeof(shown), "%" PRId64, ms);
        registry_why(c, shown, why);
        return -EINVAL;
    }
    if (c->kind != COLUMN_TEXT)
        return 0;
    if (!text && c->is_key) {
        snprintf(why, REGISTRY_WHY_MAX, _("is missing, %s"), i18n_text(c->right));
        return -EINVAL;
    }
    return !text || c->valid(text) ? 0 : bad_text(c, text, strlen(text), why);
}

int registry_row_check(const RegistryTable *t, const void *row, const RegistryColumn **ret_column,
                       char *why)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        int r = check_column(&t->columns[i], row, why);
        if (r < 0) {
            *ret_column = &t->columns[i];
            return r;
        }
    }
    return 0;
}
