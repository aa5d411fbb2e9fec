/* Notices from the incident to servers that really listen. What counts is what arrived, by key.
 * Time that has to pass is added to the clock that notify_tick() is told. */
#include "api/test-notify-server.h"

#include <signal.h>

#include "api/notify.h"
#include "basic/clock.h"

#define S USEC_PER_SEC

/* ---- the daemon's part ---- */

typedef struct World {
    Scratch scratch;
    Config *config;
    Nest *nest;
    Store *store;
    Notify *notify;
} World;

static int set_up(void **state)
{
    World *w = calloc(1, sizeof *w);
    void *scratch = NULL;

    if (!w || scratch_setup(&scratch) < 0)
        return -1;
    w->scratch = *(Scratch *)scratch;
    free(scratch);
    *state = w;
    return config_default(&w->config);
}

static void end_life(World *w)
{
    w->notify = notify_free(w->notify);
    w->store = store_close(w->store);
    w->nest = nest_free(w->nest);
}

static int tear_down(void **state)
{
    World *w = *state;
    Scratch *scratch = malloc(sizeof *scratch);
    void *gone = scratch;

    end_life(w);
    config_free(w->config);
    if (scratch)
        *scratch = w->scratch;
    free(w);
    return scratch ? scratch_teardown(&gone) : -1;
}

static void resolve_none(const char *name, ResolveAnswer *ret)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    *ret = (ResolveAnswer){.error = strcmp(name, "nowhere.example") == 0 ? -ENOENT : 0, .n = 1};
    memcpy(&ret->addresses[0], &a, sizeof a);
}

/* open: an incident that an earlier life left open; 0: none. */
static void begin_life(World *w, int64_t open)
{
    char note[512];

    assert_int_equal(nest_new(&w->nest), 0);
    assert_int_equal(store_open(w->scratch.path, 7, 730, note, sizeof note, &w->store), 0);
    assert_int_equal(
        notify_new(w->nest, w->config, w->store, resolve_none, clock_now(), &w->notify), 0);
    if (open)
        notify_was_open(w->notify, open, false);
    notify_recall(w->notify, w->scratch.path, clock_now());
}

PRINTF(2, 3) static void set_url(char **url, const char *format, ...)
{
    char text[128];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    free(*url);
    *url = strdup(text);
}

static void tell_held(World *w, int64_t id, const char *kind, const char *state, bool held)
{
    Now now = clock_now();
    StoreIncident i = {.id = id, .began_ms = now.wall_ms, .cause = CAUSE_SIGNAL, .held = held};

    strcpy(i.kind, kind);
    strcpy(i.state, state);
    strcpy(i.app_id, strcmp(kind, "service") == 0 ? "web" : "");
    strcpy(i.pc_id, "alpha");
    strcpy(i.sentence, "killed by SIGKILL \xe2\x80\x94 twice");
    notify_incident(w->notify, &i, now);
    store_add_incident(w->store, &i);
    store_commit(w->store);
}

static void tell(World *w, int64_t id, const char *kind, const char *state)
{
    tell_held(w, id, kind, state, false);
}

/* One round of the loop, `skew_us` in the future. */
static void turn(World *w, uint64_t skew_us)
{
    struct pollfd p = {.fd = nest_fd(w->nest), .events = POLLIN};

    poll(&p, 1, 10);
    nest_dispatch(w->nest);
    Now now = clock_now();
    notify_run(w->notify, now);
    now.mono_us += skew_us;
    notify_tick(w->notify, now);
    store_commit(w->store);
}

/* Until nothing waits, or so many requests have come. */
static void spin_until_sent(World *w, uint64_t skew_us)
{
    for (int i = 0; i < 2000 && notify_waiting(w->notify); i++)
        turn(w, skew_us);
    assert_int_equal(notify_waiting(w->notify), 0);
}

static void spin_until(World *w, Server *s, size_t n, uint64_t skew_us)
{
    for (int i = 0; i < 2000 && count(s) < n; i++)
        turn(w, skew_us);
    assert_int_equal(count(s), n);
}

static void spin(World *w, int turns, uint64_t skew_us)
{
    while (turns-- > 0)
        turn(w, skew_us);
}

