/* Settings: what was remembered comes back, and no file can keep the window shut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/settings.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/settings-test.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    static const char *const names[] = {"big", "a/b/settings", "a/b", "a"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
    return remove(folder);
}

static void test_round_trip(void **state)
{
    Settings s = settings_default(), back = settings_default();
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/a/b/settings", folder);
    s.width = 1000;
    s.height = 700;
    s.scale = 1.25F;
    s.dark = false;
    s.notify = false;
    strcpy(s.language, "es");
    strcpy(s.panel, "app/x/y");
    strcpy(s.filter, "a=b c");
    assert_int_equal(settings_save(&s, path), 0);
    assert_int_equal(settings_load(&back, path), 0);
    assert_int_equal(back.width, 1000);
    assert_int_equal(back.height, 700);
    assert_true(back.scale > 1.24F && back.scale < 1.26F);
    assert_false(back.dark);
    assert_false(back.notify);
    assert_string_equal(back.language, "es");
    assert_string_equal(back.panel, "app/x/y");
    assert_string_equal(back.filter, "a=b c");
}

static void test_missing_and_unreadable(void **state)
{
    Settings s = settings_default();

    (void)state;
    assert_int_equal(settings_load(&s, "/nonexistent/settings"), 0);
    assert_true(settings_load(&s, folder) < 0);
    assert_true(settings_save(&s, "/proc/none/settings") < 0);
    assert_int_equal(s.width, 1440);
}

static void test_too_big(void **state)
{
    Settings s = settings_default();
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/big", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 2000; i++)
        fputs("width=700\n", f);
    fclose(f);
    assert_int_equal(settings_load(&s, path), -EFBIG);
    assert_int_equal(s.width, 1440);
}

static void test_hostile_values(void **state)
{
    Settings s = settings_default();

    (void)state;
    settings_parse(
        &s,
        "width=99999999999999999999\nheight=-5\nscale_percent=10\ndark=maybe\n=\n====\nno "
        "equals\nwidth=\n"
        "#width=700\nunknown=1\nlanguage=abcdefghijklmnopqrstuvwxyz\nfilter=\x01\xff\nheight=800x");
    assert_int_equal(s.width, 1440);
    assert_int_equal(s.height, 900);
    assert_true(s.scale == 0);
    assert_true(s.dark);
    assert_int_equal(strlen(s.language), sizeof s.language - 1);
    assert_string_equal(s.filter, "?\xEF\xBF\xBD");
    settings_parse(&s, "scale_percent=300\ndark=no");
    assert_true(s.scale == 3);
    assert_false(s.dark);
}

static void test_path(void **state)
{
    char path[128];

    (void)state;
    setenv("XDG_CONFIG_HOME", "/x", 1);
    assert_int_equal(settings_path(path, sizeof path), 0);
    assert_string_equal(path, "/x/services_monitor/settings");
    setenv("XDG_CONFIG_HOME", "relative", 1);
    setenv("HOME", "/h", 1);
    assert_int_equal(settings_path(path, sizeof path), 0);
    assert_string_equal(path, "/h/.config/services_monitor/settings");
    assert_int_equal(settings_path(path, 5), -ENAMETOOLONG);
    unsetenv("HOME");
    assert_int_equal(settings_path(path, sizeof path), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_missing_and_unreadable),
        cmocka_unit_test(test_too_big),    cmocka_unit_test(test_hostile_values),
        cmocka_unit_test(test_path),
    };

    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
