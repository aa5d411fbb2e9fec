/* Where our files are: the XDG base directories (basedir-spec 0.8). A variable that is unset, empty
 * or not absolute counts as unset; without HOME there is no fallback. Each returns a path that the
 * caller frees, or NULL. */
#pragma once

#include <stddef.h>

#include "basic/buffer.h"

char *paths_registry(void);    /* $XDG_DATA_HOME/services_api/registry.db, ~/.local/share */
char *paths_config(void);      /* $XDG_CONFIG_HOME/services_api/config.yaml, ~/.config */
char *paths_token(void);       /* $XDG_CONFIG_HOME/services_api/token */
char *paths_state_db(void);    /* $XDG_STATE_HOME/services_api/services_api.db, ~/.local/state */
char *paths_runtime_dir(void); /* $XDG_RUNTIME_DIR/services_api; NULL without XDG_RUNTIME_DIR */

/* Makes the missing directories above file (mode 0700). 0 or -errno. */
int paths_make_parents(const char *file);

/* Reads a whole file ("-": standard input) into an empty buffer with a maximum. -EFBIG when it is
 * longer, -errno. */
int paths_read(const char *path, Buffer *out);
