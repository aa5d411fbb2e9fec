/* The registry as people write it: YAML with the lists pcs, apps, service_targets; keys are the
 * column names. Parsing is strict (unknown keys, wrong types, anchors, aliases and multiple
 * documents are refused) and every error names file, line and key and says what would be right. */
#pragma once

#include "api/registry.h"

#define REGISTRY_YAML_MAX (8U << 20) /* bytes */

/* text of len bytes; name is used in errors only. The result has passed registry_check(). -EINVAL,
 * -ENOMEM, -EFBIG. */
int registry_yaml_parse(const char *name, const char *text, size_t len, Registry **ret,
                        RegistryError *error);

/* Writes YAML that registry_yaml_parse() reads back to the same registry. */
void registry_yaml_write(const Registry *r, Buffer *out);
