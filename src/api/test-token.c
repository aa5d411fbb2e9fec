/* The token's file: made, read, refused, replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "api/test-dir.h"
#include "api/token.h"
#include "basic/macro.h"

#define GOOD "0123456789abcdef-good"

static char token[TOKEN_SIZE], why[256];

static int setup(void **state)
{
    *state = test_dir_new();
    strcpy(token, "untouched");
    why[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    test_dir_free(*state);
    return 0;
}

static void put(const char *path, const char *text, mode_t mode)
{
    test_write(path, text, strlen(text));
    assert_int_equal(chmod(path, mode), 0);
}

static int read_it(const char *path)
{
    return token_read(path, token, why, sizeof why);
}

static void assert_refused(const char *path, int r, const char *word)
{
    assert_int_equal(read_it(path), r);
    assert_non_null(strstr(why, word));
    assert_null(strstr(why, GOOD));
    assert_string_equal(token, "untouched");
    /* and what is there is not replaced behind its owner's back */
    assert_int_equal(token_load(path, token, why, sizeof why), r);
    assert_string_equal(token, "untouched");
}

static void test_first_start(void **state)
{
    const char *path = test_path(*state, "config/services_api/token");
    struct stat st;
    char again[TOKEN_SIZE];

    assert_int_equal(read_it(path), -ENOENT);
    assert_int_equal(token_load(path, token, why, sizeof why), 0);
    assert_int_equal(strlen(token), 64);
    assert_int_equal(strspn(token, "0123456789abcdef"), 64);
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(token_load(path, again, why, sizeof why), 0);
    assert_string_equal(again, token);
    assert_int_equal(test_count_files(test_path(*state, "config/services_api")), 1);
}

static void test_forms(void **state)
{
    static const char *const bad[] = {
        "",        "\n",        "0123456789abcde\n", GOOD "\n" GOOD "\n",
        GOOD " x", GOOD "\x7f", "\xc3\xa4" GOOD,     GOOD "\t",
    };
    const char *path = test_path(*state, "token");
    char longest[TOKEN_SIZE + 2];

    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        put(path, bad[i], 0600);
        assert_refused(path, -EINVAL, "holds no token");
    }
    test_write(path, GOOD "\0" GOOD, 2 * strlen(GOOD) + 1);
    assert_refused(path, -EINVAL, "holds no token");
    memset(longest, 'x', sizeof longest);
    longest[TOKEN_SIZE] = '\0';
    put(path, longest, 0600);
    assert_refused(path, -EINVAL, "holds no token");
    longest[TOKEN_SIZE - 1] = '\0';
    put(path, longest, 0600);
    assert_int_equal(read_it(path), 0);
    assert_string_equal(token, longest);
    put(path, GOOD " \n", 0400);
    assert_int_equal(read_it(path), 0);
    assert_string_equal(token, GOOD);
}

static void test_open_to_others(void **state)
{
    static const mode_t modes[] = {0644, 0640, 0604, 0620, 0602, 0610, 0601, 0666, 0777};
    const char *path = test_path(*state, "token");

    for (size_t i = 0; i < ELEMENTS(modes); i++) {
        put(path, GOOD, modes[i]);
        assert_refused(path, -EPERM, "mode 0600");
    }
}

static void test_of_another_owner(void **state)
{
    const char *path = test_path(*state, "token");

    if (geteuid() != 0)
        skip();
    put(path, GOOD, 0600);
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_refused(path, -EPERM, "file of your own");
}

static void test_no_regular_file(void **state)
{
    const char *path = test_path(*state, "token"), *there = test_path(*state, "there");

    put(there, GOOD, 0600);
    assert_int_equal(symlink(there, path), 0);
    assert_refused(path, -EPERM, "symbolic link");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* must not wait for a writer */
    assert_refused(path, -EPERM, "file of your own");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_refused(path, -EPERM, "file of your own");
}

static void test_renew(void **state)
{
    const char *path = test_path(*state, "token"), *there = test_path(*state, "there");
    char first[TOKEN_SIZE], second[TOKEN_SIZE];
    struct stat st;

    assert_int_equal(token_renew(path, first, why, sizeof why), 0);
    assert_int_equal(token_renew(path, second, why, sizeof why), 0);
    assert_string_not_equal(first, second);
    assert_int_equal(read_it(path), 0);
    assert_string_equal(token, second);
    /* it also mends what is refused: a link is replaced, what it points to is left alone */
    assert_int_equal(unlink(path), 0);
    put(there, GOOD, 0644);
    assert_int_equal(symlink(there, path), 0);
    assert_int_equal(token_renew(path, token, why, sizeof why), 0);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(there, &st), 0);
    assert_int_equal(st.st_size, strlen(GOOD));
    /* nothing is left lying about, also when it cannot be done */
    assert_int_equal(test_count_files(*state), 2);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(token_renew(path, token, why, sizeof why), -EISDIR);
    assert_int_equal(test_count_files(*state), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_to_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_of_another_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_regular_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_renew, setup, teardown),
    };

    return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
