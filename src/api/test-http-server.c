/* What the server does for those who ask well: replies, suspension, upgrades. */
#include "api/test-http-server.h"

static void test_get(void **state)
{
    (void)state;
    Reply *r = ask("GET /text HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(r->status, 200);
    assert_safe_headers(r);
    assert_non_null(strstr(r->text, "Content-Type: text/plain\r\n"));
    assert_non_null(strstr(r->text, "[-][-][-] n=7 e=0 x=-"));
    r = ask("GET /api/services/a.b/pc-1?n=12&x=%41%2F&x=2 HTTP/1.1\r\n" HOST "\r\n");
    assert_non_null(strstr(r->text, "[a.b][pc-1][-] n=12 e=0 x=%41%2F"));
    r = ask("GET /text HTTP/1.0\r\n" HOST "\r\n");
    assert_int_equal(r->status, 200);
    assert_true(is_whole(r, false));
}

static void test_query_numbers(void **state)
{
    static const struct {
        const char *text, *seen;
    } table[] = {
        {"n=100", "n=100 e=0"},    {"n=-5", "n=-5 e=0"},   {"n=101", "n=7 e=-22"},
        {"n=-6", "n=7 e=-22"},     {"n=", "n=7 e=-22"},    {"n", "n=7 e=-22"},
        {"n=1x", "n=7 e=-22"},     {"n=%31", "n=7 e=-22"}, {"n=+1", "n=7 e=-22"},
        {"n=-", "n=7 e=-22"},      {"m=3", "n=7 e=0"},     {"n=3&n=4", "n=3 e=0"},
        {"&&n=3&", "n=3 e=0"},     {"=&n=3", "n=3 e=0"},   {"n=9999999999999999999999", "e=-22"},
        {"x==&n=3", "n=3 e=0 x=="}};
    char text[256];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(table); i++) {
        snprintf(text, sizeof text, "GET /text?%s HTTP/1.1\r\n" HOST "\r\n", table[i].text);
        assert_non_null(strstr(ask(text)->text, table[i].seen));
    }
}

