/* The gate, rule by rule: every branch of gate.c is taken here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/gate.h"
#include "basic/macro.h"

static const char *const hosts[] = {"monitor.lan", "10.0.0.5", ""};
static const char *const origins[] = {"https://monitor.lan", "app://desk"};
static const GateRules rules = {hosts, 3, origins, 2};
static const GateRules no_rules;

static GateVerdict check(const GateRules *r, const char *method, const char *target,
                         const GateHeader *headers, size_t n)
{
    const char *why = NULL;
    GateRequest q = {method, target, "HTTP/1.1", headers, n};
    GateVerdict verdict = gate_check(r, &q, &why);

    /* A refusal always has its sentence, and only a refusal has one. */
    assert_int_equal(verdict == GATE_PASS, why == NULL);
    if (why)
        assert_int_equal(why[strlen(why) - 1], '.');
    return verdict;
}

static GateVerdict check_host(const GateRules *r, const char *host)
{
    GateHeader h = {"Host", host};

    return check(r, "GET", "/api/services", &h, 1);
}

static GateVerdict check_origin(const GateRules *r, const char *origin)
{
    GateHeader h[] = {{"Host", "localhost"}, {"Origin", origin}};

    return check(r, "GET", "/api/services", h, 2);
}

static GateVerdict check_target(const char *target)
{
    GateHeader h = {"Host", "localhost:8485"};

    return check(&rules, "GET", target, &h, 1);
}

static GateVerdict check_header(const char *method, const char *name, const char *value)
{
    GateHeader h[] = {{"Host", "localhost:8485"}, {name, value}};

    return check(&rules, method, "/", h, 2);
}

static void test_hosts(void **state)
{
    static const char *const good[] = {"localhost",      "LOCALHOST:8485", "localhost:1",
                                       "127.0.0.1:8485", "[::1]",          "[::1]:65535",
                                       "localhost:00080"};
    static const char *const bad[] = {
        "",
        "evil.example",
        "evil.example:8485",
        "localhost.evil.example",
        "localhost.",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:123456",
        "localhost:8485x",
        "localhost:-1",
        "localhost: 80",
        "localhost@evil.example",
        "evil@localhost",
        "localhost, evil.example",
        "localhost evil",
        "127.0.0.2",
        "127.1",
        "2130706433",
        "0.0.0.0:8485",
        "::1",
        "[::1",
        "[::1]]",
        "[::ffff:127.0.0.1]",
        "http://localhost",
        "localhost/",
        "*",
        "null",
        "localhos",
        ":8485",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTS(good); i++)
        assert_int_equal(check_host(&no_rules, good[i]), GATE_PASS);
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(check_host(&rules, bad[i]), GATE_FORBIDDEN_HOST);
    assert_int_equal(check_host(&rules, "monitor.lan"), GATE_PASS);
    assert_int_equal(check_host(&rules, "Monitor.LAN:443"), GATE_PASS);
    assert_int_equal(check_host(&rules, "10.0.0.5:8485"), GATE_PASS);
    assert_int_equal(check_host(&no_rules, "monitor.lan"), GATE_FORBIDDEN_HOST);
    assert_int_equal(check_host(&rules, NULL), GATE_FORBIDDEN_HOST);
    assert_int_equal(check(&rules, "GET", "/", NULL, 0), GATE_BAD_REQUEST);
}

static void test_origins(void **state)
{
    static const char *const good[] = {
        "http://localhost",  "http://localhost:3000",   "http://127.0.0.1:8485",
        "http://[::1]:8485", "http://monitor.lan:8485", "https://monitor.lan",
        "app://desk"};
    static const char *const bad[] = {"",
                                      "null",
                                      "http://evil.example",
                                      "https://evil.example",
                                      "https://localhost",
                                      "http://localhost.evil.example",
                                      "http://localhost/",
                                      "http://localhost http://evil.example",
                                      "HTTP://localhost",
                                      "http:/localhost",
                                      "https://monitor.lan.evil.example",
                                      "https://monitor.lan:443",
                                      "app://desk2",
                                      "file://",
                                      "localhost",
                                      "*"};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(good); i++)
        assert_int_equal(check_origin(&rules, good[i]), GATE_PASS);
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(check_origin(&rules, bad[i]), GATE_FORBIDDEN_ORIGIN);
    assert_int_equal(check_origin(&no_rules, "https://monitor.lan"), GATE_FORBIDDEN_ORIGIN);
}

