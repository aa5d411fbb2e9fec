/* Ports: the kernel's own table against sockets opened here, and the text of ss. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "api/probe-port.h"
#include "basic/macro.h"

static int listen_on(int family, const char *address, int backlog, uint16_t *ret_port)
{
    struct sockaddr_storage a = {.ss_family = (sa_family_t)family};
    socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (family == AF_INET)
        inet_pton(AF_INET, address, &((struct sockaddr_in *)&a)->sin_addr);
    else
        inet_pton(AF_INET6, address, &((struct sockaddr_in6 *)&a)->sin6_addr);
    if (bind(fd, (struct sockaddr *)&a, len) < 0)
        return close_fd(fd);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *ret_port = ntohs(((struct sockaddr_in *)&a)->sin_port); /* the same place in both families */
    return fd;
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void test_sees_a_listener_come_and_go(void **state UNUSED)
{
    PortReader *r = NULL;
    PortTable t = {0};
    const PortEntry *e = NULL;
    uint16_t port;
    int fd = listen_on(AF_INET, "127.0.0.1", 7, &port);

    assert_int_equal(port_reader_new(&r), 0);
    assert_int_equal(port_reader_read(r, &t, 1), 0);
    assert_true(port_listening_check(&t, port, &e));
    assert_int_equal(e->port, port);
    assert_false(e->is_ipv6);
    assert_memory_equal(e->addr, "\x7F\0\0\1", 4);
    assert_int_equal(e->backlog, 7);
    assert_int_equal(e->queue, 0);
    assert_int_equal(e->uid, getuid());
    close(fd);
    assert_int_equal(port_reader_read(r, &t, 2), 0);
    assert_false(port_listening_check(&t, port, NULL));
    assert_int_equal(t.at_us, 2);
    port_table_done(&t);
    assert_null(port_reader_free(r));
    assert_null(port_reader_free(NULL));
}

static void test_accept_queue(void **state UNUSED)
{
    PortReader *r = NULL;
    PortTable t = {0};
    PortFacts f = {0};
    uint16_t port;
    int fd = listen_on(AF_INET, "127.0.0.1", 1, &port), a = connect_to(port), b = connect_to(port);

    assert_int_equal(port_reader_new(&r), 0);
    assert_int_equal(port_reader_read(r, &t, 10), 0);
    port_facts_update(&f, &t, port, NULL, 0, NULL, NULL);
    assert_true(f.listening);
    assert_int_equal(f.queue, 2);
    assert_int_equal(f.backlog, 1);
    assert_int_equal(f.full_since_us, 10);
    assert_int_equal(port_reader_read(r, &t, 20), 0);
    port_facts_update(&f, &t, port, NULL, 0, NULL, NULL);
    assert_int_equal(f.full_since_us, 10);
    close(accept(fd, NULL, NULL));
    assert_int_equal(port_reader_read(r, &t, 30), 0);
    port_facts_update(&f, &t, port, NULL, 0, NULL, NULL);
    assert_int_equal(f.full_since_us, 0);
    close(a);
    close(b);
    close(fd);
    port_table_done(&t);
    port_reader_free(r);
}

static void test_many_listeners_in_many_parts(void **state UNUSED)
{
    PortReader *r = NULL;
    PortTable t = {0};
    int fds[500];
    uint16_t ports[500];

    for (size_t i = 0; i < ELEMENTS(fds); i++)
        fds[i] = listen_on(i % 2 ? AF_INET6 : AF_INET, i % 2 ? "::1" : "127.0.0.1", 1, &ports[i]);
    assert_int_equal(port_reader_new(&r), 0);
    for (uint64_t look = 1; look < 4; look++)
        assert_int_equal(port_reader_read(r, &t, look), 0);
    for (size_t i = 0; i < ELEMENTS(fds); i++) {
        if (fds[i] >= 0)
            assert_true(port_listening_check(&t, ports[i], NULL));
        close_fd(fds[i]);
    }
    for (size_t i = 1; i < t.n; i++)
        assert_true(t.entries[i - 1].port <= t.entries[i].port);
    port_table_done(&t);
    port_reader_free(r);
}

/* ---- ss ---- */

