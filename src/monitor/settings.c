/* Reading is forgiving, writing is whole: a temporary file beside the old one, renamed over it. No
 * fsync: losing the size of a window to a power cut is no loss worth a disk flush. */
#include "monitor/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/macro.h"
#include "basic/text.h"

#define FILE_MAX_BYTES 8192

Settings settings_default(void)
{
    return (Settings){
        .width = 1440, .height = 900, .dark = true, .notify = true, .panel = "overview"};
}

static void set_number(int *to, const char *value, int low, int high)
{
    char *end;
    long n = strtol(value, &end, 10);

    if (end != value && *end == '\0' && n >= low && n <= high)
        *to = (int)n;
}

static void set_bool(bool *to, const char *value)
{
    if (strcmp(value, "yes") == 0)
        *to = true;
    else if (strcmp(value, "no") == 0)
        *to = false;
}

static void set_scale(float *to, const char *value)
{
    int percent = (int)(*to * 100);

    set_number(&percent, value, 0, 300);
    *to = percent == 0 || percent >= 75 ? (float)percent / 100 : *to;
}

static void set_text(char *to, size_t size, const char *value)
{
    text_clean(to, size, value, strlen(value));
}

static void set_key(Settings *s, const char *key, const char *value)
{
    if (strcmp(key, "width") == 0)
        set_number(&s->width, value, 640, 16384);
    else if (strcmp(key, "height") == 0)
        set_number(&s->height, value, 400, 16384);
    else if (strcmp(key, "scale_percent") == 0)
        set_scale(&s->scale, value);
    else if (strcmp(key, "dark") == 0)
        set_bool(&s->dark, value);
    else if (strcmp(key, "notify") == 0)
        set_bool(&s->notify, value);
    else if (strcmp(key, "language") == 0)
        set_text(s->language, sizeof s->language, value);
    else if (strcmp(key, "panel") == 0)
        set_text(s->panel, sizeof s->panel, value);
    else if (strcmp(key, "filter") == 0)
        set_text(s->filter, sizeof s->filter, value);
}

void settings_parse(Settings *s, const char *text)
{
    while (*text) {
        char line[512];
        size_t len = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)MIN(len, sizeof line - 1), text);
        char *equals = strchr(line, '=');
        if (equals && line[0] != '#') {
            *equals = '\0';
            set_key(s, line, equals + 1);
        }
        text += len + (text[len] == '\n');
    }
}

int settings_load(Settings *s, const char *path)
{
    char text[FILE_MAX_BYTES + 1];
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;

    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    while (len < FILE_MAX_BYTES) {
        ssize_t n = read(fd, text + len, FILE_MAX_BYTES - len);
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    if (len == FILE_MAX_BYTES)
        return -EFBIG;
    text[len] = '\0';
    settings_parse(s, text);
    return 0;
}

static int make_folder(const char *path)
{
    char folder[PATH_MAX];

    text_copy(folder, sizeof folder, path);
    for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(folder, 0700) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return 0;
}

int settings_save(const Settings *s, const char *path)
{
    char next[PATH_MAX];
    int r = make_folder(path);

    if (r < 0)
        return r;
    if (snprintf(next, sizeof next, "%s.%d", path, (int)getpid()) >= (int)sizeof next)
        return -ENAMETOOLONG;
    FILE *f = fopen(next, "we");
    if (!f)
        return -errno;
    fprintf(
        f, "# services_monitor: what the window remembers\nwidth=%d\nheight=%d\nscale_percent=%d\n",
        s->width, s->height, (int)(s->scale * 100 + 0.5F));
    fprintf(f, "dark=%s\nnotify=%s\nlanguage=%s\npanel=%s\nfilter=%s\n", s->dark ? "yes" : "no",
            s->notify ? "yes" : "no", s->language, s->panel, s->filter);
    bool bad = ferror(f) != 0;
    r = fclose(f) != 0 || bad ? -EIO : 0;
    if (r == 0 && rename(next, path) < 0)
        r = -errno;
    if (r < 0)
        unlink(next);
    return r;
}

int settings_path(char *ret, size_t size)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n;

    if (config && config[0] == '/')
        n = snprintf(ret, size, "%s/services_monitor/settings", config);
    else if (home && home[0] == '/')
        n = snprintf(ret, size, "%s/.config/services_monitor/settings", home);
    else
        return -ENOENT;
    return n > 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}
