/* Listening, who is in the way, and whose socket the other end is: asked from the real kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/http-server-socket.h"
#include "basic/macro.h"

static uint16_t port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    return ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port
                                        : ((struct sockaddr_in6 *)&a)->sin6_port);
}

static int listen_any(int family)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    const void *a = family == AF_INET ? (const void *)&in4 : (const void *)&in6;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, a, family == AF_INET ? sizeof in4 : sizeof in6) < 0 || listen(fd, 8) < 0)
        return close_fd(fd);
    return fd;
}

/* A port that is free on both loopbacks, most likely. */
static uint16_t free_port(void)
{
    int fd = listen_any(AF_INET);

    assert_true(fd >= 0);
    uint16_t port = port_of(fd);
    close(fd);
    return port;
}

static int listen_text(const char *host, uint16_t port, int fds[2], size_t *n, char why[256])
{
    char address[64];

    why[0] = '\0';
    snprintf(address, sizeof address, "%s:%u", host, port);
    return http_listen(address, fds, n, why, 256);
}

static void test_listen_opens_twins(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "[::1]"};
    char why[256];
    int fds[2];
    size_t n;

    (void)state;
    int probe = listen_any(AF_INET6);
    bool has_ipv6 = probe >= 0;
    close_fd(probe);
    for (size_t i = 0; i < (has_ipv6 ? 2 : 1); i++) {
        uint16_t port = free_port();
        assert_int_equal(listen_text(hosts[i], port, fds, &n, why), 0);
        assert_int_equal(n, has_ipv6 ? 2 : 1);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(port_of(fds[k]), port);
            assert_true(fcntl(fds[k], F_GETFL) & O_NONBLOCK);
            assert_true(fcntl(fds[k], F_GETFD) & FD_CLOEXEC);
            close(fds[k]);
        }
    }
    assert_int_equal(listen_text("127.0.0.3", free_port(), fds, &n, why), 0);
    assert_int_equal(n, 1); /* only 127.0.0.1 has a twin */
    close(fds[0]);
}

static void test_listen_bad_addresses(void **state)
{
    static const char *const bad[] = {
        "",           "8485",      "localhost",         "127.0.0.1",
        "127.0.0.1:", ":8485",     "127.0.0.1:0",       "127.0.0.1:65536",
        "::1:8485x",  "[::1]8485", "evil.example:8485", "127.0.0.1:84 85"};
    char why[256];
    int fds[2];
    size_t n = 77;

    (void)state;
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        why[0] = '\0';
        assert_true(http_listen(bad[i], fds, &n, why, sizeof why) < 0);
        assert_int_not_equal(why[0], '\0');
        assert_int_equal(n, 77);
    }
    assert_int_equal(http_listen("192.0.2.1:8485", fds, &n, why, sizeof why), -EADDRNOTAVAIL);
    assert_non_null(strstr(why, "192.0.2.1"));
}

static void test_listen_says_who_holds(void **state)
{
    char why[256], expected[64];
    int fds[2];
    size_t n;

    (void)state;
    assert_int_equal(prctl(PR_SET_NAME, "hold (er)\x1b"), 0);
    for (int family = AF_INET;; family = AF_INET6) {
        int fd = listen_any(family);
        if (fd < 0)
            break; /* this machine has no IPv6 */
        uint16_t port = port_of(fd);
        assert_int_equal(listen_text("127.0.0.1", port, fds, &n, why), -EADDRINUSE);
        snprintf(expected, sizeof expected, "port %u is held by pid %d (hold (er)?)", port,
                 getpid());
        assert_string_equal(why, expected);
        close(fd);
        if (family == AF_INET6)
            break;
    }
}

/* A wildcard socket of both families stands in the IPv6 table. */
static void test_listen_dual_stack_holder(void **state)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    char why[256], expected[64];
    int fds[2];
    size_t n;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any) < 0)
        skip(); /* this machine has no IPv6 */
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(listen_text("127.0.0.1", port_of(fd), fds, &n, why), -EADDRINUSE);
    snprintf(expected, sizeof expected, "is held by pid %d", getpid());
    assert_non_null(strstr(why, expected));
    close(fd);
}

typedef struct Pair {
    int listener, client, accepted;
} Pair;

