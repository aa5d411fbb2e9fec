/* The registry as YAML: what is read, what is refused and how that is said, and that writing and
 * reading are inverse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/registry-yaml.h"
#include "basic/text.h"

static const char full[] = "pcs:\n"
                           "  - pc_id: aurgi-pc\n"
                           "    may_sleep: true\n"
                           "    note: \"on my desk: 2nd \\\"shelf\\\" \\\\ left\"\n"
                           "  - pc_id: organic-machine.com\n"
                           "    ssh_host: organic\n"
                           "    pc_is_self: true\n"
                           "\n"
                           "apps:\n"
                           "  - app_id: backup\n"
                           "    unit: backup@home.timer\n"
                           "    unit_scope: system\n"
                           "  - app_id: sqlite_api\n"
                           "    title: \"Query API\"\n"
                           "    tag: api\n"
                           "    unit: sqlite_api.service\n"
                           "    port: 8401\n"
                           "    health_endpoint: /health\n"
                           "    health_timeout_ms: 500\n"
                           "    is_local_only: true\n"
                           "    note: \"null\"\n"
                           "  - app_id: web\n"
                           "    health_endpoint: \"https://example.org:8443/\"\n"
                           "\n"
                           "service_targets:\n"
                           "  - app_id: backup\n"
                           "    pc_id: aurgi-pc\n"
                           "    expected: stopped\n"
                           "  - app_id: backup\n"
                           "    pc_id: organic-machine.com\n"
                           "    expected: running\n"
                           "    unit: other.timer\n"
                           "    port: 1\n"
                           "    health_endpoint: \"/h?x=1\"\n"
                           "    health_timeout_ms: 3599500\n";

static void test_read(void **state)
{
    CLEANUP(registry_freep) Registry *r = NULL;
    RegistryError error;

    (void)state;
    assert_int_equal(registry_yaml_parse("f", full, strlen(full), &r, &error), 0);
    assert_int_equal(r->n_pcs, 2);
    assert_int_equal(r->n_apps, 3);
    assert_int_equal(r->n_targets, 2);
    const RegistryPc *pc = registry_find_pc(r, "aurgi-pc");
    assert_true(pc->may_sleep);
    assert_false(pc->is_self);
    assert_null(pc->ssh_host);
    assert_string_equal(pc->note, "on my desk: 2nd \"shelf\" \\ left");
    const RegistryApp *app = registry_find_app(r, "sqlite_api");
    assert_string_equal(app->title, "Query API");
    assert_string_equal(app->unit, "sqlite_api.service");
    assert_string_equal(app->health, "/health");
    assert_string_equal(app->note, "null");
    assert_int_equal(app->scope, SCOPE_USER);
    assert_int_equal(app->port, 8401);
    assert_int_equal(app->timeout_ms, 500);
    assert_true(app->is_local_only);
    assert_int_equal(registry_find_app(r, "backup")->scope, SCOPE_SYSTEM);
    assert_int_equal(r->targets[0].expected, EXPECTED_STOPPED);
    assert_int_equal(r->targets[1].timeout_ms, 3599500);
}

static char *write_yaml(const Registry *r)
{
    Buffer b = BUFFER_INIT(1U << 20);

    registry_yaml_write(r, &b);
    return buffer_take(&b, NULL);
}

static void test_round_trip(void **state)
{
    CLEANUP(registry_freep) Registry *r = NULL;
    RegistryError error;

    (void)state;
    assert_int_equal(registry_yaml_parse("f", full, strlen(full), &r, &error), 0);
    CLEANUP_FREE char *yaml = write_yaml(r);
    assert_string_equal(yaml, full);
}

/* Texts that YAML would like to take for something else. */
static void test_round_trip_of_odd_texts(void **state)
{
    static const char *const notes[] = {"null",
                                        "~",
                                        "true",
                                        "yes",
                                        "1e3",
                                        "-",
                                        "- a",
                                        "a: b",
                                        "#x",
                                        " a",
                                        "a ",
                                        "\\u0041",
                                        "'",
                                        "\"",
                                        "&a",
                                        "*a",
                                        "!a",
                                        "%a",
                                        "{",
                                        "0x10",
                                        "2024-1-1",
                                        "=",
                                        "<<",
                                        "a #b",
                                        "|",
                                        ">",
                                        "@",
                                        "`",
                                        "\xC3\xA9",
                                        "\xF0\x9F\x98\x80",
                                        "?",
                                        ":",
                                        ",",
                                        "[a]",
                                        "\xEF\xBF\xBD",
                                        "---",
                                        "...",
                                        "a\\",
                                        "\\\"",
                                        "No",
                                        "OFF",
                                        "\xEF\xBF\xBE"
                                        "x\xEF\xBF\xBF",
                                        "NULL",
                                        "a\xC2\xA0",
                                        "\xEE\x80\x80",
                                        "a  b"};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(notes); i++) {
        RegistryPc pc = {.pc_id = (char *)"a", .note = (char *)notes[i]};
        Registry in = {.pcs = &pc, .n_pcs = 1};
        CLEANUP(registry_freep) Registry *out = NULL;
        RegistryError error = {};

        assert_int_equal(registry_check(&in, &error), 0);
        CLEANUP_FREE char *yaml = write_yaml(&in);
        if (registry_yaml_parse("f", yaml, strlen(yaml), &out, &error) < 0)
            fail_msg("%s: %s", notes[i], error.text);
        assert_string_equal(out->pcs[0].note, notes[i]);
    }
}

