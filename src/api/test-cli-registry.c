/* The commands as a person uses them: exit code, what is printed, what is in the files afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "api/cli-registry.h"
#include "api/paths.h"
#include "api/test-dir.h"
#include "basic/macro.h"

#define WORDS_MAX 24

static char *dir;
static char out[65536], err[65536]; /* of the last command */

typedef int (*Command)(int argc, char *argv[]);

static void slurp(const char *path, char *dst, size_t size)
{
    FILE *f = fopen(path, "re");

    assert_non_null(f);
    dst[fread(dst, 1, size - 1, f)] = '\0';
    fclose(f);
}

static int redirect(int fd, const char *path, int flags)
{
    int saved = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    int file = open(path, flags | O_CLOEXEC, 0600);

    assert_true(saved >= 0 && file >= 0);
    dup2(file, fd);
    close(file);
    return saved;
}

/* Runs a command with the words of `line`, `input` on stdin (NULL: none). */
static int run(Command command, const char *line, const char *input)
{
    char words[1024], in[256], to_out[256], to_err[256], *argv[WORDS_MAX] = {};
    int argc = 0;

    snprintf(in, sizeof(in), "%s/stdin", dir);
    snprintf(to_out, sizeof(to_out), "%s/stdout", dir);
    snprintf(to_err, sizeof(to_err), "%s/stderr", dir);
    snprintf(words, sizeof(words), "%s", line);
    for (char *rest = words, *word; argc < WORDS_MAX - 1 && (word = strsep(&rest, " "));)
        argv[argc++] = word;
    test_write(in, input ? input : "", input ? strlen(input) : 0);
    fflush(stdout);
    fflush(stderr);
    int old_in = redirect(0, in, O_RDONLY),
        old_out = redirect(1, to_out, O_WRONLY | O_CREAT | O_TRUNC);
    int old_err = redirect(2, to_err, O_WRONLY | O_CREAT | O_TRUNC);
    int code = command(argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(old_in, 0);
    dup2(old_out, 1);
    dup2(old_err, 2);
    close(old_in);
    close(old_out);
    close(old_err);
    slurp(to_out, out, sizeof(out));
    slurp(to_err, err, sizeof(err));
    return code;
}

static void expect(Command command, const char *line, const char *input, const char *printed)
{
    if (run(command, line, input) != 0)
        fail_msg("%s: %s", line, err);
    assert_string_equal(err, "");
    if (!strstr(out, printed))
        fail_msg("%s printed \"%s\", not \"%s\"", line, out, printed);
}

static void refuse(Command command, const char *line, const char *input, const char *reason)
{
    assert_int_equal(run(command, line, input), 2);
    assert_string_equal(out, "");
    if (!strstr(err, reason))
        fail_msg("%s said \"%s\", not \"%s\"", line, err, reason);
}

static int set_up(void **state)
{
    (void)state;
    dir = test_dir_new();
    setenv("XDG_DATA_HOME", test_path(dir, "data"), 1);
    setenv("XDG_CONFIG_HOME", test_path(dir, "config"), 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_dir_free(dir);
    return 0;
}

static const char yaml[] = "pcs:\n"
                           "  - pc_id: a\n"
                           "\n"
                           "apps:\n"
                           "  - app_id: web\n"
                           "    unit: web.service\n"
                           "    port: 80\n"
                           "\n"
                           "service_targets:\n"
                           "  - app_id: web\n"
                           "    pc_id: a\n"
                           "    expected: running\n";

static void test_import_and_export(void **state)
{
    char line[600], printed[700];
    const char *copy = test_path(dir, "copy.yaml");
    CLEANUP_FREE char *db = paths_registry();

    (void)state;
    snprintf(printed, sizeof(printed), "imported 1 PC, 1 app, 1 target into %s\n", db);
    expect(cli_import, "import -", yaml, printed);
    expect(cli_export, "export", NULL, yaml);
    expect(cli_export, "export -", NULL, yaml);
    snprintf(line, sizeof(line), "export %s", copy);
    snprintf(printed, sizeof(printed), "exported 1 PC, 1 app, 1 target to %s\n", copy);
    expect(cli_export, line, NULL, printed);
    slurp(copy, printed, sizeof(printed));
    assert_string_equal(printed, yaml);
    snprintf(line, sizeof(line), "import --registry %s %s", test_path(dir, "other.db"), copy);
    expect(cli_import, line, NULL, "imported 1 PC");
    snprintf(line, sizeof(line), "export --registry=%s", test_path(dir, "other.db"));
    expect(cli_export, line, NULL, yaml);
}

static void test_import_is_all_or_nothing(void **state)
{
    static char big[9U << 20];

    (void)state;
    expect(cli_import, "import -", yaml, "imported");
    refuse(cli_import, "import -", "pcs:\n  - pc_id: a\napps:\n  - app_id: x\n    port: 70000\n",
           "services_api import: stdin:5: apps[0].port: 70000 is not a port, use a number from 1 "
           "to 65535\n");
    refuse(cli_import, "import -", "", "stdin: it is empty");
    refuse(cli_import, "import /nonexistent/x.yaml", NULL, "/nonexistent/x.yaml: No such file");
    memset(big, '#', sizeof(big) - 1);
    refuse(cli_import, "import -", big, "longer than 8 MiB");
    refuse(cli_import, "import --registry /proc/x/registry.db -", yaml,
           "/proc/x/registry.db: cannot make its directory");
    expect(cli_export, "export", NULL, yaml);
}

static void test_export_errors(void **state)
{
    (void)state;
    refuse(cli_export, "export", NULL, "registry.db: No such file");
    expect(cli_import, "import -", yaml, "imported");
    refuse(cli_export, "export /nonexistent/x", NULL, "/nonexistent/x: No such file");
    refuse(cli_export, "export /dev/full", NULL, "No space left");
}

static void test_add(void **state)
{
    char host[256];

    (void)state;
    assert_int_equal(gethostname(host, sizeof(host)), 0);
    expect(cli_add,
           "add web --unit web --port 80 --health /health --timeout-ms 500 --title Web --tag t",
           NULL, "added web on ");
    assert_non_null(strstr(out, host));
    expect(cli_add, "add web --unit web.service --pc b --ssh-host bee --expected stopped", NULL,
           "replaced web on b in ");
    expect(cli_add, "add agent --unit a.timer --scope system --local-only", NULL,
           "added agent on ");
    expect(cli_add, "add url --health https://example.org/ --pc b", NULL, "added url on b");
    expect(
        cli_export, "export", NULL,
        "  - app_id: agent\n    unit: a.timer\n    unit_scope: system\n    is_local_only: true\n");
    assert_non_null(strstr(out, "  - app_id: web\n    unit: web.service\n\n"));
    assert_non_null(strstr(out, "  - pc_id: b\n    ssh_host: bee\n"));
    assert_non_null(strstr(out, "  - app_id: web\n    pc_id: b\n    expected: stopped\n"));
    assert_non_null(
        strstr(out, "  - app_id: url\n    health_endpoint: \"https://example.org/\"\n"));
    assert_null(strstr(out, "  - app_id: agent\n    pc_id"));
    snprintf(err, sizeof(err), "  - app_id: web\n    pc_id: %s\n    expected: running\n", host);
    assert_non_null(strstr(out, err));
}

static void test_add_to_the_pc_that_this_is(void **state)
{
    char text[512], host[256];

    (void)state;
    assert_int_equal(gethostname(host, sizeof(host)), 0);
    snprintf(text, sizeof(text), "pcs: [{pc_id: my-pc, ssh_host: %s}]\n", host);
    expect(cli_import, "import -", text, "imported 1 PC, 0 apps, 0 targets");
    expect(cli_add, "add web --port 80", NULL, "added web on my-pc in");
    expect(cli_export, "export", NULL, "    pc_id: my-pc\n");
}

static void test_add_errors(void **state)
{
    static const struct {
        const char *line, *reason;
    } cases[] = {
        {"add", "usage: services_api add [OPTION...] APP"},
        {"add a b", "usage: services_api add [OPTION...] APP"},
        {"add a", "nothing to watch, give unit, port or health_endpoint"},
        {"add -- -a --port 1", "usage: services_api add"},
        {"add --port 1 -- -a", "\"-a\" is not an id"},
        {"add a --port 0", "--port wants a number from 1 to 65535, not '0'"},
        {"add a --port 65536", "--port wants a number from 1 to 65535"},
        {"add a --port 8x", "--port wants a number"},
        {"add a --port", "'--port' is no option of it, or lacks its value"},
        {"add a --prot 1", "'--prot' is no option of it"},
        {"add a -x", "'-x' is no option of it"},
        {"add a --port 1 --timeout-ms 99",
         "--timeout-ms wants a number from 100 to 3599500, not '99'"},
        {"add a --port 1 --timeout-ms 9999999", "--timeout-ms wants a number from 100"},
        {"add a --port 1 --scope root", "--scope: use user or system"},
        {"add a --port 1 --expected up", "--expected: use running or stopped"},
        {"add a --port 1 --ssh-host me@b", "make a Host entry in ~/.ssh/config"},
        {"add a --port 1 --pc none", "none means"},
        {"add a --port 1 --pc a;b", "\"a;b\" is not an id"},
        {"add a --health /h", "the path /h needs a port"},
        {"add a --health h --port 1", "\"h\" is not a health endpoint"},
        {"add a --unit ../x", "\"../x\" is not a systemd unit"},
        {"add a --port 1 --title \x1b[2J", "\"?[2J\" is not a title"},
        {"add a --port 1 --registry /proc/x/r.db", "/proc/x/r.db: cannot make its directory"},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        refuse(cli_add, cases[i].line, NULL, cases[i].reason);
        assert_null(strchr(err, '\x1b'));
    }
    CLEANUP_FREE char *db = paths_registry();
    assert_int_equal(access(db, F_OK), -1);
    assert_int_equal(paths_make_parents(db), 0);
    test_write(db, "garbage garbage garbage", 23);
    refuse(cli_add, "add a --port 1", NULL, "it is not an SQLite database");
}

static void test_check_registry(void **state)
{
    char line[600];
    const char *file = test_path(dir, "any-name");

    (void)state;
    refuse(cli_check_registry, "check-registry", NULL, "No such file");
    expect(cli_check_registry, "check-registry -", yaml, "good: 1 PC, 1 app, 1 target in stdin\n");
    expect(cli_import, "import -", yaml, "imported");
    expect(cli_check_registry, "check-registry", NULL, "good: 1 PC, 1 app, 1 target in ");
    snprintf(line, sizeof(line), "import --registry %s -", file);
    expect(cli_import, line, yaml, "imported");
    snprintf(line, sizeof(line), "check-registry %s", file);
    expect(cli_check_registry, line, NULL, "good: 1 PC");
    test_write(file, yaml, strlen(yaml));
    expect(cli_check_registry, line, NULL, "good: 1 PC");
    test_write(file, "pcs: 1\n", 7);
    refuse(cli_check_registry, line, NULL, "any-name:1: pcs: is not a list");
    refuse(cli_check_registry, "check-registry /nonexistent", NULL, "No such file");
    refuse(cli_check_registry, "check-registry a b", NULL, "usage:");
}

static void test_check_config(void **state)
{
    char line[600];
    const char *file = test_path(dir, "config.yaml");

    (void)state;
    expect(cli_check_config, "check-config", NULL, "so the defaults hold\n");
    snprintf(line, sizeof(line), "check-config %s", file);
    refuse(cli_check_config, line, NULL, "config.yaml: No such file");
    test_write(file, "interval_ms: 5000\n", 18);
    expect(cli_check_config, line, NULL, "good: ");
    test_write(file, "interval: 5000\n", 15);
    refuse(cli_check_config, line, NULL,
           "config.yaml:1: the key interval is not known, did you mean interval_ms?");
}

static void test_help(void **state)
{
    (void)state;
    expect(cli_import, "import --help", NULL, "Usage: services_api import [OPTION...] FILE|-\n");
    expect(cli_export, "export --help", NULL, "Usage: services_api export");
    expect(cli_add, "add --help", NULL, "  --ssh-host HOST ");
    expect(cli_check_registry, "check-registry --help", NULL, "Usage: services_api check-registry");
    expect(cli_check_config, "check-config --help", NULL, "  --keys ");
    expect(cli_check_config, "check-config --keys", NULL, "\ninterval_ms ");
}

static void test_without_home(void **state)
{
    (void)state;
    unsetenv("XDG_DATA_HOME");
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("HOME");
    refuse(cli_export, "export", NULL,
           "neither XDG_DATA_HOME nor HOME is set, give --registry FILE");
    refuse(cli_check_config, "check-config", NULL,
           "neither XDG_CONFIG_HOME nor HOME is set, give FILE");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_import_and_export),
        TEST(test_import_is_all_or_nothing),
        TEST(test_export_errors),
        TEST(test_add),
        TEST(test_add_errors),
        TEST(test_add_to_the_pc_that_this_is),
        TEST(test_check_registry),
        TEST(test_check_config),
        TEST(test_help),
        TEST(test_without_home),
    };

    return cmocka_run_group_tests_name("cli-registry", tests, NULL, NULL);
}