static void test_targets(void **state)
{
    static const char *const good[] = {
        "/",    "/a",         "/a/",      "/api/services/a.b/c-d?x=1&y=%2F%00",
        "/a?",  "/a?//..%61", "/...",     "/.a",
        "/a..", "/..a",       "/~x;y=(z)"};
    static const char *const bad[] = {"",
                                      "*",
                                      "a",
                                      "http://localhost/",
                                      "localhost:8485",
                                      "//",
                                      "//a",
                                      "/a//b",
                                      "/a//",
                                      "/.",
                                      "/..",
                                      "/a/../b",
                                      "/a/.",
                                      "/a/./b",
                                      "/%2e",
                                      "/a%00",
                                      "/%2F",
                                      "/a b",
                                      "/a\tb",
                                      "/a\x7f",
                                      "/a\xc3\xa9",
                                      "/a#b",
                                      "/a?b#c",
                                      "/a\\b",
                                      "/a?%",
                                      "/a?%4",
                                      "/a?%4g",
                                      "/a?%g4",
                                      "/a?%41%",
                                      "/a?x=\x01",
                                      "/..?x=1",
                                      "?x=1",
                                      "/a/..?/"};
    char longest[GATE_TARGET_MAX + 2];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(good); i++)
        assert_int_equal(check_target(good[i]), GATE_PASS);
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(check_target(bad[i]), GATE_BAD_REQUEST);
    memset(longest, 'a', sizeof longest);
    longest[0] = '/';
    longest[GATE_TARGET_MAX + 1] = '\0';
    assert_int_equal(check_target(longest), GATE_URI_TOO_LONG);
    longest[GATE_TARGET_MAX] = '\0';
    assert_int_equal(check_target(longest), GATE_PASS);
}

static void test_bodies(void **state)
{
    static const char *const bad[] = {"",   "-1",   "+1",  "1,1",  "1 ",
                                      " 1", "0x10", "1e3", "5, 5", "a"};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(check_header("POST", "Content-Length", bad[i]), GATE_BAD_REQUEST);
    assert_int_equal(check_header("POST", "Content-Length", "0"), GATE_PASS);
    assert_int_equal(check_header("POST", "content-length", "65536"), GATE_PASS);
    assert_int_equal(check_header("POST", "Content-Length", "65537"), GATE_TOO_LARGE);
    assert_int_equal(check_header("POST", "Content-Length", "18446744073709551617"),
                     GATE_TOO_LARGE);
    assert_int_equal(check_header("GET", "Content-Length", "0"), GATE_PASS);
    assert_int_equal(check_header("GET", "Content-Length", "1"), GATE_BAD_REQUEST);
    assert_int_equal(check_header("PUT", "Content-Length", "1"), GATE_BAD_REQUEST);
    assert_int_equal(check_header("POST", "Transfer-Encoding", "chunked"), GATE_BAD_REQUEST);
    assert_int_equal(check_header("POST", "transfer-encoding", "identity"), GATE_BAD_REQUEST);
    GateHeader both[] = {
        {"Host", "localhost"}, {"Content-Length", "4"}, {"Transfer-Encoding", "chunked"}};
    assert_int_equal(check(&rules, "POST", "/", both, 3), GATE_BAD_REQUEST);
}

static void test_doubled_headers(void **state)
{
    static const char *const once[] = {"Host",          "Origin",       "Content-Length",
                                       "Authorization", "Content-Type", "hOST"};

    (void)state;
    for (size_t i = 0; i < ELEMENTS(once); i++) {
        GateHeader h[] = {{"Host", "localhost"}, {once[i], "0"}, {once[i], "0"}};
        assert_int_equal(check(&rules, "POST", "/", h, 3), GATE_BAD_REQUEST);
    }
    GateHeader same[] = {{"Host", "localhost"}, {"Host", "localhost"}};
    assert_int_equal(check(&rules, "GET", "/", same, 2), GATE_BAD_REQUEST);
    GateHeader other[] = {{"Host", "localhost"}, {"Accept", "a"}, {"Accept", "b"}};
    assert_int_equal(check(&rules, "GET", "/", other, 3), GATE_PASS);
}

static void test_header_form(void **state)
{
    GateHeader many[GATE_HEADERS_MAX + 1];

    (void)state;
    assert_int_equal(check_header("GET", "X-Any", NULL), GATE_PASS);
    assert_int_equal(check_header("GET", "X-Any", "a\tb \xc3\xa9"), GATE_PASS);
    assert_int_equal(check_header("GET", "X-Any", "a\rb"), GATE_BAD_REQUEST);
    assert_int_equal(check_header("GET", "X-Any", "a\nb"), GATE_BAD_REQUEST);
    assert_int_equal(check_header("GET", "X-Any", "a\x7f"), GATE_BAD_REQUEST);
    assert_int_equal(check_header("GET", "", "a"), GATE_BAD_REQUEST);
    assert_int_equal(check_header("GET", "Content-Length ", "0"), GATE_BAD_REQUEST);
    assert_int_equal(check_header("GET", "X\xc3", "0"), GATE_BAD_REQUEST);
    for (size_t i = 0; i < ELEMENTS(many); i++)
        many[i] = (GateHeader){i ? "X" : "Host", "localhost"};
    assert_int_equal(check(&rules, "GET", "/", many, GATE_HEADERS_MAX), GATE_PASS);
    assert_int_equal(check(&rules, "GET", "/", many, GATE_HEADERS_MAX + 1), GATE_BAD_REQUEST);
}