static void test_absent_null_and_empty_are_the_same(void **state)
{
    static const char text[] =
        "pcs:\n  - {pc_id: a, ssh_host: , note: ~, may_sleep: null}\n"
        "apps:\n  - {app_id: b, port: 1, unit: \"\", title: '', health_endpoint: }\n"
        "service_targets:\n";
    CLEANUP(registry_freep) Registry *r = NULL;
    RegistryError error;

    (void)state;
    assert_int_equal(registry_yaml_parse("f", text, strlen(text), &r, &error), 0);
    assert_null(r->pcs[0].ssh_host);
    assert_null(r->pcs[0].note);
    assert_null(r->apps[0].unit);
    assert_null(r->apps[0].title);
    assert_int_equal(r->n_targets, 0);
}

/* A column decides what its value is: these are texts here. */
static void test_types_follow_the_column(void **state)
{
    static const char text[] =
        "pcs: [{pc_id: 42, note: 2024}]\napps: [{app_id: on, tag: true, port: 1}]\n";
    CLEANUP(registry_freep) Registry *r = NULL;
    RegistryError error;

    (void)state;
    assert_int_equal(registry_yaml_parse("f", text, strlen(text), &r, &error), 0);
    assert_string_equal(r->pcs[0].pc_id, "42");
    assert_string_equal(r->pcs[0].note, "2024");
    assert_string_equal(r->apps[0].app_id, "on");
    assert_string_equal(r->apps[0].tag, "true");
}

#define PC   "pcs:\n  - pc_id: a\n"
#define APP  "apps:\n  - app_id: x\n    port: 1\n"
#define GOOD PC APP /* lines 1 to 5 */

