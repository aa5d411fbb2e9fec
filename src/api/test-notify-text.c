/* What notices say, and what nothing in them can do to a header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/notify-text.h"
#include "basic/macro.h"
#include "common/json.h"

static StoreOutbox notice(const char *kind, const char *event, const char *sentence)
{
    StoreOutbox o = {
        .created_ms = INT64_C(1728000315000),
        .incident = {.id = INT64_C(1811939328000000003),
                     .began_ms = INT64_C(1728000015000),
                     .opened_ms = INT64_C(1728000315000),
                     .cause = CAUSE_SIGNAL},
    };

    strcpy(o.event, event);
    strcpy(o.incident.kind, kind);
    strcpy(o.incident.state, strcmp(event, "opened") == 0 ? "open" : "closed");
    strcpy(o.incident.app_id, strcmp(kind, "service") == 0 ? "web" : "");
    strcpy(o.incident.pc_id, strcmp(kind, "all-pcs") == 0 ? "" : "alpha");
    snprintf(o.incident.sentence, sizeof o.incident.sentence, "%s", sentence);
    return o;
}

static void test_key(void **state UNUSED)
{
    StoreOutbox o = notice("service", "opened", "");
    char key[NOTIFY_KEY_SIZE];

    assert_string_equal(notify_key(&o, key), "1811939328000000003-opened");
    o.incident.id = INT64_MIN;
    strcpy(o.event, "recovered");
    assert_string_equal(notify_key(&o, key), "-9223372036854775808-recovered");
}

static void test_titles(void **state UNUSED)
{
    static const struct {
        const char *kind, *event, *title;
    } cases[] = {
        {"service", "opened", "web on alpha is down"},
        {"service", "recovered", "web on alpha is well again"},
        {"pc", "opened", "alpha cannot be watched"},
        {"pc", "recovered", "alpha is back"},
        {"all-pcs", "opened", "no other PC can be reached"},
        {"all-pcs", "recovered", "other PCs can be reached again"},
        {"reboot", "opened", "alpha was rebooted"},
        {"test", "test", "a test of the notifications"},
    };

    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        CLEANUP(buffer_done) Buffer b = BUFFER_INIT(NOTIFY_LINE_MAX);
        StoreOutbox o = notice(cases[i].kind, cases[i].event, "x");
        notify_title(&b, &o);
        assert_string_equal(buffer_cstr(&b), cases[i].title);
    }
}

static void test_webhook(void **state UNUSED)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(NOTIFY_PAYLOAD_MAX);
    StoreOutbox o = notice("service", "opened", "held by \"x\"\r\nX-Evil: 1 \xff\xc3\xa9");

    notify_webhook_json(&b, &o);
    CLEANUP(json_freep) Json *j = json_parse(b.data, b.len);
    assert_non_null(j);
    assert_string_equal(json_as_string(json_get(j, "key"), ""), "1811939328000000003-opened");
    assert_string_equal(json_as_string(json_get(j, "text"), ""), "web on alpha is down");
    const Json *i = json_get(j, "incident");
    assert_string_equal(json_as_string(json_get(i, "state"), ""), "open");
    assert_string_equal(json_as_string(json_get(i, "cause"), ""), "signal");
    assert_true(json_is_null(json_get(i, "closed_ts")));
    assert_non_null(strstr(json_as_string(json_get(i, "sentence"), ""), "held by \"x\""));
}

static void assert_value(const char *text, const char *expected)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(4096);

    notify_header_value(&b, text, "\r\n ");
    assert_string_equal(buffer_cstr(&b), expected);
}

static void test_header_values(void **state UNUSED)
{
    assert_value("", "");
    assert_value("web on alpha is down", "web on alpha is down");
    assert_value("caf\xc3\xa9", "=?UTF-8?B?Y2Fmw6k=?=");
    assert_value("a\r\nBcc: x@y", "a? Bcc: x@y");
    assert_value("a\nb", "a b");
    /* what looks like a word would be decoded, so it is one */
    assert_value("=?UTF-8?Q?x?=", "=?UTF-8?B?PT9VVEYtOD9RP3g/PQ==?=");
}

