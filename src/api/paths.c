/* The XDG base directories, and the two things that everybody does with a path. */
#include "api/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/macro.h"

#define NAME "services_api"

static const char *absolute(const char *variable)
{
    const char *value = getenv(variable);

    return value && *value == '/' ? value : NULL;
}

/* fallback: below HOME; NULL: none */
static char *in_base(const char *variable, const char *fallback, const char *file)
{
    const char *base = absolute(variable), *home = absolute("HOME");
    char *path;
    int n;

    if (base)
        n = asprintf(&path, "%s/%s", base, file);
    else if (home && fallback)
        n = asprintf(&path, "%s/%s/%s", home, fallback, file);
    else
        return NULL;
    return n < 0 ? NULL : path;
}

char *paths_registry(void)
{
    return in_base("XDG_DATA_HOME", ".local/share", NAME "/registry.db");
}

char *paths_config(void)
{
    return in_base("XDG_CONFIG_HOME", ".config", NAME "/config.yaml");
}

char *paths_token(void)
{
    return in_base("XDG_CONFIG_HOME", ".config", NAME "/token");
}

char *paths_state_db(void)
{
    return in_base("XDG_STATE_HOME", ".local/state", NAME "/services_api.db");
}

char *paths_runtime_dir(void)
{
    return in_base("XDG_RUNTIME_DIR", NULL, NAME);
}

int paths_make_parents(const char *file)
{
    CLEANUP_FREE char *path = strdup(file);

    if (!path)
        return -ENOMEM;
    if (*path == '\0')
        return -ENOENT;
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        struct stat st;
        *p = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return -errno;
        if (stat(path, &st) < 0)
            return -errno;
        if (!S_ISDIR(st.st_mode))
            return -ENOTDIR;
        *p = '/';
    }
    return 0;
}

int paths_read(const char *path, Buffer *out)
{
    CLEANUP_CLOSE int fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                                  : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char chunk[16384];

    if (fd < 0)
        return -errno;
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return buffer_error(out);
        buffer_append(out, chunk, (size_t)n);
        if (buffer_error(out))
            return buffer_error(out) == -ENOBUFS ? -EFBIG : buffer_error(out);
    }
}
