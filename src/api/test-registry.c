/* The registry as a value: which PC this is, what is to be watched, adding, and the rules that span
 * rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/registry-yaml.h"
#include "api/registry.h"
#include "basic/macro.h"

static Registry *parse(const char *yaml)
{
    Registry *r = NULL;
    RegistryError error = {};

    if (registry_yaml_parse("f", yaml, strlen(yaml), &r, &error) < 0)
        fail_msg("%s", error.text);
    return r;
}

static const char pcs[] = "pcs:\n"
                          "  - {pc_id: aurgi-pc}\n"
                          "  - {pc_id: home-wsl, ssh_host: wsl}\n"
                          "  - {pc_id: organic-machine.com, ssh_host: organic, pc_is_self: true}\n";

static const char *self_of(const Registry *r, const char *wanted, const char *host)
{
    const RegistryPc *pc = NULL;
    static RegistryError error;

    *error.text = '\0';
    int e = registry_self(r, wanted, host, &pc, &error);
    if (e == 0)
        return pc ? pc->pc_id : "none";
    assert_int_equal(e, -ENOENT);
    return error.text;
}

static void test_self(void **state)
{
    CLEANUP(registry_freep) Registry *r = parse(pcs);

    (void)state;
    /* the word of a person comes first */
    assert_string_equal(self_of(r, "aurgi-pc", "home-wsl"), "aurgi-pc");
    assert_string_equal(self_of(r, "none", "home-wsl"), "none");
    assert_string_equal(self_of(r, "wsl", "home-wsl"),
                        "there is no PC \"wsl\" in the registry; say which PC this is with --self "
                        "ID, one of: aurgi-pc, "
                        "home-wsl, organic-machine.com");
    /* then the host name: id, ssh host, and both without domain, in any case of letters */
    assert_string_equal(self_of(r, NULL, "aurgi-pc"), "aurgi-pc");
    assert_string_equal(self_of(r, NULL, "AURGI-PC"), "aurgi-pc");
    assert_string_equal(self_of(r, NULL, "wsl"), "home-wsl");
    assert_string_equal(self_of(r, NULL, "aurgi-pc.fritz.box"), "aurgi-pc");
    assert_string_equal(self_of(r, NULL, "wsl.local"), "home-wsl");
    assert_string_equal(self_of(r, NULL, "organic-machine.com"), "organic-machine.com");
    /* then the only row that says so */
    assert_string_equal(self_of(r, NULL, "localhost"), "organic-machine.com");
    assert_string_equal(self_of(r, NULL, ""), "organic-machine.com");
}

static void test_self_is_not_guessed(void **state)
{
    CLEANUP(registry_freep) Registry *none = parse("pcs: [{pc_id: a}, {pc_id: b}]\n");
    CLEANUP(registry_freep)
    Registry *two = parse("pcs: [{pc_id: a, pc_is_self: true}, {pc_id: b, pc_is_self: true}]\n");
    CLEANUP(registry_freep)
    Registry *same = parse("pcs: [{pc_id: a, ssh_host: h}, {pc_id: b, ssh_host: H}]\n");
    CLEANUP(registry_freep) Registry *empty = parse("pcs: []\n");

    (void)state;
    static const char ask[] =
        "no PC has the host name h; say which PC this is with --self ID, one of: a, b";
    assert_string_equal(self_of(none, NULL, "h"), ask);
    assert_string_equal(self_of(two, NULL, "h"), ask);
    assert_string_equal(self_of(two, NULL, "b"), "b");
    assert_string_equal(
        self_of(same, NULL, "h"),
        "several PCs have the host name h; say which PC this is with --self ID, one of: a, b");
    assert_string_equal(
        self_of(empty, NULL, "h"),
        "no PC has the host name h: the registry has no PCs, add one or use --self none");
    assert_string_equal(self_of(empty, "none", "h"), "none");
}

static void test_self_with_many_candidates(void **state)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(1U << 20);
    RegistryError error;
    const RegistryPc *pc;

    (void)state;
    buffer_str(&b, "pcs:\n");
    for (int i = 0; i < 1000; i++)
        buffer_printf(&b, "- pc_id: this-is-a-rather-long-name-of-a-pc-%04d\n", i);
    CLEANUP(registry_freep) Registry *r = parse(buffer_cstr(&b));
    assert_int_equal(registry_self(r, "\x1b[31m\xFF", "h", &pc, &error), -ENOENT);
    assert_non_null(strstr(error.text, "no PC \"?[31m\xEF\xBF\xBD\""));
    assert_string_equal(error.text + strlen(error.text) - 4, " ...");
}

