/* config.yaml: defaults, every key, and a hundred ways to get it wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/config.h"
#include "api/test-dir.h"
#include "basic/macro.h"
#include "basic/text.h"

static Config *parse(const char *text)
{
    Config *c = NULL;
    ConfigError error = {};

    if (config_parse("f", text, strlen(text), &c, &error) < 0)
        fail_msg("%s", error.text);
    return c;
}

static void assert_defaults(const Config *c)
{
    assert_string_equal(c->listen, "127.0.0.1:8485");
    assert_null(c->self);
    assert_int_equal(c->interval_ms, 10000);
    assert_int_equal(c->alert_after_s, 300);
    assert_int_equal(c->reboot_grace_s, 120);
    assert_int_equal(c->retention_checks_days, 7);
    assert_int_equal(c->retention_transitions_days, 730);
    assert_int_equal(c->hosts.n, 0);
    assert_int_equal(c->origins.n, 0);
    assert_false(c->feature_actions);
    assert_false(c->auto_fix);
    assert_int_equal(c->auto_fix_budget, 3);
    assert_int_equal(c->auto_fix_window_s, 600);
    assert_null(c->notify_webhook_url);
    assert_null(c->notify_smtp_url);
    assert_null(c->notify_heartbeat_url);
    assert_int_equal(c->notify_heartbeat_s, 60);
}

static void test_defaults(void **state)
{
    static const char *const empty[] = {"",     "# nothing\n", "~\n",
                                        "{}\n", "features:\n", "listen:\ninterval_ms: ~\nhosts:\n"};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(empty); i++) {
        CLEANUP(config_freep) Config *c = parse(empty[i]);
        assert_defaults(c);
    }
}

static const char all[] = "listen: \"[::1]:9000\"\n"
                          "self: aurgi-pc\n"
                          "interval_ms: 1000\n"
                          "alert_after_s: 0\n"
                          "reboot_grace_s: 3600\n"
                          "retention:\n"
                          "  checks_days: 366\n"
                          "  transitions_days: 1\n"
                          "hosts: [monitor.lan, 10.0.0.1, \"[fe80::1]\"]\n"
                          "origins:\n"
                          "  - http://monitor.lan:8080\n"
                          "  - https://monitor.lan\n"
                          "features:\n"
                          "  actions: true\n"
                          "services_monitor:\n"
                          "  auto_fix: true\n"
                          "  auto_fix_budget: 100\n"
                          "  auto_fix_window_s: 60\n"
                          "notify:\n"
                          "  webhook_url: https://example.org/hook?a=b\n"
                          "  ntfy_url: https://ntfy.sh/topic\n"
                          "  smtp_url: smtps://mail.example.org:465\n"
                          "  mail_from: monitor@example.org\n"
                          "  mail_to: me+pc@example.org\n"
                          "  smtp_user: me\n"
                          "  smtp_password_file: /home/me/.config/services_api/mail\n"
                          "  heartbeat_url: http://127.0.0.1:9/beat\n"
                          "  heartbeat_s: 86400\n";

static void test_every_key(void **state)
{
    CLEANUP(config_freep) Config *c = parse(all);

    (void)state;
    assert_string_equal(c->listen, "[::1]:9000");
    assert_string_equal(c->self, "aurgi-pc");
    assert_int_equal(c->interval_ms, 1000);
    assert_int_equal(c->alert_after_s, 0);
    assert_int_equal(c->reboot_grace_s, 3600);
    assert_int_equal(c->retention_checks_days, 366);
    assert_int_equal(c->retention_transitions_days, 1);
    assert_int_equal(c->hosts.n, 3);
    assert_string_equal(c->hosts.items[2], "[fe80::1]");
    assert_int_equal(c->origins.n, 2);
    assert_string_equal(c->origins.items[0], "http://monitor.lan:8080");
    assert_true(c->feature_actions);
    assert_true(c->auto_fix);
    assert_int_equal(c->auto_fix_budget, 100);
    assert_int_equal(c->auto_fix_window_s, 60);
    assert_string_equal(c->notify_webhook_url, "https://example.org/hook?a=b");
    assert_string_equal(c->notify_ntfy_url, "https://ntfy.sh/topic");
    assert_string_equal(c->notify_smtp_url, "smtps://mail.example.org:465");
    assert_string_equal(c->notify_mail_from, "monitor@example.org");
    assert_string_equal(c->notify_mail_to, "me+pc@example.org");
    assert_string_equal(c->notify_smtp_user, "me");
    assert_string_equal(c->notify_smtp_password_file, "/home/me/.config/services_api/mail");
    assert_string_equal(c->notify_heartbeat_url, "http://127.0.0.1:9/beat");
    assert_int_equal(c->notify_heartbeat_s, 86400);
}

static void test_dotted_keys(void **state)
{
    CLEANUP(config_freep) Config *c = parse("features.actions: true\nretention.checks_days: 3\n");

    (void)state;
    assert_true(c->feature_actions);
    assert_int_equal(c->retention_checks_days, 3);
}

static const struct {
    const char *text;
    const char *error; /* the beginning */
} broken[] = {
    {"- a\n", "f:1: it is not a mapping"},
    {"text\n", "f:1: it is not a mapping"},
    {"12\n", "f:1: it is not a mapping"},
    {"Listen: 127.0.0.1:1\n", "f:1: the key Listen is not known, did you mean listen?"},
    {"listen: 127.0.0.1:1\ninterval: 3\n",
     "f:2: the key interval is not known, did you mean interval_ms?"},
    {"intervall_ms: 3000\n", "f:1: the key intervall_ms is not known, did you mean interval_ms?"},
    {"banana: 1\n", "f:1: the key banana is not known, see services_api(1)"},
    {"feature:\n  actions: true\n", "f:1: the key feature is not known"},
    {"actions: true\n", "f:1: the key actions is not known"},
    {"features:\n  action: true\n",
     "f:2: the key features.action is not known, did you mean features.actions?"},
    {"features:\n  actions:\n    all: true\n",
     "f:2: features.actions: a mapping is not right, use true or false"},
    {"features: true\n", "f:1: features: is not a section, write its keys below it"},
    {"features: [actions]\n", "f:1: features: is not a section"},
    {"features:\n  actions: yes\n", "f:2: features.actions: yes is not right, use true or false"},
    {"features:\n  actions: on\n", "f:2: features.actions: on is not right"},
    {"features:\n  actions: 1\n", "f:2: features.actions: 1 is not right"},
    {"features:\n  actions: \"true\"\n", "f:2: features.actions: \"true\" is not right"},
    {"features:\n  actions: TRUE\n", "f:2: features.actions: TRUE is not right"},
    {"features.actions: tru\n", "f:1: features.actions: tru is not right"},
    {"features.actions: true\nfeatures:\n  actions: true\n",
     "f:3: features.actions: it is in line 1 already"},
    {"listen: 1\nlisten: 2\n", "f:2: the key listen is here twice, leave one out"},
    {"self: a\nself: b\n", "f:2: the key self is here twice"},
    {"listen: 8485\n", "f:1: listen: 8485 is not right, use ADDRESS:PORT"},
    {"listen: localhost:8485\n", "f:1: listen: localhost:8485 is not right"},
    {"listen: 127.0.0.1\n", "f:1: listen: 127.0.0.1 is not right"},
    {"listen: \"127.0.0.1:\"\n", "f:1: listen: \"127.0.0.1:\" is not right"},
    {"listen: 127.0.0.1:0\n", "f:1: listen: 127.0.0.1:0 is not right"},
    {"listen: 127.0.0.1:65536\n", "f:1: listen:"},
    {"listen: 127.0.0.1:99999999999\n", "f:1: listen:"},
    {"listen: 127.0.0.1:080\n", "f:1: listen:"},
    {"listen: 127.0.0.1:-1\n", "f:1: listen:"},
    {"listen: 127.0.0.1:80x\n", "f:1: listen:"},
    {"listen: 127.0.0.256:80\n", "f:1: listen:"},
    {"listen: 127.1:80\n", "f:1: listen:"},
    {"listen: \"::1:80\"\n", "f:1: listen:"},
    {"listen: \"[::1]\"\n", "f:1: listen:"},
    {"listen: \"[127.0.0.1]:80\"\n", "f:1: listen:"},
    {"listen: \"[]:80\"\n", "f:1: listen:"},
    {"listen: \"[:80\"\n", "f:1: listen:"},
    {"listen: \":80\"\n", "f:1: listen:"},
    {"listen: \"\"\n", "f:1: listen:"},
    {"listen: [127.0.0.1:80]\n", "f:1: listen: a list is not right"},
    {"listen: {a: b}\n", "f:1: listen: a mapping is not right"},
    {"self: a b\n", "f:1: self: a b is not right, use a pc_id or none"},
    {"self: -x\n", "f:1: self: -x is not right"},
    {"self: me@pc\n", "f:1: self: me@pc is not right"},
    {"self: \"\\e[2J\"\n", "f:1: self: \"?[2J\" is not right"},
    {"interval_ms: 999\n", "f:1: interval_ms: 999 is not right, use a number from 1000 to 3600000"},
    {"interval_ms: 3600001\n", "f:1: interval_ms: 3600001 is not right"},
    {"interval_ms: 10s\n", "f:1: interval_ms: 10s is not right"},
    {"interval_ms: \"10000\"\n", "f:1: interval_ms: \"10000\" is not right"},
    {"interval_ms: 1e4\n", "f:1: interval_ms: 1e4 is not right"},
    {"interval_ms: -10000\n", "f:1: interval_ms: -10000 is not right"},
    {"interval_ms: 4294977296\n", "f:1: interval_ms: 4294977296 is not right"},
    {"interval_ms: 99999999999999999999999\n", "f:1: interval_ms:"},
    {"interval_ms: 010000\n", "f:1: interval_ms:"},
    {"interval_ms: 10_000\n", "f:1: interval_ms:"},
    {"interval_ms: [1000]\n", "f:1: interval_ms: a list is not right"},
    {"alert_after_s: 86401\n", "f:1: alert_after_s:"},
    {"alert_after_s: never\n", "f:1: alert_after_s:"},
    {"reboot_grace_s: 3601\n", "f:1: reboot_grace_s:"},
    {"retention: 7\n", "f:1: retention: is not a section"},
    {"retention:\n  checks_days: 0\n",
     "f:2: retention.checks_days: 0 is not right, use a number from 1 to 366"},
    {"retention:\n  checks_days: 367\n", "f:2: retention.checks_days:"},
    {"retention:\n  transitions_days: 3661\n", "f:2: retention.transitions_days:"},
    {"retention:\n  check_days: 3\n",
     "f:2: the key retention.check_days is not known, did you mean retention.checks_days?"},
    {"hosts: monitor.lan\n", "f:1: hosts: monitor.lan is not right, use a list of host names"},
    {"hosts: {a: b}\n", "f:1: hosts: a mapping is not right"},
    {"hosts:\n  - a\n  - b:80\n", "f:3: hosts: b:80 is not right"},
    {"hosts: [\"*\"]\n", "f:1: hosts: \"*\" is not right"},
    {"hosts: [\"a b\"]\n", "f:1: hosts:"},
    {"hosts: [\"[1.2.3.4]\"]\n", "f:1: hosts:"},
    {"hosts: [\"[::1\"]\n", "f:1: hosts:"},
    {"hosts: [[a]]\n", "f:1: hosts: a list is not right"},
    {"hosts: [a, ~]\n", "f:1: hosts:"},
    {"hosts: [a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a]\n",
     "f:1: hosts: more than 32 entries"},
    {"origins: [monitor.lan]\n",
     "f:1: origins: monitor.lan is not right, use a list like http://HOST[:PORT]"},
    {"origins: [\"null\"]\n", "f:1: origins: \"null\" is not right"},
    {"origins: [\"*\"]\n", "f:1: origins:"},
    {"origins: [http://a/]\n", "f:1: origins: http://a/ is not right"},
    {"origins: [http://a/b]\n", "f:1: origins:"},
    {"origins: [http://u@a]\n", "f:1: origins:"},
    {"origins: [\"http://a?b\"]\n", "f:1: origins:"},
    {"origins: [ftp://a]\n", "f:1: origins:"},
    {"services_monitor:\n  auto_fix_budget: 0\n", "f:2: services_monitor.auto_fix_budget: 0"},
    {"services_monitor:\n  auto_fix_budget: 101\n", "f:2: services_monitor.auto_fix_budget: 101"},
    {"services_monitor:\n  auto_fix_window_s: 59\n", "f:2: services_monitor.auto_fix_window_s: 59"},
    {"services_monitor:\n  autofix: true\n",
     "f:2: the key services_monitor.autofix is not known, did you mean"},
    {"notify:\n  webhook_url: example.org\n",
     "f:2: notify.webhook_url: the value is not right, use http(s)://HOST"},
    {"notify:\n  webhook_url: file:///etc/passwd\n", "f:2: notify.webhook_url:"},
    {"notify:\n  webhook_url: https://u:p@example.org/\n", "f:2: notify.webhook_url:"},
    {"notify:\n  webhook_url: \"https://a/\\r\\nX: y\"\n", "f:2: notify.webhook_url:"},
    {"notify:\n  ntfy_url: gopher://a/\n", "f:2: notify.ntfy_url:"},
    {"notify:\n  smtp_url: http://a\n",
     "f:2: notify.smtp_url: http://a is not right, use smtp(s)://HOST[:PORT]"},
    {"notify:\n  smtp_url: smtp://a/b\n", "f:2: notify.smtp_url:"},
    {"notify:\n  smtp_url: smtp://u:p@a\n", "f:2: notify.smtp_url:"},
    {"notify:\n  smtp_url: smtp://\n", "f:2: notify.smtp_url:"},
    {"notify:\n  smtp_url: smtp://a\n",
     "f:2: notify.smtp_url: needs notify.mail_from and notify.mail_to too"},
    {"notify:\n  smtp_url: smtp://a\n  mail_from: a@b\n", "f:2: notify.smtp_url: needs"},
    {"notify:\n  mail_to: a@b\n", "f:2: a mail address without notify.smtp_url"},
    {"notify:\n  mail_from: me\n", "f:2: notify.mail_from: me is not right, use NAME@DOMAIN"},
    {"notify:\n  mail_from: \"@b\"\n", "f:2: notify.mail_from:"},
    {"notify:\n  mail_from: a@\n", "f:2: notify.mail_from:"},
    {"notify:\n  mail_from: a@b@c\n", "f:2: notify.mail_from:"},
    {"notify:\n  mail_from: \"a@b\\r\\nBcc: c@d\"\n", "f:2: notify.mail_from:"},
    {"notify:\n  mail_from: \"<a@b>\"\n", "f:2: notify.mail_from:"},
    {"notify:\n  mail_to: a@b,c@d\n", "f:2: notify.mail_to:"},
    {"notify:\n  smtp_user: a\n",
     "f:2: notify.smtp_user and notify.smtp_password_file go together"},
    {"notify:\n  smtp_password_file: /a\n",
     "f:2: notify.smtp_user and notify.smtp_password_file go together"},
    {"notify:\n  smtp_password_file: secret\n",
     "f:2: notify.smtp_password_file: secret is not right, use an absolute path"},
    {"notify:\n  smtp_password: secret\n", "f:2: the key notify.smtp_password is not known"},
    {"notify:\n  heartbeat_s: 9\n", "f:2: notify.heartbeat_s: 9 is not right"},
    {"notify:\n  - webhook_url\n", "f:1: notify: is not a section"},
    {"a: &x 1\n", "f:1: anchors"},
    {"self: *x\n", "f:1: aliases"},
    {"self: !!str a\n", "f:1: tags"},
    {"self: a\n---\nself: b\n", "f:2: a second document"},
    {"self: a\n bad: b\n", "f:2: not YAML"},
    {"\tself: a\n", "f:1: not YAML"},
    {"self: [a\n", "f:"},
    {"self: \"a\n", "f:"},
    {"\xFF\xFE", "f:"},
    {"[[[[[[[[[[[[[[[[[[[[", "f:1: nested deeper"},
    {"? a\n: [b]\n? [c]\n", "f:3: a key must be a word"},
};