static const char *outbox(World *w)
{
    assert_int_equal(store_flush(w->store, 10000), 0);
    return file_text(
        w->scratch.path,
        "SELECT group_concat(incident || ' ' || event || ' ' || channel || ' ' || state,"
        " ', ') FROM (SELECT * FROM outbox ORDER BY incident, event, channel)");
}

static void assert_has(Server *s, size_t at, const char *part)
{
    assert_true(at < count(s));
    if (!strstr(s->requests[at], part))
        fail_msg("\"%s\" is not in: %s", part, s->requests[at]);
}

/* ---- what is told ---- */

static void test_off_by_default(void **state)
{
    World *w = *state;

    begin_life(w, 0);
    tell(w, 1, "service", "open");
    tell(w, 1, "service", "closed");
    assert_int_equal(notify_waiting(w->notify), 0);
    assert_int_equal(notify_next_us(w->notify), UINT64_MAX);
    assert_string_equal(outbox(w), "NULL");
}

/* Under a silence, and after it: not lost, not doubled, over a restart too. */
static void test_held(void **state)
{
    World *w = *state;
    Server *hook = server_start(false, 0), *beats = server_start(false, 0);

    set_url(&w->config->notify_webhook_url, "http://127.0.0.1:%u/hook", hook->port);
    set_url(&w->config->notify_heartbeat_url, "http://127.0.0.1:%u/beat", beats->port);
    w->config->notify_heartbeat_s = 60;
    begin_life(w, 0);
    tell_held(w, 7, "service", "open", true);
    tell_held(w, 8, "service", "open", true);
    tell_held(w, 9, "reboot", "closed", true);
    assert_int_equal(notify_waiting(w->notify), 0);
    spin_until(w, beats, 1,
               61 * USEC_PER_SEC); /* nobody was told, so nobody is called by its lack */
    tell_held(w, 8, "service", "closed", true);
    assert_int_equal(notify_waiting(w->notify), 0);
    tell_held(w, 7, "service", "open", false);
    tell_held(w, 7, "service", "open", false);
    spin_until_sent(w, 0);
    assert_int_equal(count(hook), 1);
    assert_has(hook, 0, "Idempotency-Key: 7-opened\r\n");
    tell_held(w, 7, "service", "closed", false);
    spin_until_sent(w, 0);
    assert_int_equal(count(hook), 2);
    assert_string_equal(outbox(w), "7 opened webhook sent, 7 recovered webhook sent");
    /* held when the daemon ended */
    tell_held(w, 10, "service", "open", true);
    end_life(w);
    begin_life(w, 0);
    notify_was_open(w->notify, 10, true);
    tell_held(w, 10, "service", "open", true);
    assert_int_equal(notify_waiting(w->notify), 0);
    tell_held(w, 10, "service", "open", false);
    spin_until_sent(w, 0);
    assert_int_equal(count(hook), 3);
    assert_has(hook, 2, "Idempotency-Key: 10-opened\r\n");
    server_stop(hook);
    server_stop(beats);
}

static void test_each_once(void **state)
{
    World *w = *state;
    Server *hook = server_start(false, 0), *ntfy = server_start(false, 0);

    set_url(&w->config->notify_webhook_url, "http://127.0.0.1:%u/hook/SECRET", hook->port);
    set_url(&w->config->notify_ntfy_url, "http://localhost.example:%u/topic", ntfy->port);
    begin_life(w, 0);
    tell(w, 7, "service", "pending");
    tell(w, 8, "service", "pending");
    tell(w, 8, "service", "dropped"); /* nobody was to know */
    tell(w, 7, "service", "open");
    tell(w, 7, "service", "open"); /* another sentence, say */
    spin_until_sent(w, 0);
    tell(w, 7, "service", "closed");
    tell(w, 9, "reboot", "closed");
    spin_until_sent(w, 0);
    assert_int_equal(count(hook), 3);
    assert_int_equal(count(ntfy), 3);
    assert_has(hook, 0, "POST /hook/SECRET HTTP/1.1\r\n");
    assert_has(hook, 0, "\r\nIdempotency-Key: 7-opened\r\n");
    assert_has(hook, 0, "\r\nContent-Type: application/json\r\n");
    assert_has(hook, 0, "\"text\":\"web on alpha is down\"");
    assert_has(hook, 1, "Idempotency-Key: 7-recovered\r\n");
    assert_has(hook, 2, "Idempotency-Key: 9-opened\r\n");
    assert_has(ntfy, 0, "\r\nTitle: web on alpha is down\r\n");
    assert_has(ntfy, 0, "\r\nPriority: high\r\n");
    assert_has(ntfy, 0, "\r\nTags: rotating_light\r\n");
    assert_has(ntfy, 0, "killed by SIGKILL \xe2\x80\x94 twice\n");
    assert_has(ntfy, 1, "\r\nTags: white_check_mark\r\n");
    assert_string_equal(outbox(w),
                        "7 opened ntfy sent, 7 opened webhook sent, 7 recovered ntfy sent,"
                        " 7 recovered webhook sent, 9 opened ntfy sent, 9 opened webhook sent");
    server_stop(hook);
    server_stop(ntfy);
}

