/* Each reusable widget in a small scene of its own, with nothing of the app around it: frames on a
 * headless platform, input injected, found again in the record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "basic/macro.h"
#include "monitor/platform.h"
#include "monitor/widgets.h"

#define ROWS 10000

static Platform *platform;

/* What a scene draws into, and what came of it. */
static struct {
    TableSort sort;
    ptrdiff_t hit;
    size_t cells, n_rows;
    int columns_seen; /* bits */
    bool pressed, focus;
    char text[32];
    float width;
} scene;

static void frame(void (*draw)(void))
{
    platform_wait(platform, 0);
    platform_frame(platform);
    gui_frame_begin();
    gui_shell_begin(theme->background);
    gui_set_cursor(gui_vec(0, 0));
    gui_region_begin("main", gui_vec(scene.width, gui_display().y), theme->background,
                     gui_vec(8, 8));
    draw();
    gui_region_end();
    gui_shell_end();
    gui_frame_end();
}

static void rest(void (*draw)(void))
{
    for (int i = 0; i < 4; i++)
        frame(draw);
}

static void press_key(GuiKey key, void (*draw)(void))
{
    gui_input_key(key, true);
    frame(draw);
    gui_input_key(key, false);
    rest(draw);
}

static void click(const char *id, void (*draw)(void))
{
    const GuiRecord *r = gui_record_find(id);

    assert_non_null(r);
    gui_input_mouse((r->rect.x0 + r->rect.x1) / 2, (r->rect.y0 + r->rect.y1) / 2);
    rest(draw);
    gui_input_button(0, true);
    frame(draw);
    gui_input_button(0, false);
    frame(draw);
    gui_input_mouse(-1, -1);
}

static int setup(void **state)
{
    (void)state;
    memset(&scene, 0, sizeof scene);
    scene.width = gui_display().x;
    scene.hit = -1;
    gui_nav_restart();
    return 0;
}

/* ---- data_table ---- */

static void table_cell(void *userdata, size_t row, int column)
{
    char text[32];

    (void)userdata;
    scene.cells++;
    scene.columns_seen |= 1 << column;
    snprintf(text, sizeof text, "r%zu c%d", row, column);
    gui_text_fit(theme->text, text);
}

static void table_id(void *userdata, size_t row, char *ret, size_t size)
{
    (void)userdata;
    snprintf(ret, size, "row/%zu", row);
}

static void draw_table(void)
{
    static const TableColumn columns[] = {
        {"Name", -1}, {"Number", 80, .descending = true}, {"Wide only", 120, .below = 700}};
    const DataTable t = {.id = "table",
                         .columns = columns,
                         .n_columns = ELEMENTS(columns),
                         .n_rows = scene.n_rows,
                         .sort = &scene.sort,
                         .focus = scene.focus,
                         .cell = table_cell,
                         .row_id = table_id};

    scene.focus = false;
    scene.cells = 0;
    ptrdiff_t hit = data_table(&t, gui_avail());
    if (hit >= 0)
        scene.hit = hit;
}

static void test_table_builds_what_is_seen(void **state)
{
    (void)state;
    scene.n_rows = ROWS;
    rest(draw_table);
    assert_true(scene.cells > 3 * 10);
    assert_true(scene.cells < 3 * 100);
    assert_non_null(gui_record_find("row/0"));
    assert_null(gui_record_find("row/9999"));
    assert_int_equal(scene.columns_seen, 7);
    scene.columns_seen = 0;
    scene.width = 500; /* narrow: a column that says so is left out */
    rest(draw_table);
    scene.columns_seen = 0;
    rest(draw_table);
    assert_int_equal(scene.columns_seen, 3);
    scene.n_rows = 0;
    rest(draw_table);
    assert_int_equal(scene.cells, 0);
}

static void test_table_header_is_frozen(void **state)
{
    (void)state;
    scene.n_rows = ROWS;
    rest(draw_table);
    gui_input_mouse(200, 300);
    rest(draw_table);
    gui_input_wheel(-50);
    rest(draw_table);
    gui_input_mouse(-1, -1);
    rest(draw_table);
    assert_null(gui_record_find("row/0")); /* scrolled away */
    click("column/0", draw_table);         /* and the header is still there to be clicked */
    assert_int_equal(scene.sort.column, 0);
}

