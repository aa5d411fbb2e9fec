/* Batches: order and ownership when they are moved, what is dropped when there is no room. */
#include "api/test-store.h"

#include <errno.h>

#include "api/store-batch.h"

static void add_checks(StoreBatch *b, int64_t from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        StoreCheck c = {.ts_ms = from + (int64_t)i, .handle = 7, .latency_us = -1};
        assert_int_equal(store_batch_add_check(b, &c), 0);
    }
}

/* Checks lie in time order and their number is what the batch says. */
static void assert_run(const StoreBatch *b, int64_t from, size_t n)
{
    size_t seen = 0;

    assert_int_equal(b->n_checks, n);
    for (const StoreChunk *c = b->chunks; c; c = c->next) {
        for (size_t i = 0; i < c->n; i++)
            assert_int_equal(c->checks[i].ts_ms, from + (int64_t)seen++);
        if (!c->next)
            assert_ptr_equal(b->last_chunk, c);
    }
    assert_int_equal(seen, n);
}

static void test_empty(void **state UNUSED)
{
    StoreBatch a = {0}, b = {0};

    assert_true(store_batch_is_empty(&a));
    store_batch_move(&a, &b);
    store_batch_merge_hours(&a);
    assert_int_equal(store_batch_drop_checks(&a, 0), 0);
    assert_int_equal(store_batch_drop_events(&a, 0), 0);
    assert_true(store_batch_is_empty(&a));
    store_batch_done(&a);
}

static void test_few_are_copied_many_handed_over(void **state UNUSED)
{
    StoreBatch open = {0}, waiting = {0};
    int64_t at = 0;

    for (int i = 0; i < 300; i++) {
        size_t n = (size_t)(i * 7 % 23);
        add_checks(&open, at, n);
        at += (int64_t)n;
        store_batch_move(&waiting, &open);
        assert_int_equal(open.n_checks, 0);
    }
    assert_run(&waiting, 0, (size_t)at);
    /* no more than one chunk in two is half empty */
    size_t chunks = 0;
    for (const StoreChunk *c = waiting.chunks; c; c = c->next)
        chunks++;
    assert_true(chunks <= 2 * ((size_t)at / STORE_CHUNK_CHECKS + 1));
    assert_int_equal(waiting.bytes, chunks * sizeof(StoreChunk));
    add_checks(&open, at, 5000);
    store_batch_move(&waiting, &open);
    assert_run(&waiting, 0, (size_t)at + 5000);
    assert_int_equal(open.bytes, 0);
    store_batch_done(&open);
    store_batch_done(&waiting);
}

static void test_take_is_bounded(void **state UNUSED)
{
    StoreBatch waiting = {0}, work = {0};

    add_checks(&waiting, 0, 10 * STORE_CHUNK_CHECKS + 3);
    store_batch_take(&work, &waiting, 2 * STORE_CHUNK_CHECKS);
    assert_run(&work, 0, 2 * STORE_CHUNK_CHECKS);
    assert_run(&waiting, 2 * STORE_CHUNK_CHECKS, 8 * STORE_CHUNK_CHECKS + 3);
    store_batch_done(&work);
    store_batch_take(&work, &waiting, 1);
    assert_run(&work, 2 * STORE_CHUNK_CHECKS, STORE_CHUNK_CHECKS);
    store_batch_done(&work);
    store_batch_done(&waiting);
}

static void test_oldest_checks_go(void **state UNUSED)
{
    StoreBatch b = {0};

    add_checks(&b, 0, 4 * STORE_CHUNK_CHECKS + 10);
    size_t dropped = store_batch_drop_checks(&b, 2 * sizeof(StoreChunk));
    assert_int_equal(dropped, 3 * STORE_CHUNK_CHECKS);
    assert_run(&b, 3 * STORE_CHUNK_CHECKS, STORE_CHUNK_CHECKS + 10);
    add_checks(&b, 4 * STORE_CHUNK_CHECKS + 10, 5);
    assert_run(&b, 3 * STORE_CHUNK_CHECKS, STORE_CHUNK_CHECKS + 15);
    assert_int_equal(store_batch_drop_checks(&b, 0), STORE_CHUNK_CHECKS + 15);
    assert_int_equal(b.bytes, 0);
    add_checks(&b, 1, 1);
    assert_run(&b, 1, 1);
    store_batch_done(&b);
}

static void test_events_own_their_text(void **state UNUSED)
{
    StoreBatch open = {0}, waiting = {0};
    char pc[] = "alpha", sentence[] = "exit code 1", evidence[] = "{\"a\":1}";
    StoreTransition t = {.id = 1, .pc_id = pc, .sentence = sentence, .evidence = evidence};

    assert_int_equal(store_batch_add_event(&open, &t), 0);
    memset(pc, 'x', 5);
    memset(sentence, 'x', 3);
    memset(evidence, 'x', 3);
    t = (StoreTransition){.id = 2, .handle = 4};
    assert_int_equal(store_batch_add_event(&open, &t), 0);
    size_t bytes = open.bytes;
    store_batch_move(&waiting, &open);
    assert_int_equal(open.bytes, 0);
    assert_int_equal(waiting.bytes, bytes);
    const StoreTransition *first = &waiting.events->t, *second = &waiting.events->next->t;
    assert_string_equal(first->pc_id, "alpha");
    assert_string_equal(first->sentence, "exit code 1");
    assert_string_equal(first->evidence, "{\"a\":1}");
    assert_null(second->pc_id);
    assert_null(second->evidence);
    assert_int_equal(store_batch_drop_events(&waiting, bytes - 1), 1);
    assert_int_equal(waiting.events->t.id, 2);
    assert_int_equal(waiting.n_events, 1);
    store_batch_done(&waiting);
    store_batch_done(&open);
}

