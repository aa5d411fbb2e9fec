/* The validators: what passes, what does not, and that length is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "basic/macro.h"
#include "common/name.h"

typedef bool (*Validator)(const char *s);

static void check_all(Validator is_valid, const char *const *list, size_t n, bool expected)
{
    for (size_t i = 0; i < n; i++)
        if (is_valid(list[i]) != expected)
            fail_msg("\"%s\" was %s", list[i], expected ? "refused" : "accepted");
    assert_false(is_valid(NULL));
    assert_false(is_valid(""));
}

/* A name of len bytes: first, then filler, then the suffix. */
static const char *long_name(char first, char filler, const char *suffix, size_t len)
{
    static char out[4096];

    memset(out, filler, len);
    out[0] = first;
    memcpy(out + len - strlen(suffix), suffix, strlen(suffix) + 1);
    return out;
}

static const char *const hostile[] = {
    "-oProxyCommand=x",
    "--",
    "a b",
    "a;b",
    "a\nb",
    "a\x1B[m",
    "$(x)",
    "`x`",
    "a/b",
    ".",
    "..",
    ".a",
    "_a",
    "a'b",
    "a\"b",
    "a\\",
    "user@host",
    "a:",
    "a\xFF",
    "\xC3\xBC",
    "a\xE2\x80\xAE",
    "a%n",
    "a*",
    "a\r",
};

static void test_id(UNUSED void **state)
{
    static const char *const good[] = {"a",    "A1", "organic-machine.com", "x_y.z-1", "0",
                                       "a..b", "a-"};

    check_all(name_is_id, good, ELEMENTS(good), true);
    check_all(name_is_id, hostile, ELEMENTS(hostile), false);
    check_all(name_is_ssh_host, good, ELEMENTS(good), true);
    check_all(name_is_ssh_host, hostile, ELEMENTS(hostile), false);
    assert_true(name_is_id(long_name('a', 'b', "", 64)));
    assert_false(name_is_id(long_name('a', 'b', "", 65)));
}

static void test_unit(UNUSED void **state)
{
    static const char *const good[] = {
        "sqlite_api.service",
        "a.socket",
        "backup.timer",
        "x@1.service",
        "dev-disk\\x2d1.device",
        "a:b.target",
        "getty@tty1.service",
        "system.slice",
        "session-1.scope",
        "a.b.mount",
        "x.automount",
        "x.swap",
        "x.path",
        "x@y@z.service",
    };
    static const char *const bad[] = {
        ".service",    "a",           "a.services",  "a.SERVICE",      "a.service ",
        "a/b.service", "a b.service", "-a.service",  "--help.service", "@a.service",
        "a@.service",  "a.service\n", "a;b.service", "$(id).service",  "\xC3\xBC.service",
        "a*.service",  "a.",          "service",
    };

    check_all(name_is_unit, good, ELEMENTS(good), true);
    check_all(name_is_unit, bad, ELEMENTS(bad), false);
    assert_true(name_is_unit(long_name('a', 'b', ".service", 255)));
    assert_false(name_is_unit(long_name('a', 'b', ".service", 256)));
}