static size_t parse(PortTable *t, const char *text)
{
    size_t bad = 99;

    assert_int_equal(port_table_parse_ss(t, text, strlen(text), 5, &bad), 0);
    return bad;
}

static void test_ss_good_lines(void **state UNUSED)
{
    static const struct {
        const char *line;
        uint16_t port;
        bool is_ipv6;
        const char *address;
        uint32_t queue, backlog, uid;
        const char *unit;
    } rows[] = {
        {"LISTEN 0 128 0.0.0.0:8401 0.0.0.0:* ino:1 sk:30 cgroup:/a.slice/x.service <->", 8401,
         false, "0.0.0.0", 0, 128, 0, "x.service"},
        {"LISTEN 3      4096    127.0.0.53%lo:53  0.0.0.0:* uid:101 ino:2 sk:2", 53, false,
         "127.0.0.53", 3, 4096, 101, ""},
        {"LISTEN 0 5 [::]:22 [::]:* ino:3 sk:4 cgroup:/system.slice/ssh.service v6only:1 <->", 22,
         true, "::", 0, 5, 0, "ssh.service"},
        {"LISTEN 0 5 *:80 *:* uid:4294967295", 80, true, "::", 0, 5, 4294967295U, ""},
        {"LISTEN 0 5 [fe80::1]%eth0:65535 [::]:*", 65535, true, "fe80::1", 0, 5, 0, ""},
        {"LISTEN 0 5 [::ffff:10.0.0.1]:81 *:*", 81, false, "10.0.0.1", 0, 5, 0, ""},
        {"LISTEN 0 5 127.0.0.1:82 0.0.0.0:* uid:1000 cgroup:/user.slice/user-1000.slice/"
         "user@1000.service/app.slice/web.service/sub <->",
         82, false, "127.0.0.1", 0, 5, 1000, "web.service"},
        {"LISTEN 0 5 127.0.0.1:83 0.0.0.0:* cgroup:/user.slice/user@1000.service/init.scope", 83,
         false, "127.0.0.1", 0, 5, 0, ""},
        {"LISTEN 0 5 127.0.0.1:84 0.0.0.0:* uid:1x cgroup:/ timer:(x) \r", 84, false, "127.0.0.1",
         0, 5, 0, ""},
    };

    for (size_t i = 0; i < ELEMENTS(rows); i++) {
        CLEANUP(port_table_done) PortTable t = {0};
        char text[512];
        uint8_t address[16] = {0};
        snprintf(text, sizeof text, "%s\n", rows[i].line);
        assert_int_equal(parse(&t, text), 0);
        assert_int_equal(t.n, 1);
        const PortEntry *e = &t.entries[0];
        assert_int_equal(e->port, rows[i].port);
        assert_int_equal(e->is_ipv6, rows[i].is_ipv6);
        inet_pton(rows[i].is_ipv6 ? AF_INET6 : AF_INET, rows[i].address, address);
        assert_memory_equal(e->addr, address, 16);
        assert_int_equal(e->queue, rows[i].queue);
        assert_int_equal(e->backlog, rows[i].backlog);
        assert_int_equal(e->uid, rows[i].uid);
        assert_string_equal(e->unit, rows[i].unit);
    }
}

static void test_ss_bad_lines(void **state UNUSED)
{
    static const char *const lines[] = {
        "x",
        "LISTEN",
        "LISTEN 0 128 0.0.0.0:80",
        "ESTAB 0 128 0.0.0.0:80 0.0.0.0:*",
        "LISTEN -1 128 0.0.0.0:80 0.0.0.0:*",
        "LISTEN 0 4294967296 0.0.0.0:80 0.0.0.0:*",
        "LISTEN 0 99999999999999999999999999 0.0.0.0:80 0.0.0.0:*",
        "LISTEN 0 128 0.0.0.0:0 0.0.0.0:*",
        "LISTEN 0 128 0.0.0.0:65536 0.0.0.0:*",
        "LISTEN 0 128 0.0.0.0: 0.0.0.0:*",
        "LISTEN 0 128 0.0.0.0 0.0.0.0:*",
        "LISTEN 0 128 :80 0.0.0.0:*",
        "LISTEN 0 128 %lo:80 0.0.0.0:*",
        "LISTEN 0 128 [::1:80 0.0.0.0:*",
        "LISTEN 0 128 [::1]x:80 0.0.0.0:*",
        "LISTEN 0 128 256.0.0.1:80 0.0.0.0:*",
        "LISTEN 0 128 localhost:80 0.0.0.0:*",
        "\x1b[31mLISTEN 0 128 0.0.0.0:80 0.0.0.0:*",
    };

    for (size_t i = 0; i < ELEMENTS(lines); i++) {
        CLEANUP(port_table_done) PortTable t = {0};
        char text[512];
        snprintf(text, sizeof text, "%s\nLISTEN 0 1 0.0.0.0:9 0.0.0.0:*\n", lines[i]);
        assert_int_equal(parse(&t, text), 1);
        assert_int_equal(t.n, 1);
        assert_int_equal(t.entries[0].port, 9);
    }
}