static void test_sequence_goes_with_its_rows(void **state UNUSED)
{
    StoreBatch open = {0}, waiting = {0}, work = {0};
    StoreOutbox o = {.incident = {.id = 4}, .event = "opened"};

    assert_int_equal(store_batch_add_outbox(&open, &o, 1), 0);
    o.incident.id = 5;
    assert_int_equal(store_batch_add_outbox(&open, &o, 2), 0);
    assert_int_equal(store_batch_add_incident(&open, &o.incident), 0);
    store_batch_move(&waiting, &open);
    assert_int_equal(open.sequence, 0);
    assert_int_equal(waiting.sequence, 2);
    store_batch_take(&work, &waiting, 1); /* the incident and its rows are never parted */
    assert_int_equal(work.sequence, 2);
    assert_int_equal(work.n_events, 3);
    assert_int_equal(waiting.sequence, 0);
    assert_int_equal(work.events->kind, STORE_EVENT_OUTBOX);
    assert_int_equal(store_event_outbox(work.events)->incident.id, 4);
    assert_int_equal(store_event_outbox(work.events->next)->incident.id, 5);
    assert_int_equal(work.last_event->kind, STORE_EVENT_INCIDENT);
    store_batch_move(&work, &waiting);
    assert_int_equal(work.sequence, 2);
    store_batch_done(&work);
    assert_int_equal(work.sequence, 0);
}

static void test_long_evidence_is_left_out(void **state UNUSED)
{
    StoreBatch b = {0};
    char *text = malloc(STORE_EVIDENCE_MAX + 2);

    assert_non_null(text);
    memset(text, 'e', STORE_EVIDENCE_MAX + 1);
    text[STORE_EVIDENCE_MAX + 1] = '\0';
    StoreTransition t = {.id = 1, .pc_id = "p", .evidence = text};
    assert_int_equal(store_batch_add_event(&b, &t), 0);
    text[STORE_EVIDENCE_MAX] = '\0';
    t.id = 2;
    assert_int_equal(store_batch_add_event(&b, &t), 0);
    free(text);
    assert_null(b.events->t.evidence);
    assert_int_equal(strlen(b.events->next->t.evidence), STORE_EVIDENCE_MAX);
    store_batch_done(&b);
}

static void test_hours_add_up(void **state UNUSED)
{
    StoreBatch open = {0}, waiting = {0};

    for (uint32_t i = 0; i < 1000; i++) {
        StoreHour h = {
            .hour_ms = (i / 500) * 3600000, .handle = i % 5, .healthy_ms = 2, .observed_ms = 3};
        h.transitions = i == 7;
        assert_int_equal(store_batch_add_hour(&open, &h), 0);
        if (i % 10 == 0)
            store_batch_move(&waiting, &open);
    }
    store_batch_move(&waiting, &open);
    assert_int_equal(waiting.n_hours, 1000);
    store_batch_merge_hours(&waiting);
    assert_int_equal(waiting.n_hours, 10);
    assert_int_equal(waiting.bytes, 10 * sizeof(StoreHour));
    for (size_t i = 0; i < 10; i++) {
        const StoreHour *h = &waiting.hours[i];
        assert_int_equal(h->hour_ms, i < 5 ? 0 : 3600000);
        assert_int_equal(h->handle, i % 5);
        assert_int_equal(h->healthy_ms, 200);
        assert_int_equal(h->observed_ms, 300);
        assert_int_equal(h->transitions, i == 2);
    }
    store_batch_done(&waiting);
}

static void test_names_keep_their_order(void **state UNUSED)
{
    StoreBatch open = {0}, waiting = {0};
    char longest[ID_MAX + 1];

    memset(longest, 'a', ID_MAX);
    longest[ID_MAX] = '\0';
    assert_int_equal(store_batch_add_name(&open, 1, "one", "pc"), 0);
    store_batch_move(&waiting, &open);
    assert_int_equal(store_batch_add_name(&open, 2, longest, longest), 0);
    store_batch_move(&waiting, &open);
    assert_string_equal(waiting.names->app_id, "one");
    assert_string_equal(waiting.names->next->pc_id, longest);
    assert_null(waiting.names->next->next);
    assert_int_equal(waiting.bytes, 2 * sizeof(StoreName));
    store_batch_done(&waiting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_few_are_copied_many_handed_over),
        cmocka_unit_test(test_take_is_bounded),
        cmocka_unit_test(test_oldest_checks_go),
        cmocka_unit_test(test_events_own_their_text),
        cmocka_unit_test(test_sequence_goes_with_its_rows),
        cmocka_unit_test(test_long_evidence_is_left_out),
        cmocka_unit_test(test_hours_add_up),
        cmocka_unit_test(test_names_keep_their_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