static void test_head(void **state)
{
    (void)state;
    Reply *r = ask("HEAD /api/services HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(r->status, 200);
    assert_int_equal(content_length(r->text), strlen(t.body));
    assert_string_equal(strstr(r->text, "\r\n\r\n"), "\r\n\r\n");
}

static void test_post(void **state)
{
    (void)state;
    Reply *r = ask("POST /api/services/a/b/check HTTP/1.1\r\n" HOST
                   "Content-Type: application/json; charset=utf-8\r\nContent-Length: 7\r\n\r\n"
                   "{\"a\":1}");
    assert_int_equal(r->status, 200);
    assert_non_null(strstr(r->text, "{\"a\":1}"));
    r = ask("POST /api/services/a/b/check HTTP/1.1\r\n" HOST
            "Content-Type: APPLICATION/JSON\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(r->status, 200);
    assert_int_equal(t.calls, 2);
}

static void test_large_body(void **state)
{
    static char text[GATE_BODY_MAX + 256];
    int n = snprintf(text, sizeof text,
                     "POST /api/services/a/b/check HTTP/1.1\r\n" HOST
                     "Content-Type: application/json\r\nContent-Length: %u\r\n\r\n",
                     GATE_BODY_MAX);

    (void)state;
    memset(text + n, ' ', GATE_BODY_MAX);
    Reply *r = exchange(text, (size_t)n + GATE_BODY_MAX);
    assert_int_equal(r->status, 200);
    assert_int_equal(content_length(r->text), GATE_BODY_MAX);
    assert_true(is_whole(r, false));
}

static void test_keep_alive(void **state)
{
    static const char two[] = "GET /text?n=1 HTTP/1.1\r\n" HOST "\r\n"
                              "GET /text?n=2 HTTP/1.1\r\n" HOST "\r\n";
    int fd = client_on(0);

    (void)state;
    for (int i = 0; i < 5; i++) {
        put(fd, "GET /api/services HTTP/1.1\r\n" HOST "\r\n", 28 + strlen(HOST) + 2);
        assert_int_equal(get_reply(fd, false)->status, 200);
    }
    put(fd, two, strlen(two));
    for (int i = 0; i < 20 && t.calls < 7; i++)
        turn(-1);
    assert_int_equal(t.calls, 7);
    Reply *r = get_reply(fd, false);
    assert_non_null(strstr(r->text, "n=1"));
    if (!strstr(r->text, "n=2"))
        assert_non_null(strstr(get_reply(fd, false)->text, "n=2"));
    close(fd);
}

static void test_cached(void **state)
{
    char text[512], etag[64] = "";

    (void)state;
    Reply *r = ask("GET /api/services HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(r->status, 200);
    assert_non_null(strstr(r->text, "[{\"app_id\":\"one\"}]"));
    assert_int_equal(sscanf(strstr(r->text, "ETag: "), "ETag: %60s", etag), 1);
    /* the same pointer and version: the shared copy is sent */
    snprintf(t.body, sizeof t.body, "[{\"app_id\":\"two\"}]");
    assert_non_null(strstr(ask("GET /api/services HTTP/1.1\r\n" HOST "\r\n")->text, "one"));
    snprintf(text, sizeof text,
             "GET /api/services HTTP/1.1\r\n" HOST "If-None-Match: \"x\", %s\r\n\r\n", etag);
    r = ask(text);
    assert_int_equal(r->status, 304);
    assert_non_null(strstr(r->text, etag));
    assert_null(strstr(r->text, "app_id"));
    t.version++;
    r = ask(text);
    assert_int_equal(r->status, 200);
    assert_non_null(strstr(r->text, "two"));
    assert_null(strstr(r->text, etag));
}

static void test_cache_of_many(void **state)
{
    static const char *const bodies[] = {"[1]", "[2]", "[3]", "[4]", "[5]", "[6]"};

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ELEMENTS(bodies); i++) {
            snprintf(t.body, sizeof t.body, "%s", bodies[i]);
            t.version = (uint64_t)round * 10 + i;
            assert_non_null(
                strstr(ask("GET /api/services HTTP/1.1\r\n" HOST "\r\n")->text, bodies[i]));
        }
    }
}

static void keep_one(int fd)
{
    static const char text[] = "GET /api/slow HTTP/1.1\r\n" HOST "\r\n";

    put(fd, text, strlen(text));
    for (int i = 0; i < 200 && !t.kept; i++)
        turn(-1);
    assert_non_null(t.kept);
}

static void test_suspend_and_reply(void **state)
{
    int fd = client_on(0);

    (void)state;
    for (int i = 0; i < 3; i++) { /* on one connection: it goes on after a suspended request */
        keep_one(fd);
        assert_int_equal(ask("GET /text HTTP/1.1\r\n" HOST "\r\n")->status, 200);
        http_reply_json(TAKE_PTR(t.kept), 200, "[1,2]", 5);
        Reply *r = get_reply(fd, false);
        assert_int_equal(r->status, 200);
        assert_non_null(strstr(r->text, "[1,2]"));
    }
    keep_one(fd);
    http_reply_cached(TAKE_PTR(t.kept), t.body, strlen(t.body), 9);
    assert_non_null(strstr(get_reply(fd, false)->text, "one"));
    assert_int_equal(t.gone, 0);
    close(fd);
}

static void test_suspend_and_reply_at_once(void **state)
{
    (void)state;
    assert_problem(ask("GET /api/slow?at-once HTTP/1.1\r\n" HOST "\r\n"), 503);
    assert_int_equal(t.gone, 0);
}

static void test_suspended_post(void **state)
{
    int fd = client_on(0);
    static const char text[] = "POST /api/slow HTTP/1.1\r\n" HOST
                               "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

    (void)state;
    put(fd, text, strlen(text));
    for (int i = 0; i < 200 && !t.kept; i++)
        turn(-1);
    size_t len;
    assert_memory_equal(http_body(t.kept, &len), "{}", 2);
    http_reply_text(TAKE_PTR(t.kept), 200, "text/plain", "ok", 2);
    assert_int_equal(get_reply(fd, false)->status, 200);
    close(fd);
}

static void test_client_gone(void **state)
{
    (void)state;
    for (int i = 1; i <= 3; i++) {
        int fd = client_on(0);
        keep_one(fd);
        if (i == 2)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        close(fd);
        for (int k = 0; k < 200 && t.gone < i; k++)
            turn(-1);
        assert_int_equal(t.gone, i);
    }
    assert_int_equal(ask("GET /text HTTP/1.1\r\n" HOST "\r\n")->status, 200);
}

static void test_free_with_suspended(void **state)
{
    int fd[3];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(fd); i++) {
        t.kept = NULL;
        fd[i] = client_on(0);
        keep_one(fd[i]);
    }
    t.server = http_server_free(t.server);
    assert_int_equal(t.gone, 3);
    for (size_t i = 0; i < ELEMENTS(fd); i++)
        close(fd[i]);
}