/* A config that was read again: a way that is new gets what begins from now on, one that is gone
 * gets nothing more, and one whose address was wrong is tried at once. */
static void test_configure(void **state)
{
    World *w = *state;
    Server *hook = server_start(false, 0), *ntfy = server_start(false, 0);
    Config *other = NULL;

    assert_int_equal(config_default(&other), 0);
    set_url(&other->notify_webhook_url, "http://127.0.0.1:%u/hook", hook->port);
    begin_life(w, 0);
    tell(w, 1, "service", "open"); /* nobody is to know */
    assert_int_equal(notify_configure(w->notify, other, clock_now()), 0);
    tell(w, 1, "service", "closed");
    tell(w, 2, "service", "open");
    spin_until_sent(w, 0);
    assert_int_equal(count(hook), 1);
    assert_has(hook, 0, "Idempotency-Key: 2-opened\r\n");
    /* held back for a while, and for hours if nobody changed anything */
    behave(hook, REPLY, 503);
    tell(w, 3, "service", "open");
    spin_until(w, hook, 2, 0);
    spin(w, 20, 0);
    set_url(&w->config->notify_webhook_url, "http://127.0.0.1:%u/other", ntfy->port);
    assert_int_equal(notify_configure(w->notify, w->config, clock_now()), 0);
    spin_until_sent(w, 0);
    assert_int_equal(count(hook), 2);
    assert_has(ntfy, 0, "POST /other HTTP/1.1\r\n");
    assert_has(ntfy, 0, "Idempotency-Key: 3-opened\r\n");
    /* and off again: what waits is given up */
    behave(ntfy, REPLY, 503);
    tell(w, 3, "service", "closed");
    spin_until(w, ntfy, 2, 0);
    spin(w, 20, 0);
    free(w->config->notify_webhook_url);
    w->config->notify_webhook_url = NULL;
    assert_int_equal(notify_configure(w->notify, w->config, clock_now()), 0);
    assert_int_equal(notify_waiting(w->notify), 0);
    tell(w, 4, "service", "open");
    spin(w, 5, 0);
    assert_string_equal(outbox(w), "2 opened webhook sent, 3 opened webhook sent,"
                                   " 3 recovered webhook dropped");
    config_free(other);
    server_stop(hook);
    server_stop(ntfy);
}

static void test_only_what_is_on_disk(void **state)
{
    World *w = *state;
    Server *s = server_start(false, 0);

    set_url(&w->config->notify_webhook_url, "http://127.0.0.1:%u/", s->port);
    begin_life(w, 0);
    store_set_delay_ms(w->store, 600000);
    tell(w, 1, "service", "open");
    spin(w, 30, 9 * S);
    assert_int_equal(count(s), 0);
    store_set_delay_ms(w->store, 0);
    spin_until_sent(w, 0);
    assert_int_equal(count(s), 1);
    server_stop(s);
}

static void test_stuck_disk(void **state)
{
    World *w = *state;
    Server *s = server_start(false, 0);

    set_url(&w->config->notify_webhook_url, "http://127.0.0.1:%u/", s->port);
    begin_life(w, 0);
    store_set_delay_ms(w->store, 600000);
    tell(w, 1, "service", "open");
    spin_until_sent(w, 11 * S);
    assert_int_equal(count(s), 1);
    assert_has(s, 0, "Idempotency-Key: 1-opened\r\n");
    store_set_delay_ms(w->store, 0);
    assert_string_equal(outbox(w), "1 opened webhook sent");
    end_life(w);
    begin_life(w, 1);
    spin(w, 20, 12 * S);
    assert_int_equal(count(s), 1);
    server_stop(s);
}

