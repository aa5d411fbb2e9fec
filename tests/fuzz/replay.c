/* Runs a fuzz target over files and directories of files, in the order of their names: the driver
 * of the normal test run, where no libFuzzer is. Each input is also run cut off at every 16th part,
 * which is cheap and finds what only a half-received message does. A directory without any file is
 * an error: an empty corpus tests nothing. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define INPUT_MAX (8U << 20)
#define PARTS     16

static int run_file(const char *path)
{
    FILE *f = fopen(path, "re");
    uint8_t *data = malloc(INPUT_MAX);

    if (!f || !data) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    size_t len = fread(data, 1, INPUT_MAX, f);
    fclose(f);
    for (size_t part = 0; part <= PARTS; part++) {
        size_t n = len * part / PARTS;
        uint8_t *exact = malloc(n ? n : 1); /* so that reading one byte too many is seen */
        if (!exact)
            exit(1);
        memcpy(exact, data, n);
        LLVMFuzzerTestOneInput(exact, n);
        free(exact);
    }
    free(data);
    return 1;
}

static int run_directory(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort), runs = 0;

    for (int i = 0; i < n; i++) {
        char file[4096];
        if (*entries[i]->d_name != '.') {
            snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
            runs += run_file(file);
        }
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return runs;
}

int main(int argc, char *argv[])
{
    for (int i = 1; i < argc; i++) {
        struct stat st;
        int runs = 0;

        if (stat(argv[i], &st) == 0)
            runs = S_ISDIR(st.st_mode) ? run_directory(argv[i]) : run_file(argv[i]);
        if (runs == 0) {
            fprintf(stderr, "%s: nothing to run\n", argv[i]);
            return 1;
        }
        printf("%s: %d inputs\n", argv[i], runs);
    }
    return argc > 1 ? 0 : 1;
}
