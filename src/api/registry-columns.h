/* The columns of the registry's three tables: one list from which YAML, SQLite and the checks are
 * all driven.
 *
 * A value is converted by the set functions (types and ranges) and judged by registry_find_fault()
 * (names, and every rule that spans rows), whatever file it came from. Errors say what was found
 * and what would be right. */
#pragma once

#include "api/registry.h"

typedef enum ColumnKind {
    COLUMN_TEXT, /* char *, NULL when absent; empty text counts as absent */
    COLUMN_BOOL,
    COLUMN_PORT,     /* uint16_t, 0 when absent */
    COLUMN_TIMEOUT,  /* uint32_t, 0 when absent */
    COLUMN_SCOPE,    /* UnitScope */
    COLUMN_EXPECTED, /* Expected */
} ColumnKind;

typedef struct RegistryColumn {
    const char *name;
    size_t offset;
    ColumnKind kind;
    bool is_key;
    bool (*valid)(const char *s); /* of a text */
    const char *what;             /* "an id" */
    const char *right;            /* "use letters, ..." */
} RegistryColumn;

typedef struct RegistryTable {
    const char *name;
    const RegistryColumn *columns;
    size_t n_columns;
    size_t row_size;
    size_t rows_offset; /* of the array in Registry */
    size_t n_offset;
    size_t place_offset; /* in the row */
    size_t max;
    int (*compare)(const void *a, const void *b); /* by key */
} RegistryTable;

enum { TABLE_PCS, TABLE_APPS, TABLE_TARGETS, TABLE_MAX };

#define REGISTRY_WHY_MAX 384

extern const RegistryTable registry_tables[TABLE_MAX];

size_t registry_count(const RegistryTable *t, const Registry *r);
void *registry_row(const RegistryTable *t, const Registry *r, size_t index);
/* Appends an empty row; -E2BIG at the table's maximum, -ENOMEM. */
int registry_append(const RegistryTable *t, Registry *r, void **ret_row);
void registry_row_done(const RegistryTable *t, void *row);
int registry_row_copy(const RegistryTable *t, void *dst, const void *src); /* dst: an empty row */
uint32_t registry_place(const RegistryTable *t, const void *row);

/* Each returns 0, -ENOMEM, or -EINVAL with the reason in why (REGISTRY_WHY_MAX bytes). The row's
 * value of that column must be unset before. */
int registry_set_text(const RegistryColumn *c, void *row, const char *text, size_t len, char *why);
int registry_set_number(const RegistryColumn *c, void *row, int64_t number, char *why);
void registry_set_bool(const RegistryColumn *c, void *row, bool value);

/* Text of a TEXT, SCOPE or EXPECTED column; NULL when absent. Number of a BOOL, PORT or TIMEOUT
 * column. */
const char *registry_get_text(const RegistryColumn *c, const void *row);
int64_t registry_get_number(const RegistryColumn *c, const void *row);
static inline bool registry_column_is_number(const RegistryColumn *c)
{
    return c->kind == COLUMN_BOOL || c->kind == COLUMN_PORT || c->kind == COLUMN_TIMEOUT;
}

/* "X is not a port, use a number from 1 to 65535" */
void registry_why(const RegistryColumn *c, const char *shown, char *why);
/* Checks the value of every text column of one row. */
int registry_row_check(const RegistryTable *t, const void *row, const RegistryColumn **ret_column,
                       char *why);

/* The first broken rule of a registry, which it sorts on the way. -EINVAL with *ret, or 0. */
typedef struct RegistryFault {
    const RegistryTable *table;
    const RegistryColumn *column; /* NULL: the row as a whole */
    uint32_t place;               /* of the row */
    char why[REGISTRY_WHY_MAX];
} RegistryFault;

int registry_find_fault(Registry *r, RegistryFault *ret);
