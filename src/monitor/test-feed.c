/* The hand-over between threads: nobody answers, the feed says so, and nothing of it stays behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "basic/macro.h"
#include "monitor/feed.h"

static atomic_int wakes;

static void on_wake(void *userdata)
{
    (void)userdata;
    wakes++;
}

/* A port that is bound and never listens: each connection is refused. */
static int closed_port(char *ret_url, size_t size)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    snprintf(ret_url, size, "http://127.0.0.1:%u", ntohs(a.sin_port));
    return fd;
}

static Change *take_kind(Feed *f, ChangeKind kind)
{
    Change *found = NULL;

    for (int i = 0; i < 1000 && !found; i++) {
        for (Change *c = feed_take(f), *next; c; c = next) {
            next = c->next;
            if (c->kind == kind && !found && (kind != CHANGE_STATE || c->state == CLIENT_LOST))
                found = c;
            else
                change_free(c);
        }
        if (!found)
            poll(NULL, 0, 10);
    }
    assert_non_null(found);
    return found;
}

static int no_token(void *userdata, char ret[static CLIENT_TOKEN_BYTES], char *error, size_t size)
{
    (void)ret;
    ++*(int *)userdata;
    snprintf(error, size, "no token to be had");
    return -EREMOTEIO;
}

static void test_nobody_answers(void **state)
{
    char url[64];
    CLEANUP_CLOSE int fd = closed_port(url, sizeof url);
    Feed *f;

    (void)state;
    assert_int_equal(feed_new(url, on_wake, NULL, &f), 0);
    Change *lost = take_kind(f, CHANGE_STATE);
    assert_true(strlen(lost->text) > 0);
    change_free(lost);
    assert_int_equal(feed_want_detail(f, "api", "p1"), 0);
    Change *detail = take_kind(f, CHANGE_DETAIL);
    assert_int_equal(detail->detail->state, DETAIL_FAILED);
    assert_true(strlen(detail->detail->error) > 0);
    assert_string_equal(detail->detail->app_id, "api");
    change_free(detail);
    assert_int_equal(feed_want_check(f, "api", "p1"), 0);
    Change *answer = take_kind(f, CHANGE_ANSWER);
    assert_true(answer->failed);
    change_free(answer);
    const Pair pair = {.app_id = "api"};
    assert_int_equal(feed_want_silence(f, "silence", &pair, 3600, "new disk"), 0);
    answer = take_kind(f, CHANGE_ANSWER);
    assert_true(answer->failed);
    change_free(answer);
    assert_int_equal(feed_want_ack(f, "12", "on it"), 0);
    answer = take_kind(f, CHANGE_ANSWER);
    assert_true(answer->failed);
    change_free(answer);
    int asked = 0;
    feed_token_from(f, no_token, &asked);
    assert_int_equal(feed_want_action(f, "api", "p1", "restart"), 0);
    answer = take_kind(f, CHANGE_ANSWER);
    assert_true(answer->failed);
    assert_string_equal(answer->text, "no token to be had");
    change_free(answer);
    assert_int_equal(feed_want_check(f, "api", "p1"), 0);
    answer = take_kind(f, CHANGE_ANSWER);
    assert_string_not_equal(answer->text, "no token to be had");
    assert_int_equal(asked, 1); /* for actions alone */
    change_free(answer);
    assert_int_equal(feed_want_history(f), 0);
    change_free(take_kind(f, CHANGE_HISTORY));
    assert_true(wakes > 0);
    assert_null(feed_free(f));
    assert_null(feed_free(NULL));
}

/* A daemon that accepts and is silent: jobs wait, too many are refused, and the end does not wait
 * for them. */
static void test_jobs_are_bounded(void **state)
{
    char url[64], app[16];
    CLEANUP_CLOSE int fd = closed_port(url, sizeof url);
    Feed *f;
    int r = 0, taken = 0;

    (void)state;
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(feed_new(url, on_wake, NULL, &f), 0);
    for (int i = 0; i < FEED_JOBS_MAX * 3 && r == 0; i++, taken += r == 0) {
        snprintf(app, sizeof app, "a%d", i);
        r = feed_want_detail(f, app, "p");
    }
    assert_int_equal(r, -EBUSY);
    assert_true(taken >= FEED_JOBS_MAX && taken <= FEED_JOBS_MAX + 2);
    assert_true(feed_is_busy(f));
    close(fd);
    fd = -1;
    feed_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nobody_answers),
                                       cmocka_unit_test(test_jobs_are_bounded)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