static const struct {
    const char *text;
    const char *error; /* the beginning */
} broken[] = {
    {"", "f: it is empty, write the lists pcs, apps and service_targets"},
    {"# only a comment\n", "f: it is empty"},
    {"~\n", "f: it is empty"},
    {"- a\n", "f:1: it is not a mapping"},
    {"just text\n", "f:1: it is not a mapping"},
    {"pc:\n", "f:1: the key pc is not known, did you mean pcs?"},
    {"pcs: []\nserivce_targets: []\n",
     "f:2: the key serivce_targets is not known, did you mean service_targets?"},
    {"pcs: []\nbanana: 1\n",
     "f:2: the key banana is not known, use one of pcs, apps, service_targets"},
    {"pcs: 3\n", "f:1: pcs: is not a list"},
    {"pcs:\n  pc_id: a\n", "f:1: pcs: is not a list"},
    {"pcs:\n  - a\n", "f:2: pcs[0]: is not a mapping"},
    {"pcs:\n  - [a]\n", "f:2: pcs[0]: is not a mapping"},
    {"pcs:\n  -\n", "f:2: pcs[0]: is not a mapping"},
    {"pcs:\n  - ssh_host: a\n", "f:2: pcs[0].pc_id: is missing, use letters"},
    {"pcs:\n  - pc_id:\n", "f:2: pcs[0].pc_id: is missing"},
    {"pcs:\n  - pc_id: [a]\n", "f:2: pcs[0].pc_id: a list is not an id"},
    {"pcs:\n  - pc_id: {a: 1}\n", "f:2: pcs[0].pc_id: a mapping is not an id"},
    {"pcs:\n  - pc_id: \"a b\"\n", "f:2: pcs[0].pc_id: \"a b\" is not an id, use letters"},
    {"pcs:\n  - pc_id: -a\n", "f:2: pcs[0].pc_id: \"-a\" is not an id"},
    {"pcs:\n  - pc_id: none\n", "f:2: pcs[0].pc_id: none means \"no PC\" to --self"},
    {PC "  - pc_id: b\n  - pc_id: a\n", "f:4: pcs[2].pc_id: a is here twice, give each its own id"},
    {PC "    ssh_hots: b\n", "f:3: pcs[0]: the key ssh_hots is not known, did you mean ssh_host?"},
    {PC "    password: b\n",
     "f:3: pcs[0]: the key password is not known, use one of pc_id, ssh_host, pc_is_self"},
    {PC "    ssh_host: me@b\n",
     "f:3: pcs[0].ssh_host: \"me@b\" has a user name, make a Host entry in ~/.ssh/config"},
    {PC "    ssh_host: -oProxyCommand=x\n",
     "f:3: pcs[0].ssh_host: \"-oProxyCommand=x\" is not an ssh host, use"},
    {PC "    ssh_host: \"b; id\"\n", "f:3: pcs[0].ssh_host: \"b; id\" is not an ssh host"},
    {PC "    may_sleep: yes\n",
     "f:3: pcs[0].may_sleep: yes is not a truth value, use true or false"},
    {PC "    may_sleep: 1\n", "f:3: pcs[0].may_sleep: 1 is not a truth value"},
    {PC "    may_sleep: \"true\"\n",
     "f:3: pcs[0].may_sleep: \"true\" is text, write it without quotes"},
    {PC "    pc_is_self: True\n", "f:3: pcs[0].pc_is_self: True is not a truth value"},
    {PC "    note: \"a\\eb\"\n", "f:3: pcs[0].note: \"a?b\" is not a note, use one line"},
    {PC "    note: |\n      a\n      b\n",
     "f:3: pcs[0].note: \"a b \" is not a note, use one line"},
    {PC "    note: \"\\u202Eevil\"\n", "f:3: pcs[0].note: \"?evil\" is not a note"},
    {PC "    note: a\n    note: b\n", "f:4: the key note is here twice"},
    {GOOD "    port: 2\n", "f:6: the key port is here twice"},
    {PC "apps:\n  - app_id: x\n    port: 70000\n",
     "f:5: apps[0].port: 70000 is not a port, use a number from 1 to 65535"},
    {PC "apps:\n  - app_id: x\n    port: 0\n", "f:5: apps[0].port: 0 is not a port"},
    {PC "apps:\n  - app_id: x\n    port: -1\n", "f:5: apps[0].port: -1 is not a port"},
    {PC "apps:\n  - app_id: x\n    port: 80.5\n", "f:5: apps[0].port: 80.5 is not a port"},
    {PC "apps:\n  - app_id: x\n    port: 0x50\n", "f:5: apps[0].port: 0x50 is not a port"},
    {PC "apps:\n  - app_id: x\n    port: \"80\"\n",
     "f:5: apps[0].port: \"80\" is text, write it without quotes"},
    {PC "apps:\n  - app_id: x\n    port: http\n", "f:5: apps[0].port: http is not a port"},
    {PC "apps:\n  - app_id: x\n    port: [80]\n", "f:5: apps[0].port: a list is not a port"},
    {PC "apps:\n  - app_id: x\n    port: 99999999999999999999\n",
     "f:5: apps[0].port: 99999999999999999999 is not a port"},
    {PC "apps:\n  - app_id: x\n    port: 65536\n", "f:5: apps[0].port: 65536 is not a port"},
    {GOOD "    health_timeout_ms: 99\n",
     "f:6: apps[0].health_timeout_ms: 99 is not a time in ms, use a number from 100"},
    {GOOD "    health_timeout_ms: 3599501\n",
     "f:6: apps[0].health_timeout_ms: 3599501 is not a time in ms"},
    {GOOD "    health_timeout_ms: 2s\n", "f:6: apps[0].health_timeout_ms: 2s is not a time in ms"},
    {GOOD "    unit: sqlite_api\n",
     "f:6: apps[0].unit: \"sqlite_api\" has no suffix, did you mean sqlite_api.service?"},
    {GOOD "    unit: ../x.service\n", "f:6: apps[0].unit: \"../x.service\" is not a systemd unit"},
    {GOOD "    unit: a b.service\n", "f:6: apps[0].unit: \"a b.service\" is not a systemd unit"},
    {GOOD "    unit: x.exe\n", "f:6: apps[0].unit: \"x.exe\""},
    {GOOD "    unit_scope: root\n",
     "f:6: apps[0].unit_scope: \"root\" is not a unit scope, use user or system"},
    {GOOD "    unit_scope: 1\n", "f:6: apps[0].unit_scope: \"1\" is not a unit scope"},
    {GOOD "    health_endpoint: health\n",
     "f:6: apps[0].health_endpoint: \"health\" is not a health endpoint, use a path"},
    {GOOD "    health_endpoint: ftp://a/\n",
     "f:6: apps[0].health_endpoint: \"ftp://a/\" is not a health endpoint"},
    {GOOD "    health_endpoint: http://u:p@a/\n",
     "f:6: apps[0].health_endpoint: \"(a URL with user or password)\" is not a health endpoint"},
    {GOOD "    health_endpoint: \"/a b\"\n",
     "f:6: apps[0].health_endpoint: \"/a b\" is not a health endpoint"},
    {GOOD "    health_endpoint: \"/a\\r\\nX: y\"\n",
     "f:6: apps[0].health_endpoint: \"/a? X: y\" is not a health endpoint"},
    {GOOD "    title: \"\\x07\"\n", "f:6: apps[0].title: \"?\" is not a title"},
    {GOOD "    is_local_only: no\n", "f:6: apps[0].is_local_only: no is not a truth value"},
    {GOOD "    exec: rm\n", "f:6: apps[0]: the key exec is not known, use one of app_id"},
    {GOOD "  - app_id: x\n    port: 2\n", "f:6: apps[1].app_id: x is here twice"},
    {PC "apps:\n  - app_id: x\n",
     "f:4: apps[0].app_id: nothing to watch, give unit, port or health_endpoint"},
    {PC "apps:\n  - app_id: x\n    health_endpoint: /h\n",
     "f:4: apps[0].app_id: the path /h needs a port"},
    {PC "apps:\n  - app_id: x\n    unit: x.service\n    health_endpoint: /h\n",
     "f:4: apps[0].app_id: the path /h needs a port"},
    {GOOD "service_targets:\n  - app_id: x\n", "f:7: service_targets[0].pc_id: is missing"},
    {GOOD "service_targets:\n  - pc_id: a\n", "f:7: service_targets[0].app_id: is missing"},
    {GOOD "service_targets:\n  - app_id: y\n    pc_id: a\n",
     "f:7: service_targets[0].app_id: y is not in apps, add it there or leave this target out"},
    {GOOD "service_targets:\n  - app_id: x\n    pc_id: b\n",
     "f:8: service_targets[0].pc_id: b is not in pcs"},
    {GOOD "service_targets:\n  - app_id: x\n    pc_id: a\n    expected: on\n",
     "f:9: service_targets[0].expected: \"on\" is not an expectation, use running or stopped"},
    {GOOD "service_targets:\n  - app_id: x\n    pc_id: a\n    title: T\n",
     "f:9: service_targets[0]: the key title is not known"},
    {GOOD
     "service_targets:\n  - {app_id: x, pc_id: a}\n  - {app_id: x, pc_id: a, expected: stopped}\n",
     "f:8: service_targets[1].app_id: x on a has two targets, leave one out"},
    {PC "apps:\n  - app_id: x\nservice_targets:\n  - {app_id: x, pc_id: a}\n",
     "f:6: service_targets[0].app_id: nothing to watch"},
    {PC
     "apps:\n  - {app_id: x, health_endpoint: /h}\nservice_targets:\n  - {app_id: x, pc_id: a}\n",
     "f:6: service_targets[0].app_id: the path /h needs a port"},
    {PC "apps:\n  - app_id: &n x\n", "f:4: anchors"},
    {PC "    note: *n\n", "f:3: aliases"},
    {PC "    note: !!binary aGk=\n", "f:3: tags"},
    {PC "---\n" PC, "f:3: a second document"},
    {"pcs:\n\t- pc_id: a\n", "f:2: not YAML"},
    {"pcs:\n  - pc_id: a\n   note: b\n", "f:3: not YAML"},
    {"pcs: [{pc_id: a}\n", "f:"},
    {"\x7F"
     "ELF\n",
     "f:"},
    {"SQLite format 3\n", "f:1: it is not a mapping"},
};