static void test_versions_and_methods(void **state)
{
    static const char *const bad[] = {"",         "HTTP/2.0", "HTTP/0.9",
                                      "HTTP/1.2", "http/1.1", "HTTP/1.10"};
    GateHeader h = {"Host", "localhost"};
    const char *why = NULL;
    GateRequest q = {"GET", "/", "HTTP/1.0", &h, 1};

    (void)state;
    assert_int_equal(gate_check(&rules, &q, &why), GATE_PASS);
    q.n_headers = 0;
    assert_int_equal(gate_check(&rules, &q, &why), GATE_BAD_REQUEST);
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        q = (GateRequest){"GET", "/", bad[i], &h, 1};
        assert_int_equal(gate_check(&rules, &q, &why), GATE_BAD_REQUEST);
    }
    assert_int_equal(check(&rules, "", "/", &h, 1), GATE_BAD_REQUEST);
    assert_int_equal(check(&rules, "G T", "/", &h, 1), GATE_BAD_REQUEST);
    assert_int_equal(check(&rules, "DELETE", "/", &h, 1), GATE_PASS);
}

/* Every pair of a Host and an Origin variant: one bad half is enough to be refused. */
static void test_host_times_origin(void **state)
{
    static const char *const some_hosts[] = {"localhost:8485", "127.0.0.1", "[::1]:8485",
                                             "evil.example",   "null",      ""};
    static const char *const some_origins[] = {NULL,
                                               "http://localhost:8485",
                                               "http://[::1]",
                                               "http://evil.example",
                                               "null",
                                               "",
                                               "http://localhost:8485 http://evil.example"};

    (void)state;
    for (size_t h = 0; h < ELEMENTS(some_hosts); h++) {
        for (size_t o = 0; o < ELEMENTS(some_origins); o++) {
            GateHeader headers[] = {{"Host", some_hosts[h]}, {"Origin", some_origins[o]}};
            GateVerdict verdict =
                check(&rules, "GET", "/api/ws/services", headers, some_origins[o] ? 2 : 1);
            GateVerdict expected = h >= 3   ? GATE_FORBIDDEN_HOST
                                   : o >= 3 ? GATE_FORBIDDEN_ORIGIN
                                            : GATE_PASS;
            assert_int_equal(verdict, expected);
        }
    }
}

static void test_token(void **state)
{
    (void)state;
    assert_true(gate_token_matches("Bearer secret", "secret"));
    assert_true(gate_token_matches("bearer secret", "secret"));
    assert_false(gate_token_matches(NULL, "secret"));
    assert_false(gate_token_matches("Bearer secret", NULL));
    assert_false(gate_token_matches("Bearer ", ""));
    assert_false(gate_token_matches("Bearer ", "secret"));
    assert_false(gate_token_matches("Bearer secre", "secret"));
    assert_false(gate_token_matches("Bearer secrets", "secret"));
    assert_false(gate_token_matches("Bearer secretsecret", "secret"));
    assert_false(gate_token_matches("Bearer Secret", "secret"));
    assert_false(gate_token_matches("Bearer  secret", "secret"));
    assert_false(gate_token_matches("Basic secret", "secret"));
    assert_false(gate_token_matches("secret", "secret"));
    assert_false(gate_token_matches("", "secret"));
}

static void test_roles(void **state)
{
    static const struct {
        GateNeed need;
        GateRole role;
        int off, on; /* status with the flag off and on */
    } table[] = {
        {NEED_READ, ROLE_NOBODY, 401, 401},   {NEED_READ, ROLE_LOCAL, 0, 0},
        {NEED_READ, ROLE_TOKEN, 0, 0},        {NEED_CHECK, ROLE_NOBODY, 401, 401},
        {NEED_CHECK, ROLE_LOCAL, 0, 0},       {NEED_CHECK, ROLE_TOKEN, 0, 0},
        {NEED_ACTION, ROLE_NOBODY, 403, 401}, {NEED_ACTION, ROLE_LOCAL, 403, 401},
        {NEED_ACTION, ROLE_TOKEN, 403, 0},
    };

    (void)state;
    assert_int_equal(ELEMENTS(table), (NEED_MAX - 1) * 3);
    for (size_t i = 0; i < ELEMENTS(table); i++) {
        assert_int_equal(gate_allows(table[i].need, table[i].role, false), table[i].off);
        assert_int_equal(gate_allows(table[i].need, table[i].role, true), table[i].on);
    }
    for (GateRole role = ROLE_NOBODY; role <= ROLE_TOKEN; role++) {
        assert_int_equal(gate_allows(NEED_INVALID, role, true), 403);
        assert_int_equal(gate_allows(NEED_MAX, role, true), 403);
        assert_int_equal(gate_allows((GateNeed)99, role, true), 403);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_doubled_headers),
        cmocka_unit_test(test_header_form),
        cmocka_unit_test(test_versions_and_methods),
        cmocka_unit_test(test_host_times_origin),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_roles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