static void test_unanswered(void **state)
{
    (void)state;
    assert_problem(ask("GET /api/mute HTTP/1.1\r\n" HOST "\r\n"), 500);
}

static void test_upgrade(void **state)
{
    static const char text[] =
        "GET /api/ws?stream=0123456789abcdef&since=4 HTTP/1.1\r\n" HOST UPGRADE WS_KEY
        "Sec-WebSocket-Version: 13\r\n\r\nEXTRA";
    char in[16] = "";
    int fd = client_on(0);

    (void)state;
    put(fd, text, strlen(text));
    Reply *r = get_reply(fd, true);
    assert_int_equal(r->status, 101);
    assert_non_null(strstr(r->text, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_non_null(strstr(r->text, "Upgrade: websocket\r\n"));
    assert_true(t.upgraded_fd >= 0);
    assert_string_equal(t.upgraded_query, "stream=0123456789abcdef&since=4");
    assert_string_equal(t.upgraded_extra, "EXTRA");
    assert_int_equal(t.upgraded_role, ROLE_LOCAL);
    for (int i = 0; i < 5; i++)
        turn(-1);
    /* the connection lives on without the server */
    t.server = http_server_free(t.server);
    assert_int_equal(send(t.upgraded_fd, "hello", 5, MSG_NOSIGNAL), 5);
    assert_int_equal(recv(fd, in, sizeof in, 0), 5);
    assert_int_equal(send(fd, "world", 5, MSG_NOSIGNAL), 5);
    assert_int_equal(recv(t.upgraded_fd, in, sizeof in, 0), 5);
    assert_string_equal(in, "world");
    assert_true(fcntl(t.upgraded_fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(t.upgraded_fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void test_ipv6(void **state)
{
    static const char text[] = "GET /text HTTP/1.1\r\nHost: [::1]:8485\r\n\r\n";

    (void)state;
    if (!t.port[1])
        skip();
    int fd = client_on(1);
    put(fd, text, strlen(text));
    assert_int_equal(get_reply(fd, false)->status, 200);
    close(fd);
}

static void test_many_connections(void **state)
{
    int fds[200];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(fds); i++)
        fds[i] = client_on(0);
    for (size_t i = 0; i < ELEMENTS(fds); i++) {
        put(fds[i], "GET /api/services HTTP/1.1\r\n" HOST "\r\n", 28 + strlen(HOST) + 2);
        assert_int_equal(get_reply(fds[i], false)->status, 200);
    }
    for (size_t i = 0; i < ELEMENTS(fds); i++)
        close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_query_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_head, setup, teardown),
        cmocka_unit_test_setup_teardown(test_post, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keep_alive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cache_of_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_suspend_and_reply, setup, teardown),
        cmocka_unit_test_setup_teardown(test_suspend_and_reply_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_suspended_post, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_free_with_suspended, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unanswered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_upgrade, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ipv6, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_connections, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