static void test_broken(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTS(broken); i++) {
        Registry *r = (Registry *)0x1;
        RegistryError error = {};
        int e = registry_yaml_parse("f", broken[i].text, strlen(broken[i].text), &r, &error);

        if (e != -EINVAL || strncmp(error.text, broken[i].error, strlen(broken[i].error)) != 0)
            fail_msg("case %zu (%s): %d \"%s\", not \"%s\"", i, broken[i].text, e, error.text,
                     broken[i].error);
        assert_ptr_equal(r, (Registry *)0x1);
        assert_true(text_is_utf8(error.text, strlen(error.text)));
        for (const char *p = error.text; *p; p++)
            assert_true((unsigned char)*p >= 0x20);
    }
}

/* An incomplete app is fine where each of its targets completes it. */
static void test_targets_complete_an_app(void **state)
{
    static const char text[] = PC "apps:\n  - {app_id: x, health_endpoint: /h}\n"
                                  "service_targets:\n  - {app_id: x, pc_id: a, port: 81}\n";
    CLEANUP(registry_freep) Registry *r = NULL;
    RegistryError error;

    (void)state;
    assert_int_equal(registry_yaml_parse("f", text, strlen(text), &r, &error), 0);
}

static const char *const hostile[] = {
    "-oProxyCommand=touch canary",
    "--",
    "$(touch canary)",
    "`touch canary`",
    "a;touch canary",
    "a|b",
    "a&b",
    "a b",
    "a\tb",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a'b",
    "a\"b",
    "%n%n%s",
    "a%00b",
    "\xE2\x80\xAE"
    "a",
    "\xF0\x9F\x92\xA9",
    "a\xC2\x85",
    "' OR 1=1 --",
    "user@host",
    "host:22",
    "[::1]",
    "*",
    "~root",
    "<script>",
    "a\\nb",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
};