static const char services[] =
    "pcs: [{pc_id: a}, {pc_id: b}]\n"
    "apps:\n"
    "  - {app_id: web, title: Web, tag: t, unit: web.service, port: 80, health_endpoint: /h,\n"
    "     health_timeout_ms: 300, unit_scope: system}\n"
    "  - {app_id: agent, unit: agent.service, is_local_only: true}\n"
    "  - {app_id: local, unit: local.service, is_local_only: true}\n"
    "  - {app_id: idle, unit: idle.service}\n"
    "service_targets:\n"
    "  - {app_id: web, pc_id: b, unit: other.service, port: 81, health_endpoint: /other,\n"
    "     health_timeout_ms: 9000}\n"
    "  - {app_id: web, pc_id: a}\n"
    "  - {app_id: agent, pc_id: b, expected: stopped}\n";

static const Want *find_want(const Want *w, size_t n, const char *app, const char *pc)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(w[i].app_id, app) == 0 && strcmp(w[i].pc_id, pc) == 0)
            return &w[i];
    return NULL;
}

static void test_wants(void **state)
{
    CLEANUP(registry_freep) Registry *r = parse(services);
    CLEANUP_FREE Want *w = NULL;
    size_t n;

    (void)state;
    assert_int_equal(registry_wants(r, registry_find_pc(r, "a"), 4000, &w, &n), 0);
    assert_int_equal(n, 4);
    for (size_t i = 1; i < n; i++) {
        int order = strcmp(w[i - 1].pc_id, w[i].pc_id);
        assert_true(order < 0 || (order == 0 && strcmp(w[i - 1].app_id, w[i].app_id) < 0));
    }
    const Want *plain = find_want(w, n, "web", "a"), *other = find_want(w, n, "web", "b");
    assert_string_equal(plain->unit, "web.service");
    assert_string_equal(plain->title, "Web");
    assert_string_equal(plain->tag, "t");
    assert_string_equal(plain->health, "/h");
    assert_int_equal(plain->port, 80);
    assert_int_equal(plain->timeout_ms, 300);
    assert_int_equal(plain->scope, SCOPE_SYSTEM);
    assert_int_equal(plain->expected, EXPECTED_RUNNING);
    assert_string_equal(other->unit, "other.service");
    assert_string_equal(other->health, "/other");
    assert_int_equal(other->port, 81);
    assert_int_equal(other->timeout_ms, 4000); /* capped */
    assert_int_equal(other->scope, SCOPE_SYSTEM);
    /* local only: a row here, also without a target; none elsewhere, also with one */
    assert_int_equal(find_want(w, n, "agent", "a")->expected, EXPECTED_RUNNING);
    assert_int_equal(find_want(w, n, "agent", "a")->timeout_ms, HEALTH_TIMEOUT_DEFAULT_MS);
    assert_non_null(find_want(w, n, "local", "a"));
    assert_null(find_want(w, n, "agent", "b"));
    assert_null(find_want(w, n, "idle", "a"));
}