static void test_table_keyboard(void **state)
{
    (void)state;
    scene.n_rows = ROWS;
    scene.focus = true;
    rest(draw_table);
    press_key(GUI_KEY_DOWN, draw_table);
    press_key(GUI_KEY_DOWN, draw_table);
    assert_int_equal(scene.hit, -1);
    press_key(GUI_KEY_ENTER, draw_table);
    assert_int_equal(scene.hit, 2);
    for (int i = 0; i < 60; i++) /* below the edge: the table scrolls along */
        press_key(GUI_KEY_DOWN, draw_table);
    press_key(GUI_KEY_ENTER, draw_table);
    assert_int_equal(scene.hit, 62);
}

static void test_table_sort_and_click(void **state)
{
    (void)state;
    scene.n_rows = 5;
    rest(draw_table);
    click("row/3", draw_table);
    assert_int_equal(scene.hit, 3);
    click("column/1", draw_table);
    rest(draw_table);
    assert_int_equal(scene.sort.column, 1);
    assert_true(scene.sort.descending); /* numbers: the big ones first */
    click("column/1", draw_table);
    rest(draw_table);
    assert_false(scene.sort.descending);
}

/* ---- badge ---- */

static void draw_badges(void)
{
    for (int s = 0; s < STATUS_MAX; s++) {
        badge((Status)s, view_status_word((Status)s));
        gui_space(4);
    }
}

static void test_badge(void **state)
{
    uint64_t hashes[2];

    (void)state;
    rest(draw_badges);
    for (int s = 0; s < STATUS_MAX; s++)
        assert_true(gui_record_has_text(view_status_word((Status)s)));
    assert_true(badge_width("Degraded") > badge_width("Off"));
    hashes[0] = gui_frame_hash();
    theme_set_stale(true); /* old: the same shapes without their hues */
    rest(draw_badges);
    hashes[1] = gui_frame_hash();
    theme_set_stale(false);
    assert_true(hashes[0] != hashes[1]);
    rest(draw_badges);
    assert_true(gui_frame_hash() == hashes[0]);
}

/* ---- empty_state ---- */

static void draw_empty(void)
{
    scene.pressed |=
        empty_state(ICON_CHECK, "All is well", "Nothing to do ## 100 %n", "Look anyway");
}

static void draw_empty_plain(void)
{
    scene.pressed |= empty_state(ICON_CHECK, "All is well", "Nothing to do", NULL);
}

static void test_empty_state(void **state)
{
    (void)state;
    rest(draw_empty);
    assert_true(gui_record_has_text("All is well"));
    assert_true(gui_record_has_text("Nothing to do ## 100 %n"));
    assert_false(scene.pressed);
    click("empty-action", draw_empty);
    assert_true(scene.pressed);
    scene.width = 200; /* too narrow for its words: cut, not outside */
    rest(draw_empty);
    rest(draw_empty_plain);
    assert_null(gui_record_find("empty-action"));
}

/* ---- filter_field ---- */

static void draw_filter(void)
{
    filter_field("filter", "Filter", scene.text, sizeof scene.text, 200, scene.focus);
    scene.focus = false;
}

static void test_filter_field(void **state)
{
    (void)state;
    scene.focus = true;
    rest(draw_filter);
    gui_input_text("a%n\xc3\xb1");
    rest(draw_filter);
    assert_string_equal(scene.text, "a%n\xc3\xb1");
    gui_input_text("0123456789012345678901234567890123456789"); /* no more than there is room for */
    rest(draw_filter);
    assert_true(strlen(scene.text) < sizeof scene.text);
}

int main(void)
{
    const PlatformOptions options = {.width = 1000, .height = 600, .scale = 1, .headless = true};
    GuiStyle style = theme_select(true);
    char error[256] = "";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_table_builds_what_is_seen, setup),
        cmocka_unit_test_setup(test_table_header_is_frozen, setup),
        cmocka_unit_test_setup(test_table_keyboard, setup),
        cmocka_unit_test_setup(test_table_sort_and_click, setup),
        cmocka_unit_test_setup(test_badge, setup),
        cmocka_unit_test_setup(test_empty_state, setup),
        cmocka_unit_test_setup(test_filter_field, setup),
    };

    if (platform_open(&options, &style, &platform, error, sizeof error) < 0) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    gui_record_enable(true);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    platform_close(platform);
    return failed;
}