static void escape(const char *s, char *dst)
{
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            *dst++ = '\\';
        *dst++ = *s;
    }
    *dst = '\0';
}

static void refuse_name(const char *format, const char *name)
{
    char escaped[512], text[1024];
    Registry *r = NULL;
    RegistryError error;
    Buffer b = BUFFER_INIT(sizeof(text));

    escape(name, escaped);
    for (const char *p = format; *p; p++) {
        if (*p == '#')
            buffer_str(&b, escaped);
        else
            buffer_char(&b, *p);
    }
    if (registry_yaml_parse("f", buffer_cstr(&b), b.len, &r, &error) != -EINVAL)
        fail_msg("accepted: %s", buffer_cstr(&b));
    buffer_done(&b);
}

static void test_hostile_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTS(hostile); i++) {
        refuse_name("pcs: [{pc_id: \"#\"}]\n", hostile[i]);
        refuse_name("pcs: [{pc_id: a, ssh_host: \"#\"}]\n", hostile[i]);
        refuse_name("apps: [{app_id: \"#\", port: 1}]\n", hostile[i]);
        refuse_name("apps: [{app_id: a, unit: \"#\"}]\n", hostile[i]);
        refuse_name("pcs: [{pc_id: a}]\napps: [{app_id: a, port: 1}]\n"
                    "service_targets: [{app_id: a, pc_id: a, unit: \"#\"}]\n",
                    hostile[i]);
        refuse_name("pcs: [{pc_id: a}]\napps: [{app_id: a, port: 1}]\n"
                    "service_targets: [{app_id: a, pc_id: \"#\"}]\n",
                    hostile[i]);
    }
}