static void test_wants_of_the_other_pc_and_of_none(void **state)
{
    CLEANUP(registry_freep) Registry *r = parse(services);
    CLEANUP_FREE Want *b = NULL, *none = NULL, *short_time = NULL;
    size_t n;

    (void)state;
    assert_int_equal(registry_wants(r, registry_find_pc(r, "b"), 4000, &b, &n), 0);
    assert_int_equal(n, 4);
    assert_int_equal(find_want(b, n, "agent", "b")->expected, EXPECTED_STOPPED);
    assert_non_null(find_want(b, n, "local", "b"));
    assert_int_equal(registry_wants(r, NULL, 4000, &none, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(registry_wants(r, NULL, 250, &short_time, &n), 0);
    assert_int_equal(short_time[0].timeout_ms, 250);
}

static void test_wants_of_an_empty_registry(void **state)
{
    CLEANUP(registry_freep) Registry *r = parse("pcs: []\n");
    CLEANUP_FREE Want *w = NULL;
    size_t n = 7;

    (void)state;
    assert_int_equal(registry_wants(r, NULL, 4000, &w, &n), 0);
    assert_int_equal(n, 0);
}

static char *yaml_of(const Registry *r)
{
    Buffer b = BUFFER_INIT(1U << 20);

    registry_yaml_write(r, &b);
    return buffer_take(&b, NULL);
}

static void test_add(void **state)
{
    CLEANUP(registry_freep) Registry *r = parse(pcs);
    RegistryPc pc = {.pc_id = (char *)"new"};
    RegistryApp app = {.app_id = (char *)"web", .unit = (char *)"web.service"};
    RegistryTarget target = {.app_id = (char *)"web", .pc_id = (char *)"new", .port = 80};
    RegistryError error;

    (void)state;
    assert_int_equal(registry_add(r, &pc, &app, &target, &error), 0);
    assert_int_equal(r->n_pcs, 4);
    assert_string_equal(registry_find_app(r, "web")->unit, "web.service");
    assert_int_equal(r->targets[0].port, 80);
    /* again: rows of the same id are replaced */
    app.unit = (char *)"other.service";
    target.expected = EXPECTED_STOPPED;
    target.port = 0;
    assert_int_equal(registry_add(r, &pc, &app, &target, &error), 0);
    assert_int_equal(r->n_pcs, 4);
    assert_int_equal(r->n_apps, 1);
    assert_int_equal(r->n_targets, 1);
    assert_string_equal(r->apps[0].unit, "other.service");
    assert_int_equal(r->targets[0].expected, EXPECTED_STOPPED);
    assert_int_equal(r->targets[0].port, 0);
    /* a known PC keeps what it has, but for the ssh host */
    pc = (RegistryPc){.pc_id = (char *)"organic-machine.com"};
    assert_int_equal(registry_add(r, &pc, NULL, NULL, &error), 0);
    assert_string_equal(registry_find_pc(r, "organic-machine.com")->ssh_host, "organic");
    pc.ssh_host = (char *)"moved";
    assert_int_equal(registry_add(r, &pc, NULL, NULL, &error), 0);
    assert_string_equal(registry_find_pc(r, "organic-machine.com")->ssh_host, "moved");
    assert_true(registry_find_pc(r, "organic-machine.com")->is_self);
}

static void test_add_leaves_all_on_error(void **state)
{
    CLEANUP(registry_freep) Registry *r = parse(services);
    CLEANUP_FREE char *before = yaml_of(r);
    RegistryPc pc = {.pc_id = (char *)"c"};
    RegistryApp good = {.app_id = (char *)"n", .port = 1};
    const RegistryApp bad[] = {
        {.app_id = (char *)"n"},
        {.port = 1},
        {.app_id = (char *)"a b", .port = 1},
        {.app_id = (char *)"n", .unit = (char *)"-x.service"},
        {.app_id = (char *)"n", .port = 1, .title = (char *)"\x1b"},
        {.app_id = (char *)"n", .health = (char *)"/h"},
        {.app_id = (char *)"n", .port = 1, .timeout_ms = 50},
        {.app_id = (char *)"n", .port = 1, .scope = SCOPE_INVALID},
        {.app_id = (char *)"n", .port = 1, .is_local_only = true, .note = (char *)"\xFF"},
    };
    const RegistryTarget targets[] = {
        {.app_id = (char *)"n", .pc_id = (char *)"zzz"},
        {.app_id = (char *)"zzz", .pc_id = (char *)"c"},
        {.app_id = (char *)"n"},
        {.app_id = (char *)"n", .pc_id = (char *)"c", .expected = EXPECTED_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(bad) + ELEMENTS(targets); i++) {
        bool is_app = i < ELEMENTS(bad);
        RegistryError error = {};
        int e = registry_add(r, &pc, is_app ? &bad[i] : &good,
                             is_app ? NULL : &targets[i - ELEMENTS(bad)], &error);
        if (e != -EINVAL || !*error.text)
            fail_msg("case %zu: %d %s", i, e, error.text);
        CLEANUP_FREE char *after = yaml_of(r);
        assert_string_equal(before, after);
    }
}

static void test_check_sorts_and_says_where(void **state)
{
    RegistryPc rows[] = {{.pc_id = (char *)"b", .place = 0}, {.pc_id = (char *)"a", .place = 1}};
    RegistryApp apps[] = {{.app_id = (char *)"x", .port = 1}};
    RegistryTarget targets[] = {{.app_id = (char *)"x", .pc_id = (char *)"bb", .place = 7}};
    Registry r = {
        .pcs = rows, .n_pcs = 2, .apps = apps, .n_apps = 1, .targets = targets, .n_targets = 1};
    RegistryError error;

    (void)state;
    assert_int_equal(registry_check(&r, &error), -EINVAL);
    assert_string_equal(
        error.text,
        "service_targets[7].pc_id: bb is not in pcs, add it there or leave this target out");
    targets[0].pc_id = (char *)"b";
    assert_int_equal(registry_check(&r, &error), 0);
    assert_string_equal(rows[0].pc_id, "a");
    assert_ptr_equal(registry_find_pc(&r, "b"), &rows[1]);
    assert_null(registry_find_pc(&r, "c"));
    assert_null(registry_find_app(&r, "y"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self),
        cmocka_unit_test(test_self_is_not_guessed),
        cmocka_unit_test(test_self_with_many_candidates),
        cmocka_unit_test(test_wants),
        cmocka_unit_test(test_wants_of_the_other_pc_and_of_none),
        cmocka_unit_test(test_wants_of_an_empty_registry),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_add_leaves_all_on_error),
        cmocka_unit_test(test_check_sorts_and_says_where),
    };

    return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