static void test_broken(void **state)
{
    (void)state;
    assert_true(ELEMENTS(broken) >= 100);
    for (size_t i = 0; i < ELEMENTS(broken); i++) {
        Config *c = (Config *)0x1;
        ConfigError error = {};
        int e = config_parse("f", broken[i].text, strlen(broken[i].text), &c, &error);

        if (e != -EINVAL || strncmp(error.text, broken[i].error, strlen(broken[i].error)) != 0)
            fail_msg("case %zu (%s): %d \"%s\", not \"%s\"", i, broken[i].text, e, error.text,
                     broken[i].error);
        assert_ptr_equal(c, (Config *)0x1);
        assert_true(text_is_utf8(error.text, strlen(error.text)));
        assert_null(strpbrk(error.text, "\x1b\r\n"));
    }
}

static void test_load(void **state)
{
    char *dir = test_dir_new();
    const char *path = test_path(dir, "config.yaml");
    CLEANUP(config_freep) Config *absent = NULL, *present = NULL, *none = NULL;
    static char big[300000];
    ConfigError error = {};
    char expected[600];

    (void)state;
    assert_int_equal(config_load(path, &absent, &error), 0);
    assert_defaults(absent);
    test_write(path, all, strlen(all));
    assert_int_equal(config_load(path, &present, &error), 0);
    assert_string_equal(present->self, "aurgi-pc");
    test_write(path, "self: a\nport: 1\n", 16);
    assert_int_equal(config_load(path, &none, &error), -EINVAL);
    snprintf(expected, sizeof(expected),
             "%s:2: the key port is not known, see services_api(1) for all keys", path);
    assert_string_equal(error.text, expected);
    test_write(path, "self: a\0", 8);
    assert_int_equal(config_load(path, &none, &error), -EINVAL);
    memset(big, '#', sizeof(big));
    test_write(path, big, sizeof(big));
    assert_int_equal(config_load(path, &none, &error), -EINVAL);
    assert_non_null(strstr(error.text, "longer than 256 KiB"));
    assert_int_equal(config_load(dir, &none, &error), -EINVAL);
    assert_non_null(strstr(error.text, "Is a directory"));
    assert_null(none);
    test_dir_free(dir);
}