/* R38: five thousand names of three bytes and more, one of them at least special. */
static void test_random_names(void **state)
{
    static const char letters[] = "aZ0._-@$`'&|;<>(){}[]*?~!#%^=+,:/ \x7f\xc3\xa4";
    static const char special[] = "$`'&|;<>(){}[]*?~!#%^=+,/ ";
    static const char *const places[] = {
        "pcs: [{pc_id: \"#\"}]\n",
        "pcs: [{pc_id: a, ssh_host: \"#\"}]\n",
        "apps: [{app_id: \"#\", port: 1}]\n",
        "apps: [{app_id: a, unit: \"#.service\"}]\n",
    };
    unsigned seed = 8485;

    (void)state;
    for (int i = 0; i < 5000; i++) {
        char name[40];
        size_t len = 3 + (size_t)rand_r(&seed) % 30;
        for (size_t k = 0; k < len; k++)
            name[k] = letters[rand_r(&seed) % (sizeof letters - 1)];
        name[(size_t)rand_r(&seed) % len] = special[rand_r(&seed) % (sizeof special - 1)];
        name[len] = '\0';
        refuse_name(places[i % 4], name);
    }
}

static void test_size(void **state)
{
    CLEANUP_FREE char *text = malloc(REGISTRY_YAML_MAX + 1);
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(REGISTRY_YAML_MAX);
    Registry *r = NULL;
    RegistryError error;

    (void)state;
    memset(text, '#', REGISTRY_YAML_MAX + 1);
    assert_int_equal(registry_yaml_parse("f", text, REGISTRY_YAML_MAX + 1, &r, &error), -EFBIG);
    assert_string_equal(error.text, "f: longer than 8 MiB");
    buffer_str(&b, "pcs:\n");
    for (int i = 0; i <= REGISTRY_PCS_MAX; i++)
        buffer_printf(&b, "- {pc_id: p%d}\n", i);
    assert_int_equal(registry_yaml_parse("f", buffer_cstr(&b), b.len, &r, &error), -EINVAL);
    assert_string_equal(error.text, "f:1002: pcs: more than 1000 entries");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_round_trip_of_odd_texts),
        cmocka_unit_test(test_absent_null_and_empty_are_the_same),
        cmocka_unit_test(test_types_follow_the_column),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_targets_complete_an_app),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_random_names),
        cmocka_unit_test(test_size),
    };

    return cmocka_run_group_tests_name("registry-yaml", tests, NULL, NULL);
}