/* Long ones are cut between characters, and no line is longer than RFC 2047 allows. */
static void test_long_header(void **state UNUSED)
{
    CLEANUP(buffer_done) Buffer text = BUFFER_INIT(4096), b = BUFFER_INIT(8192);

    for (int i = 0; i < 200; i++)
        buffer_str(&text, i % 3 ? "\xe2\x82\xac" : "x");
    notify_header_value(&b, buffer_cstr(&text), "\r\n ");
    const char *line = buffer_cstr(&b);
    size_t lines = 0;
    while (line) {
        const char *end = strstr(line, "\r\n ");
        size_t len = end ? (size_t)(end - line) : strlen(line);
        assert_true(len <= 75);
        assert_memory_equal(line, "=?UTF-8?B?", 10);
        assert_memory_equal(line + len - 2, "?=", 2);
        line = end ? end + 3 : NULL;
        lines++;
    }
    assert_true(lines > 8);
}

static void test_mail(void **state UNUSED)
{
    CLEANUP(buffer_done) Buffer b = BUFFER_INIT(NOTIFY_PAYLOAD_MAX);
    StoreOutbox o = notice("service", "opened", "killed by SIGKILL");

    notify_mail(&b, &o, "me@example.org", "you@example.org");
    assert_string_equal(buffer_cstr(&b),
                        "From: services_api <me@example.org>\r\n"
                        "To: <you@example.org>\r\n"
                        "Subject: web on alpha is down: killed by SIGKILL\r\n"
                        "Date: Fri, 4 Oct 2024 00:05:15 +0000\r\n"
                        "Message-ID: <1811939328000000003-opened.services_api@example.org>\r\n"
                        "Auto-Submitted: auto-generated\r\n"
                        "MIME-Version: 1.0\r\n"
                        "Content-Type: text/plain; charset=utf-8\r\n"
                        "Content-Transfer-Encoding: 7bit\r\n"
                        "\r\n"
                        "killed by SIGKILL\r\n"
                        "Began: 2024-10-04 00:00:15 UTC\r\n"
                        "Incident: 1811939328000000003\r\n");
}

/* Whatever bytes a sentence holds: the head has the same headers, every line is short and ASCII,
 * and no \r or \n stands alone. */
static void test_hostile_sentences(void **state UNUSED)
{
    uint32_t seed = 12345;

    for (int round = 0; round < 2000; round++) {
        CLEANUP(buffer_done) Buffer b = BUFFER_INIT(NOTIFY_PAYLOAD_MAX);
        StoreOutbox o = notice("service", round % 2 ? "opened" : "recovered", "");
        for (size_t i = 0; i + 1 < sizeof o.incident.sentence; i++) {
            seed = seed * 1103515245 + 12345;
            unsigned char c = (unsigned char)(seed >> 16);
            o.incident.sentence[i] = (char)(c % 5 == 0 ? "\r\n:.="[c / 5 % 5] : c);
        }
        notify_mail(&b, &o, "me@example.org", "you@example.org");
        const char *s = buffer_cstr(&b);
        assert_int_equal(buffer_error(&b), 0);
        unsigned headers = 0;
        size_t column = 0;
        const char *body = strstr(s, "\r\n\r\n");
        assert_non_null(body);
        for (const char *p = s; *p; p++) {
            assert_true((*p & 0x80) == 0);
            assert_true(*p != '\n' || (p > s && p[-1] == '\r'));
            assert_true(*p != '\r' || p[1] == '\n');
            headers += column == 0 && p < body && *p != ' ' && *p != '\r';
            column = *p == '\n' ? 0 : column + 1;
            assert_true(column < 998);
        }
        assert_int_equal(headers, 9);
    }
}

static void test_backoff(void **state UNUSED)
{
    static const uint32_t expected[] = {5, 5, 10, 20, 40, 80, 160, 300, 300};

    for (unsigned i = 0; i < ELEMENTS(expected); i++)
        assert_int_equal(notify_backoff_s(i), expected[i]);
    assert_int_equal(notify_backoff_s(UINT32_MAX), 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_titles),
        cmocka_unit_test(test_webhook),
        cmocka_unit_test(test_header_values),
        cmocka_unit_test(test_long_header),
        cmocka_unit_test(test_mail),
        cmocka_unit_test(test_hostile_sentences),
        cmocka_unit_test(test_backoff),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