static void test_split_address(void **state)
{
    char host[64];
    uint16_t port;

    (void)state;
    assert_int_equal(config_split_address("127.0.0.1:8485", host, &port), 0);
    assert_string_equal(host, "127.0.0.1");
    assert_int_equal(port, 8485);
    assert_int_equal(config_split_address("[2001:db8::1]:65535", host, &port), 0);
    assert_string_equal(host, "2001:db8::1");
    assert_int_equal(port, 65535);
    assert_int_equal(config_split_address("0.0.0.0:1", host, &port), 0);
    assert_int_equal(config_split_address("a:1", host, &port), -EINVAL);
    assert_string_equal(host, "0.0.0.0");
    assert_int_equal(port, 1);
}

static Config *parse_good(const char *text)
{
    Config *c = NULL;
    ConfigError error;

    assert_int_equal(config_parse("x.yaml", text, strlen(text), &c, &error), 0);
    return c;
}

static void test_changes(void **state)
{
    static const struct {
        const char *a, *b, *changes;
        size_t n;
    } table[] = {
        {"", "", "", 0},
        {"interval_ms: 10000", "", "", 0}, /* the default, given */
        {"interval_ms: 5000", "", "interval_ms", 1},
        {"self: a", "self: a", "", 0},
        {"self: a", "", "self", 1},
        {"", "self: a", "self", 1},
        {"hosts: [a, b]", "hosts: [a, b]", "", 0},
        {"hosts: [a, b]", "hosts: [b, a]", "hosts", 1},
        {"hosts: [a, b]", "hosts: [a]", "hosts", 1},
        {"features.actions: true\nnotify.webhook_url: http://h/SECRET",
         "notify.webhook_url: http://h/OTHER", "features.actions, notify.webhook_url", 2},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(table); i++) {
        CLEANUP(buffer_done) Buffer b = BUFFER_INIT(4096);
        CLEANUP(config_freep) Config *x = parse_good(table[i].a), *y = parse_good(table[i].b);
        assert_int_equal(config_changes(x, y, &b), table[i].n);
        assert_string_equal(buffer_cstr(&b), table[i].changes);
    }
}

static void test_write_keys(void **state)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(65536);

    (void)state;
    config_write_keys(&b);
    const char *text = buffer_cstr(&b);
    assert_memory_equal(text, "listen ", 7);
    assert_non_null(strstr(
        text,
        "\ninterval_ms                          1000 to 3600000, default 10000\n    time between"));
    assert_non_null(
        strstr(text, "\nfeatures.actions                     true or false, default false\n"));
    assert_non_null(strstr(text, "\nself                                 a pc_id or none\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_dotted_keys), cmocka_unit_test(test_broken),
        cmocka_unit_test(test_load),        cmocka_unit_test(test_split_address),
        cmocka_unit_test(test_changes),     cmocka_unit_test(test_write_keys),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
