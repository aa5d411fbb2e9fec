/* A directory for one test: made by test_dir_new(), taken away with all that is in it by
 * test_dir_free(). */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static inline char *test_dir_new(void)
{
    const char *tmp = getenv("TMPDIR");
    char *path;

    if (asprintf(&path, "%s/services-test-XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp") < 0 ||
        !mkdtemp(path))
        abort();
    return path;
}

static inline int test_dir_remove_one(const char *path, const struct stat *st, int type,
                                      struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void test_dir_free(char *path)
{
    nftw(path, test_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(path);
}

/* DIR/NAME in one of a few static buffers. */
static inline const char *test_path(const char *dir, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static inline void test_write(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, data, len) != (ssize_t)len)
        abort();
    close(fd);
}

/* Number of entries in a directory, without . and .. */
static inline size_t test_count_files(const char *path)
{
    DIR *dir = opendir(path);
    size_t n = 0;

    if (!dir)
        abort();
    for (const struct dirent *e; (e = readdir(dir));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return n;
}