/* ---- servers that fail ---- */

static void test_down_then_up_over_restarts(void **state)
{
    World *w = *state;
    uint16_t port = server_stop(server_start(false, 0));

    set_url(&w->config->notify_webhook_url, "http://127.0.0.1:%u/", port);
    begin_life(w, 0);
    for (int64_t id = 1; id <= 5; id++)
        tell(w, id, "service", "open");
    spin(w, 20, 0);
    assert_int_equal(notify_waiting(w->notify), 5);
    end_life(w);
    begin_life(w, 3);
    tell(w, 3, "service", "closed");
    spin(w, 20, 0);
    assert_int_equal(notify_waiting(w->notify), 6);
    end_life(w);
    Server *s = server_start(false, port);
    begin_life(w, 0);
    spin_until_sent(w, 0);
    assert_int_equal(count(s), 6);
    for (int64_t id = 1; id <= 5; id++) {
        char key[64];
        snprintf(key, sizeof key, "Idempotency-Key: %d-opened\r\n", (int)id);
        assert_has(s, (size_t)id - 1, key);
    }
    assert_has(s, 5, "Idempotency-Key: 3-recovered\r\n");
    end_life(w);
    begin_life(w, 0);
    spin(w, 20, 12 * S);
    assert_int_equal(count(s), 6);
    server_stop(s);
}

static void test_lost_reply_is_sent_again_under_its_key(void **state)
{
    World *w = *state;
    Server *s = server_start(false, 0);

    set_url(&w->config->notify_webhook_url, "http://127.0.0.1:%u/", s->port);
    begin_life(w, 0);
    behave(s, SILENT, 0);
    tell(w, 4, "service", "open");
    spin_until(w, s, 1, 0);
    spin(w, 20, 0);
    assert_int_equal(count(s), 1); /* the wait is not over */
    behave(s, REPLY, 204);
    spin_until_sent(w, 6 * S);
    assert_int_equal(count(s), 2);
    assert_has(s, 0, "Idempotency-Key: 4-opened\r\n");
    assert_has(s, 1, "Idempotency-Key: 4-opened\r\n");
    server_stop(s);
}

static void test_refused_one_blocks_no_other(void **state)
{
    World *w = *state;
    Server *s = server_start(false, 0);

    set_url(&w->config->notify_webhook_url, "http://127.0.0.1:%u/", s->port);
    s->bad_once = 1;
    begin_life(w, 0);
    tell(w, 1, "service", "open");
    spin_until(w, s, 1, 0);
    tell(w, 1, "service", "closed");
    tell(w, 2, "service", "open");
    spin_until(w, s, 2, 0);
    spin(w, 20, 0);
    assert_int_equal(count(s), 2);
    assert_has(s, 1, "Idempotency-Key: 2-opened\r\n");
    spin_until_sent(w, 6 * S);
    assert_has(s, 2, "Idempotency-Key: 1-opened\r\n");
    assert_has(s, 3, "Idempotency-Key: 1-recovered\r\n");
    server_stop(s);
}

static void test_odd_replies(void **state)
{
    World *w = *state;
    Server *s = server_start(false, 0);

    set_url(&w->config->notify_webhook_url, "http://127.0.0.1:%u/", s->port);
    begin_life(w, 0);
    behave(s, REPLY, 302); /* a redirect is not followed */
    tell(w, 1, "service", "open");
    spin_until(w, s, 1, 0);
    spin(w, 20, 0);
    assert_int_equal(count(s), 1);
    behave(s, NONSENSE, 0);
    tell(w, 2, "service", "open");
    spin_until(w, s, 2, 0);
    spin(w, 20, 0);
    assert_int_equal(notify_waiting(w->notify), 2);
    behave(s, FLOOD, 200); /* the status counts, the rest is cut */
    spin_until_sent(w, 6 * S);
    assert_int_equal(count(s), 4);
    server_stop(s);
}