static bool pair_open(Pair *p, int family)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;

    p->listener = listen_any(family);
    if (p->listener < 0)
        return false;
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&a, &len), 0);
    p->client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(p->client, (struct sockaddr *)&a, len), 0);
    p->accepted = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(p->accepted >= 0);
    return true;
}

static void pair_close(Pair *p)
{
    close_fd(p->listener);
    close_fd(p->client);
    close_fd(p->accepted);
}

static void test_peer_uid(void **state)
{
    static const int families[] = {AF_INET, AF_INET6};
    Pair p;
    uint32_t uid;

    (void)state;
    for (size_t i = 0; i < ELEMENTS(families); i++) {
        uid = 77;
        if (!pair_open(&p, families[i]))
            continue;
        assert_int_equal(http_peer_uid(p.accepted, &uid), 0);
        assert_int_equal(uid, geteuid());
        pair_close(&p);
        if (geteuid() != 0)
            continue;
        setfsuid(12345); /* a socket belongs to the uid that made it */
        pair_open(&p, families[i]);
        setfsuid(0);
        assert_int_equal(http_peer_uid(p.accepted, &uid), 0);
        assert_int_equal(uid, 12345);
        pair_close(&p);
    }
}

/* An IPv6 socket that speaks to the IPv4 listener is found, too. */
static void test_peer_uid_mapped(void **state)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    uint32_t uid = 77;
    int listener = listen_any(AF_INET);
    int client = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &a.sin6_addr);
    a.sin6_port = htons(port_of(listener));
    if (client < 0 || connect(client, (struct sockaddr *)&a, sizeof a) < 0)
        skip(); /* this machine has no IPv6 */
    int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(http_peer_uid(accepted, &uid), 0);
    assert_int_equal(uid, geteuid());
    close(accepted);
    close(client);
    close(listener);
}

/* The kernel reports sockets that nobody holds any more with uid 0: they are nobody's, not root's.
 */
static void test_peer_uid_of_the_gone(void **state)
{
    Pair p;
    uint32_t uid = 77;

    (void)state;
    assert_true(pair_open(&p, AF_INET));
    p.client = close_fd(p.client);
    assert_int_equal(http_peer_uid(p.accepted, &uid), -ENOENT);
    close(p.accepted);
    p.accepted = -1;
    pair_close(&p);

    assert_true(pair_open(&p, AF_INET)); /* closed for writing, but held */
    assert_int_equal(shutdown(p.client, SHUT_WR), 0);
    assert_int_equal(http_peer_uid(p.accepted, &uid), 0);
    assert_int_equal(uid, geteuid());
    pair_close(&p);
}

static void test_peer_uid_of_others(void **state)
{
    uint32_t uid = 77;
    int fds[2];

    (void)state;
    assert_true(http_peer_uid(-1, &uid) < 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_true(http_peer_uid(fds[0], &uid) < 0);
    close(fds[0]);
    close(fds[1]);
    fds[0] = listen_any(AF_INET);
    assert_true(http_peer_uid(fds[0], &uid) < 0); /* not connected */
    close(fds[0]);
    assert_int_equal(uid, 77);
}

/* One netlink socket serves many questions, whatever became of earlier ones. */
static void test_peer_uid_by_one_socket(void **state)
{
    int diag = http_diag_open();
    uint32_t uid;
    Pair p;

    (void)state;
    assert_true(diag >= 0);
    for (int i = 0; i < 50; i++) {
        assert_true(pair_open(&p, AF_INET));
        if (i % 3 == 0)
            p.client = close_fd(p.client);
        assert_int_equal(http_peer_uid_by(diag, p.accepted, &uid), i % 3 ? 0 : -ENOENT);
        pair_close(&p);
    }
    close(diag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listen_opens_twins),
        cmocka_unit_test(test_listen_bad_addresses),
        cmocka_unit_test(test_listen_says_who_holds),
        cmocka_unit_test(test_listen_dual_stack_holder),
        cmocka_unit_test(test_peer_uid),
        cmocka_unit_test(test_peer_uid_mapped),
        cmocka_unit_test(test_peer_uid_of_the_gone),
        cmocka_unit_test(test_peer_uid_of_others),
        cmocka_unit_test(test_peer_uid_by_one_socket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
