/* A small, strict YAML reader for files that people write: mappings, lists and scalars with their
 * line numbers.
 *
 * Refused, with a line: syntax errors, anchors, aliases, tags, directives, several documents,
 * duplicate keys, keys that are no plain text, NUL bytes, nesting beyond YAML_DEPTH_MAX, more than
 * YAML_NODES_MAX nodes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/macro.h"

#define YAML_DEPTH_MAX 8
#define YAML_NODES_MAX 2000000
#define YAML_NOTHING   UINT32_MAX

typedef enum YamlKind { YAML_SCALAR, YAML_LIST, YAML_MAPPING } YamlKind;

typedef struct YamlNode {
    YamlKind kind;
    bool quoted;    /* a scalar in quotes or a block scalar: text, whatever it looks like */
    uint32_t line;  /* from 1; of the key where there is one */
    uint32_t next;  /* the next sibling, YAML_NOTHING at the end */
    uint32_t first; /* the first child */
    uint32_t last;
    char *key;  /* of a mapping's member, else NULL */
    char *text; /* of a scalar */
} YamlNode;

typedef struct YamlTree {
    const char *name; /* of the file, for errors; borrowed */
    YamlNode *nodes;
    uint32_t n, cap;
    uint32_t root; /* YAML_NOTHING: an empty document */
    char error[512];
} YamlTree;

/* On -EINVAL and -ENOMEM tree->error has the sentence. The tree must be freed by yaml_tree_done()
 * in any case. */
int yaml_tree_parse(YamlTree *tree, const char *name, const char *text, size_t len);
void yaml_tree_done(YamlTree *tree);

const YamlNode *yaml_root(const YamlTree *tree);                          /* NULL: empty document */
const YamlNode *yaml_first(const YamlTree *tree, const YamlNode *parent); /* NULL: no children */
const YamlNode *yaml_next(const YamlTree *tree, const YamlNode *node);
const YamlNode *yaml_child(const YamlTree *tree, const YamlNode *parent, size_t index);
const YamlNode *yaml_get(const YamlTree *tree, const YamlNode *mapping, const char *key);

bool yaml_is_null(const YamlNode *node); /* absent, empty, ~ or null */
/* A plain decimal number without sign and leading zeros. */
bool yaml_as_number(const YamlNode *node, uint64_t *ret);
bool yaml_as_bool(const YamlNode *node, bool *ret); /* true or false, nothing else */

/* Sets tree->error to "NAME:LINE: ..." (NAME alone for line 0) and returns -EINVAL. The text may
 * hold what the file says: it is cleaned here. */
int yaml_fail(YamlTree *tree, uint32_t line, const char *format, ...) PRINTF(3, 4);
/* What a node looks like, in quotes if it is text, cut and cleaned: for errors. */
const char *yaml_describe(const YamlNode *node, char *dst, size_t size);