static void test_no_such_host(void **state)
{
    World *w = *state;

    set_url(&w->config->notify_webhook_url, "http://nowhere.example:%u/", 9);
    begin_life(w, 0);
    tell(w, 1, "service", "open");
    spin(w, 50, 0);
    spin(w, 20, 6 * S);
    assert_int_equal(notify_waiting(w->notify), 1);
}

/* ---- bounds ---- */

static void test_recovery_needs_an_opening(void **state)
{
    World *w = *state;
    Server *s = server_start(false, 0);

    set_url(&w->config->notify_webhook_url, "http://127.0.0.1:%u/", s->port);
    begin_life(w, 5);
    tell(w, 5, "service", "open"); /* was open before there was a webhook */
    tell(w, 5, "service", "closed");
    tell(w, 6, "service", "closed");
    assert_int_equal(notify_waiting(w->notify), 0);
    tell(w, 7, "pc", "open");
    spin_until_sent(w, 0);
    end_life(w);
    begin_life(w, 7);
    tell(w, 7, "pc", "closed");
    spin_until_sent(w, 0);
    assert_int_equal(count(s), 2);
    assert_has(s, 1, "Idempotency-Key: 7-recovered\r\n");
    server_stop(s);
}

static void test_waiting_is_bounded(void **state)
{
    World *w = *state;

    set_url(&w->config->notify_webhook_url, "http://127.0.0.1:%u/", 9);
    begin_life(w, 0);
    for (int64_t id = 1; id <= 1200; id++)
        tell(w, id, "service", "open");
    assert_int_equal(notify_waiting(w->notify), NOTIFY_WAITING_MAX);
    assert_int_equal(store_flush(w->store, 10000), 0);
    assert_int_equal(file_int(w->scratch.path, "SELECT count(*) FROM outbox WHERE state = 'dropped'"
                                               " AND incident <= 200"),
                     200);
    end_life(w);
    begin_life(w, 0);
    assert_int_equal(notify_waiting(w->notify), NOTIFY_WAITING_MAX);
}

static void test_too_old_is_given_up(void **state)
{
    World *w = *state;
    int64_t now_ms = clock_now().wall_ms;
    StoreOutbox o = {.incident = {.id = 3, .kind = "service", .app_id = "web", .pc_id = "alpha"},
                     .event = "opened",
                     .channel = "webhook",
                     .state = "waiting",
                     .created_ms = now_ms - NOTIFY_LIFE_MS - 1};

    set_url(&w->config->notify_webhook_url, "http://127.0.0.1:%u/", 9);
    begin_life(w, 0);
    store_add_outbox(w->store, &o);
    o.incident.id = 4;
    o.created_ms = now_ms - NOTIFY_LIFE_MS + 3600000;
    store_add_outbox(w->store, &o);
    o.incident.id = 5;
    strcpy(o.channel, "ntfy"); /* is off */
    store_add_outbox(w->store, &o);
    o.incident.id = 6;
    strcpy(o.channel, "pigeon"); /* a person with an editor */
    store_add_outbox(w->store, &o);
    end_life(w);
    begin_life(w, 0);
    spin(w, 3, 0);
    assert_int_equal(notify_waiting(w->notify), 1);
    assert_string_equal(outbox(w), "3 opened webhook dropped, 4 opened webhook waiting,"
                                   " 5 opened ntfy dropped, 6 opened pigeon waiting");
}

/* ---- mail ---- */

static void configure_mail(World *w, unsigned port)
{
    set_url(&w->config->notify_smtp_url, "smtp://127.0.0.1:%u", port);
    w->config->notify_mail_from = strdup("me@example.org");
    w->config->notify_mail_to = strdup("you@example.org");
}

static void test_mail(void **state)
{
    World *w = *state;
    Server *s = server_start(true, 0);

    configure_mail(w, s->port);
    behave(s, REPLY, 550);
    begin_life(w, 0);
    tell(w, 1, "service", "open");
    spin(w, 50, 0);
    assert_int_equal(notify_waiting(w->notify), 1);
    behave(s, REPLY, 250);
    spin_until_sent(w, 12 * S);
    assert_int_equal(count(s), 1);
    assert_has(s, 0, "MAIL FROM:<me@example.org>");
    assert_has(s, 0, "RCPT TO:<you@example.org>\r\n");
    assert_has(s, 0, "\r\nSubject: =?UTF-8?B?d2ViIG9uIGFscGhh");
    assert_has(s, 0, "\r\nMessage-ID: <1-opened.services_api@example.org>\r\n");
    assert_has(s, 0, "\r\nContent-Transfer-Encoding: base64\r\n");
    assert_string_equal(outbox(w), "1 opened mail sent");
    server_stop(s);
}