static void test_ss_refuses_a_cut_text(void **state UNUSED)
{
    CLEANUP(port_table_done) PortTable t = {0};
    static const char whole[] = "LISTEN 0 1 0.0.0.0:9 0.0.0.0:*\n";
    static const char cut[] = "LISTEN 0 1 0.0.0.0:9 0.0.0.0:*\nLISTEN 0 1 0.0.0.0:8";

    assert_int_equal(parse(&t, whole), 0);
    assert_int_equal(port_table_parse_ss(&t, cut, sizeof cut - 1, 9, NULL), -EBADMSG);
    assert_int_equal(t.n, 1);
    assert_int_equal(t.at_us, 5);
    assert_int_equal(port_table_parse_ss(&t, "", 0, 9, NULL), 0);
    assert_int_equal(t.n, 0);
}

static void test_ss_nul_and_long_lines(void **state UNUSED)
{
    CLEANUP(port_table_done) PortTable t = {0};
    static const char nul[] = "LISTEN 0 1 0.0.0.0:9\0 0.0.0.0:*\n";
    char *text = malloc(100000);
    size_t bad;

    assert_int_equal(port_table_parse_ss(&t, nul, sizeof nul - 1, 1, &bad), 0);
    assert_int_equal(bad, 1);
    memset(text, 'a', 100000);
    text[99999] = '\n';
    assert_int_equal(port_table_parse_ss(&t, text, 100000, 1, &bad), 0);
    assert_int_equal(bad, 1);
    free(text);
}

static void test_ss_endless_table(void **state UNUSED)
{
    CLEANUP(port_table_done) PortTable t = {0};
    static const char line[] = "LISTEN 0 1 1.1.1.1:9 0.0.0.0:*\n";
    size_t len = sizeof line - 1, n = PORT_TABLE_MAX + 1;
    char *text = malloc(len * n);

    for (size_t i = 0; i < n; i++)
        memcpy(text + i * len, line, len);
    assert_int_equal(port_table_parse_ss(&t, text, len * n, 1, NULL), -EFBIG);
    assert_int_equal(t.n, 0);
    assert_int_equal(port_table_parse_ss(&t, text, len * (n - 1), 1, NULL), 0);
    assert_int_equal(t.n, PORT_TABLE_MAX);
    free(text);
}

/* ---- facts ---- */

static void test_which_address_to_dial(void **state UNUSED)
{
    CLEANUP(port_table_done) PortTable t = {0};
    const PortEntry *e = NULL;

    parse(&t,
          "LISTEN 0 1 192.168.1.1:80 *:*\nLISTEN 0 1 [::1]:80 *:*\nLISTEN 0 1 127.0.0.2:80 *:*\n"
          "LISTEN 0 1 192.168.1.1:81 *:*\nLISTEN 0 1 [::]:81 *:*\n"
          "LISTEN 0 1 [2001:db8::1]:82 *:*\nLISTEN 0 1 10.0.0.1:82 *:*\n");
    assert_true(port_listening_check(&t, 80, &e));
    assert_memory_equal(e->addr, "\x7F\0\0\2", 4);
    assert_true(port_listening_check(&t, 81, &e));
    assert_true(e->is_ipv6);
    assert_true(port_listening_check(&t, 82, &e));
    assert_memory_equal(e->addr, "\x0A\0\0\1", 4);
    assert_false(port_listening_check(&t, 79, &e));
    assert_false(port_listening_check(&t, 83, &e));
    assert_false(port_listening_check(&(PortTable){0}, 83, &e));
}

