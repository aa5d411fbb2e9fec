/* The XDG paths, directories and bounded reading. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/paths.h"
#include "api/test-dir.h"
#include "basic/macro.h"

static const struct {
    const char *variable, *fallback, *file;
    char *(*path)(void);
} bases[] = {
    {"XDG_DATA_HOME", "/home/me/.local/share", "services_api/registry.db", paths_registry},
    {"XDG_CONFIG_HOME", "/home/me/.config", "services_api/config.yaml", paths_config},
    {"XDG_CONFIG_HOME", "/home/me/.config", "services_api/token", paths_token},
    {"XDG_STATE_HOME", "/home/me/.local/state", "services_api/services_api.db", paths_state_db},
    {"XDG_RUNTIME_DIR", NULL, "services_api", paths_runtime_dir},
};

static void expect(char *path, const char *base, const char *file)
{
    char text[256];

    snprintf(text, sizeof(text), "%s/%s", base ? base : "", file);
    if (base)
        assert_string_equal(path, text);
    else
        assert_null(path);
    free(path);
}

static void test_bases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTS(bases); i++) {
        setenv("HOME", "/home/me", 1);
        setenv(bases[i].variable, "/x y", 1);
        expect(bases[i].path(), "/x y", bases[i].file);
        setenv(bases[i].variable, "relative", 1);
        expect(bases[i].path(), bases[i].fallback, bases[i].file);
        setenv(bases[i].variable, "", 1);
        expect(bases[i].path(), bases[i].fallback, bases[i].file);
        unsetenv(bases[i].variable);
        expect(bases[i].path(), bases[i].fallback, bases[i].file);
        setenv("HOME", "relative", 1);
        expect(bases[i].path(), NULL, bases[i].file);
        unsetenv("HOME");
        expect(bases[i].path(), NULL, bases[i].file);
    }
}

static void test_make_parents(void **state)
{
    char *dir = test_dir_new();
    struct stat st;

    (void)state;
    assert_int_equal(paths_make_parents(test_path(dir, "a//b/c/file")), 0);
    assert_int_equal(stat(test_path(dir, "a/b/c"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(test_path(dir, "a/b/c/file"), &st), -1);
    assert_int_equal(paths_make_parents(test_path(dir, "a/b/c/file")), 0);
    test_write(test_path(dir, "f"), "", 0);
    assert_int_equal(paths_make_parents(test_path(dir, "f/x")), -ENOTDIR);
    assert_int_equal(paths_make_parents("name"), 0);
    assert_int_equal(paths_make_parents("/name"), 0);
    assert_int_equal(paths_make_parents(""), -ENOENT);
    test_dir_free(dir);
}

static void test_read(void **state)
{
    char *dir = test_dir_new();
    const char *file = test_path(dir, "f");
    static char big[40000];
    Buffer b = BUFFER_INIT(sizeof(big));

    (void)state;
    memset(big, 'x', sizeof(big));
    assert_int_equal(paths_read(file, &b), -ENOENT);
    assert_int_equal(paths_read(dir, &b), -EISDIR);
    test_write(file, big, sizeof(big));
    assert_int_equal(paths_read(file, &b), 0);
    assert_int_equal(b.len, sizeof(big));
    assert_memory_equal(b.data, big, sizeof(big));
    buffer_done(&b);
    b = BUFFER_INIT(sizeof(big) - 1);
    assert_int_equal(paths_read(file, &b), -EFBIG);
    assert_int_equal(b.len, 0);
    buffer_reset(&b);
    assert_int_equal(paths_read("/dev/zero", &b), -EFBIG);
    buffer_done(&b);
    test_dir_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bases),
        cmocka_unit_test(test_make_parents),
        cmocka_unit_test(test_read),
    };

    return cmocka_run_group_tests_name("paths", tests, NULL, NULL);
}