static void configure_password(World *w, mode_t mode)
{
    char path[160];

    snprintf(path, sizeof path, "%s/password", w->scratch.folder);
    write_file(path, "open sesame\n", 12);
    chmod(path, mode);
    w->config->notify_smtp_user = strdup("me");
    w->config->notify_smtp_password_file = strdup(path);
}

/* Another PC by its name, without TLS: the password stays here. */
static void test_no_password_in_clear(void **state)
{
    World *w = *state;
    Server *s = server_start(true, 0);

    configure_mail(w, s->port);
    set_url(&w->config->notify_smtp_url, "smtp://mail.example:%u", s->port);
    configure_password(w, 0600);
    begin_life(w, 0);
    tell(w, 1, "service", "open");
    spin(w, 50, 0);
    spin(w, 50, 6 * S);
    assert_int_equal(notify_waiting(w->notify), 1);
    assert_int_equal(count(s), 0);
    assert_int_equal(s->auths, 0);
    server_stop(s);
}

static void test_mail_password(void **state)
{
    World *w = *state;
    Server *s = server_start(true, 0);

    configure_mail(w, s->port);
    configure_password(w, 0644);
    begin_life(w, 0);
    tell(w, 1, "service", "open");
    spin(w, 30, 0);
    assert_int_equal(notify_waiting(w->notify), 1); /* others can read it: not used */
    chmod(w->config->notify_smtp_password_file, 0600);
    spin_until_sent(w, 12 * S);
    assert_has(s, 0, "AUTH PLAIN"); /* "\0me\0open sesame" */
    assert_has(s, 0, "AG1lAG9wZW4gc2VzYW1l");
    server_stop(s);
}

static void test_half_configured_mail_is_off(void **state)
{
    World *w = *state;

    set_url(&w->config->notify_smtp_url, "smtp://127.0.0.1:%u", 9);
    begin_life(w, 0);
    tell(w, 1, "service", "open");
    assert_int_equal(notify_waiting(w->notify), 0);
}

/* ---- the heartbeat ---- */

static void test_heartbeat(void **state)
{
    World *w = *state;
    Server *s = server_start(false, 0);

    set_url(&w->config->notify_heartbeat_url, "http://127.0.0.1:%u/beat", s->port);
    w->config->notify_heartbeat_s = 10;
    begin_life(w, 0);
    spin(w, 10, 0);
    assert_int_equal(count(s), 0); /* a full period first */
    spin_until(w, s, 1, 11 * S);
    assert_has(s, 0, "GET /beat HTTP/1.1\r\n");
    spin(w, 20, 11 * S);
    assert_int_equal(count(s), 1);
    tell(w, 1, "service", "open");
    spin(w, 30, 22 * S);
    assert_int_equal(count(s), 1);
    tell(w, 1, "service", "closed");
    spin_until(w, s, 2, 33 * S);
    server_stop(s);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_off_by_default),
        IN_WORLD(test_each_once),
        IN_WORLD(test_held),
        IN_WORLD(test_configure),
        IN_WORLD(test_only_what_is_on_disk),
        IN_WORLD(test_stuck_disk),
        IN_WORLD(test_down_then_up_over_restarts),
        IN_WORLD(test_lost_reply_is_sent_again_under_its_key),
        IN_WORLD(test_refused_one_blocks_no_other),
        IN_WORLD(test_odd_replies),
        IN_WORLD(test_no_such_host),
        IN_WORLD(test_recovery_needs_an_opening),
        IN_WORLD(test_waiting_is_bounded),
        IN_WORLD(test_too_old_is_given_up),
        IN_WORLD(test_mail),
        IN_WORLD(test_mail_password),
        IN_WORLD(test_no_password_in_clear),
        IN_WORLD(test_half_configured_mail_is_off),
        IN_WORLD(test_heartbeat),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