static bool every_odd_id(void *userdata, uint64_t id, char *name, size_t size)
{
    ++*(unsigned *)userdata;
    snprintf(name, size, "holder-%u.service", (unsigned)id);
    return id % 2;
}

static PortFacts facts_of(const PortEntry *entries, size_t n, const uint64_t *own, size_t n_own)
{
    PortTable t = {.entries = (PortEntry *)entries, .n = n, .at_us = 1};
    PortFacts f = {0};
    unsigned calls = 0;

    port_facts_update(&f, &t, 80, own, n_own, every_odd_id, &calls);
    return f;
}

static void test_owner(void **state UNUSED)
{
    static const PortEntry foreign[] = {{.port = 80, .cgroup_id = 77}};
    static const PortEntry unclear[] = {{.port = 80, .cgroup_id = 78}};
    static const PortEntry root[] = {{.port = 80, .cgroup_id = 1}};
    static const PortEntry both[] = {{.port = 80, .cgroup_id = 77}, {.port = 80, .cgroup_id = 78}};
    static const uint64_t own[] = {0, 77}, zero[] = {0};
    PortFacts f = facts_of(foreign, 1, NULL, 0);

    assert_int_equal(f.owner, OWNER_FOREIGN);
    assert_string_equal(f.owner_name, "holder-77.service");
    assert_int_equal(facts_of(foreign, 1, own, 2).owner, OWNER_SELF);
    assert_string_equal(facts_of(foreign, 1, own, 2).owner_name, "");
    assert_int_equal(facts_of(foreign, 1, zero, 1).owner, OWNER_FOREIGN);
    assert_int_equal(facts_of(unclear, 1, NULL, 0).owner, OWNER_UNKNOWN);
    assert_int_equal(facts_of(root, 1, zero, 1).owner, OWNER_UNKNOWN);
    assert_int_equal(facts_of(both, 2, NULL, 0).owner, OWNER_UNKNOWN);
    assert_int_equal(facts_of(both, 2, own, 2).owner, OWNER_SELF);
}

static void test_misses_count_looks(void **state UNUSED)
{
    PortTable t = {0};
    PortFacts f = {0};

    port_facts_update(&f, &t, 80, NULL, 0, NULL, NULL);
    assert_false(f.looked);
    t.at_us = 5;
    port_facts_update(&f, &t, 80, NULL, 0, NULL, NULL);
    port_facts_update(&f, &t, 80, NULL, 0, NULL, NULL);
    assert_true(f.looked);
    assert_false(f.listening);
    assert_int_equal(f.misses, 1);
    t.at_us = 6;
    port_facts_update(&f, &t, 80, NULL, 0, NULL, NULL);
    assert_int_equal(f.misses, 2);
}

static void test_cgroup_ids(void **state UNUSED)
{
    struct stat st;

    assert_int_equal(stat(cgroup_root(), &st), 0);
    assert_int_equal(cgroup_id_of("/"), st.st_ino);
    assert_int_equal(cgroup_id_of(""), 0);
    assert_int_equal(cgroup_id_of("relative"), 0);
    assert_int_equal(cgroup_id_of("/../../../../etc"), 0);
    assert_int_equal(cgroup_id_of("/no/such/unit.service"), 0);
    assert_int_equal(cgroup_id_of("/cgroup.procs"), 0);
    assert_int_equal(port_cgroup_hash("/a.service"), port_cgroup_hash("/a.service"));
    assert_int_not_equal(port_cgroup_hash("/a.service"), port_cgroup_hash("/b.service"));
    assert_true(port_cgroup_hash("") > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sees_a_listener_come_and_go),
        cmocka_unit_test(test_accept_queue),
        cmocka_unit_test(test_many_listeners_in_many_parts),
        cmocka_unit_test(test_ss_good_lines),
        cmocka_unit_test(test_ss_bad_lines),
        cmocka_unit_test(test_ss_refuses_a_cut_text),
        cmocka_unit_test(test_ss_nul_and_long_lines),
        cmocka_unit_test(test_ss_endless_table),
        cmocka_unit_test(test_which_address_to_dial),
        cmocka_unit_test(test_owner),
        cmocka_unit_test(test_misses_count_looks),
        cmocka_unit_test(test_cgroup_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