/* Of all single bytes in the middle exactly the documented ones pass. */
static void test_every_byte(UNUSED void **state)
{
    static const char alnum[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    for (int c = 1; c < 256; c++) {
        char id[] = {'a', (char)c, 'b', '\0'};
        char unit[] = {'a', (char)c, 'b', '.', 't', 'i', 'm', 'e', 'r', '\0'};
        char path[] = {'/', (char)c, '\0'};

        assert_int_equal(name_is_id(id), strchr(alnum, c) || strchr("._-", c));
        assert_int_equal(name_is_unit(unit), strchr(alnum, c) || strchr(":_.\\@-", c));
        assert_int_equal(name_is_health_path(path), c > 0x20 && c < 0x7F && c != '#');
        assert_int_equal(name_is_text(id, 64), c >= 0x20 && c < 0x7F);
    }
}

static void test_text(UNUSED void **state)
{
    assert_true(name_is_text("", 0));
    assert_true(name_is_text("Gr\xC3\xBC\xC3\x9F e", 8));
    assert_false(name_is_text("abcd", 3));
    assert_true(name_is_text("abc", 3));
    assert_false(name_is_text(NULL, 9));
    assert_false(name_is_text("\xFF", 9));
    assert_false(name_is_text("a\nb", 9));
    assert_false(name_is_text("\xE2\x80\xAE"
                              "evil",
                              9));
    assert_false(name_is_text("\xC2\x9B"
                              "31m",
                              9)); /* C1 CSI */
}

static void test_path(UNUSED void **state)
{
    static const char *const good[] = {"/", "/health", "/a?b=c&d=%20", "/a//b", "/~x'\"<>"};
    static const char *const bad[] = {"health", "http://a/", "/a b", "/a\r\nX: y", "/a#b",
                                      "/\x7F",  "/\xC3\xBC", "?x",   " /"};

    check_all(name_is_health_path, good, ELEMENTS(good), true);
    check_all(name_is_health_path, bad, ELEMENTS(bad), false);
    assert_true(name_is_health_path(long_name('/', 'b', "", 1024)));
    assert_false(name_is_health_path(long_name('/', 'b', "", 1025)));
}

static void test_url(UNUSED void **state)
{
    static const char *const good[] = {
        "http://a",           "https://a/",          "http://localhost:8401/health",
        "http://127.0.0.1:1", "http://[::1]:65535/", "https://organic-machine.com/x?y=z",
        "http://a_b/",        "http://1a.b/",        "http://[fe80::1]/",
        "http://1.example/",  "http://3com",         "http://0a.example/",
        "http://0a/",         "http://x.0a/",
    };
    static const char *const bad[] = {
        "http://",
        "http:///x",
        "ftp://a/",
        "HTTP//a",
        "file:///etc",
        "http://u@a/",
        "http://u:p@a/",
        "http://a:0/",
        "http://a:65536/",
        "http://a:/",
        "http://a:1x/",
        "http://a:000080/",
        "http://a b/",
        "http://a/\r\nX:",
        "http://a#b",
        "http://a/#b",
        "http://a?x",
        "http://-a/",
        "http://a-/",
        "http://a..b/",
        "http://.a/",
        "http://a./",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0x7f000001/",
        "http://256.1.1.1/",
        "http://[::1/",
        "http://[::g]/",
        "http://[127.0.0.1]/",
        "http://[fe80::1%25lo]/",
        "http://\xC3\xBC/",
        "//a/",
        "http://a\\b/",
        "http://a:99999999999/",
        "http://[]/",
        "http://[1111:1111:1111:1111:1111:1111:1111:1111:1111:1111]/",
    };

    check_all(name_is_health_url, good, ELEMENTS(good), true);
    check_all(name_is_health_url, bad, ELEMENTS(bad), false);

    char url[1100] = "http://a/";
    memset(url + 9, 'x', 1024 - 9);
    assert_true(name_is_health_url(url));
    url[1024] = 'x';
    assert_false(name_is_health_url(url));
    memcpy(url, "http://", 7);
    memset(url + 7, 'x', 64);
    url[71] = '\0';
    assert_false(name_is_health_url(url)); /* a label of 64 */
    url[70] = '\0';
    assert_true(name_is_health_url(url));
}

static void test_boot_id(UNUSED void **state)
{
    static const char *const good[] = {"0123abcd-ef00-4444-8888-0123456789ab",
                                       "00000000-0000-0000-0000-000000000000"};
    static const char *const bad[] = {
        NULL,
        "",
        "0123abcd-ef00-4444-8888-0123456789a",
        "0123abcd-ef00-4444-8888-0123456789abc",
        "0123ABCD-ef00-4444-8888-0123456789ab",
        "0123abcd-ef00-4444-8888-0123456789ag",
        "0123abcdef0044448888-0123456789ab----",
        "0123abcd_ef00_4444_8888_0123456789ab",
        "0123abcd-ef00-4444-8888-0123456789a\n",
        "------------------------------------",
        "012345678901234567890123456789012345",
    };

    check_all(name_is_boot_id, good, ELEMENTS(good), true);
    check_all(name_is_boot_id, bad, ELEMENTS(bad), false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id),         cmocka_unit_test(test_unit),
        cmocka_unit_test(test_every_byte), cmocka_unit_test(test_text),
        cmocka_unit_test(test_path),       cmocka_unit_test(test_url),
        cmocka_unit_test(test_boot_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
