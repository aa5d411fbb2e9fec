/* Scripted runs: the same App, the same frames, with input injected where a window system would
 * bring it.
 *
 * Items are found in the record of the last frame, so a script never knows a coordinate. Waiting
 * builds a frame per 20 ms until the expectation holds. A failed line is reported with file and
 * number, and the run goes on: one run shows all. From standard input the lines may come one by
 * one, so that who writes them can act in between: `say` tells when everything before it is done.
 */
#include "monitor/script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "basic/clock.h"
#include "basic/log.h"
#include "basic/macro.h"
#include "basic/text.h"

#define WAIT_MS        20000
#define STEP_MS        20
#define REST           4 /* frames after which the picture is at rest */
#define LINE_MAX_BYTES 512

typedef struct Script {
    App *a;
    const char *file;
    int line, failures;
} Script;

static void rest(App *a)
{
    app_settle(a, REST);
}

static void pause_ms(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};

    nanosleep(&t, NULL);
}

/* ---- expectations ---- */

static bool has_item(const char *text)
{
    return gui_record_find(text) != NULL;
}

static bool has_title(const char *text)
{
    const GuiRecord *r = gui_record_find("title");

    return r && strcmp(r->text, text) == 0;
}

/* "ID TEXT": the item is there and says exactly that. */
static bool item_says(const char *text)
{
    char id[LINE_MAX_BYTES];
    const char *says = strchr(text, ' ');

    if (!says)
        return false;
    snprintf(id, sizeof id, "%.*s", (int)(says - text), text);
    const GuiRecord *r = gui_record_find(id);
    return r && strcmp(r->text, says + 1) == 0;
}

typedef struct Expectation {
    const char *word;
    bool (*holds)(const char *text);
    bool wanted, waits;
} Expectation;

static const Expectation expectations[] = {
    {"expect", has_item, true, false},
    {"expect-no", has_item, false, false},
    {"expect-text", gui_record_has_text, true, false},
    {"expect-no-text", gui_record_has_text, false, false},
    {"expect-item", item_says, true, false},
    {"title", has_title, true, false},
    {"wait", has_item, true, true},
    {"wait-no", has_item, false, true},
    {"wait-text", gui_record_has_text, true, true},
    {"wait-no-text", gui_record_has_text, false, true},
    {"wait-item", item_says, true, true},
    {"wait-title", has_title, true, true},
};

static bool expectation_check(Script *s, const Expectation *e, const char *text)
{
    int64_t end = clock_now().wall_ms + WAIT_MS;

    rest(s->a);
    while (e->holds(text) != e->wanted) {
        if (!e->waits || clock_now().wall_ms > end)
            return false;
        pause_ms(STEP_MS);
        app_settle(s->a, 2);
    }
    return true;
}

/* ---- commands ---- */

static bool number(const char *text, double low, double high, double *ret)
{
    char *end;
    double n = strtod(text, &end);

    if (end == text || *end || !(n >= low && n <= high))
        return false;
    *ret = n;
    return true;
}

static bool point_at(Script *s, const char *id)
{
    const GuiRecord *r = gui_record_find(id);

    if (!r)
        return false;
    gui_input_mouse((r->rect.x0 + r->rect.x1) / 2, (r->rect.y0 + r->rect.y1) / 2);
    app_settle(s->a, 2);
    return true;
}

static bool do_hover(Script *s, const char *text)
{
    return point_at(s, text);
}

static bool do_click(Script *s, const char *text)
{
    if (!point_at(s, text))
        return false;
    gui_input_button(0, true);
    app_settle(s->a, 1);
    gui_input_button(0, false);
    rest(s->a);
    gui_input_mouse(-1, -1);
    rest(s->a);
    return true;
}

static bool do_type(Script *s, const char *text)
{
    gui_input_text(text);
    rest(s->a);
    return true;
}

static bool do_key(Script *s, const char *text)
{
    static const char *const names[GUI_KEY_MAX] = {"tab",   "left",   "right",     "up",    "down",
                                                   "enter", "escape", "backspace", "space", "home",
                                                   "end",   "pageup", "pagedown",  "delete"};

    if (strncmp(text, "ctrl+", 5) == 0 && text[5] >= 'a' && text[5] <= 'z' && !text[6]) {
        gui_input_chord(text[5]);
        rest(s->a);
        return true;
    }
    for (int i = 0; i < GUI_KEY_MAX; i++)
        if (strcmp(text, names[i]) == 0) {
            gui_input_key((GuiKey)i, true);
            app_settle(s->a, 1);
            gui_input_key((GuiKey)i, false);
            rest(s->a);
            return true;
        }
    return false;
}

static bool do_wheel(Script *s, const char *text)
{
    double steps;

    if (!number(text, -1000, 1000, &steps))
        return false;
    gui_input_wheel((float)steps);
    rest(s->a);
    return true;
}

static bool do_go(Script *s, const char *text)
{
    Place place;

    if (!place_parse(text, &place))
        return false;
    app_go(s->a, &place);
    rest(s->a);
    return true;
}

static bool do_theme(Script *s, const char *text)
{
    s->a->settings.dark = strcmp(text, "light") != 0;
    rest(s->a);
    return true;
}

static bool do_lang(Script *s, const char *text)
{
    text_copy(s->a->settings.language, sizeof s->a->settings.language, text);
    rest(s->a);
    return true;
}

static bool do_scale(Script *s, const char *text)
{
    double scale;

    if (!number(text, 0.75, 3, &scale))
        return false;
    s->a->settings.scale = (float)scale;
    rest(s->a);
    return true;
}

static bool do_frames(Script *s, const char *text)
{
    double frames;

    if (!number(text, 0, 100000, &frames))
        return false;
    app_settle(s->a, (int)frames);
    return true;
}

static bool frames_for(Script *s, const char *text)
{
    double ms;

    if (!number(text, 0, 600000, &ms))
        return false;
    for (int64_t end = clock_now().wall_ms + (int64_t)ms; clock_now().wall_ms < end;) {
        pause_ms(STEP_MS);
        app_settle(s->a, 1);
    }
    return true;
}

static bool do_shot(Script *s, const char *text)
{
    rest(s->a);
    app_frame(s->a, true);
    int r = platform_screenshot(s->a->platform, text);
    if (r < 0)
        log_error("%s: %s", text, strerror(-r));
    return r == 0;
}

static bool do_clipboard(Script *s, const char *text)
{
    (void)s;
    return strstr(gui_clipboard_text(), text) != NULL;
}

static bool do_idle(Script *s, const char *text)
{
    rest(s->a);
    uint64_t presents = s->a->presents;
    return frames_for(s, text) && s->a->presents == presents;
}

/* CPU time of this thread alone: other programs do not count. */
static int64_t thread_cpu_us(void)
{
    struct rusage u;

    if (getrusage(RUSAGE_THREAD, &u) < 0)
        return 0;
    return (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
}

/* The mean time that building a frame takes, without drawing it. */
static bool do_bench(Script *s, const char *text)
{
    double frames;

    if (!number(text, 1, 100000, &frames))
        return false;
    rest(s->a);
    gui_record_enable(false);
    int64_t start = thread_cpu_us();
    app_settle(s->a, (int)frames);
    printf("frame %.3f ms\n", (double)(thread_cpu_us() - start) / 1000 / frames);
    gui_record_enable(true);
    rest(s->a);
    return true;
}

static bool do_say(Script *s, const char *text)
{
    printf("%s: %d failed\n", text, s->failures);
    return fflush(stdout) == 0;
}

static const struct {
    const char *word;
    bool (*run)(Script *s, const char *text);
} commands[] = {
    {"click", do_click},         {"hover", do_hover},   {"type", do_type},     {"key", do_key},
    {"wheel", do_wheel},         {"go", do_go},         {"theme", do_theme},   {"lang", do_lang},
    {"scale", do_scale},         {"frames", do_frames}, {"sleep", frames_for}, {"shot", do_shot},
    {"clipboard", do_clipboard}, {"idle", do_idle},     {"bench", do_bench},   {"say", do_say},
};

static bool line_run(Script *s, const char *word, const char *text)
{
    for (size_t i = 0; i < ELEMENTS(expectations); i++)
        if (strcmp(word, expectations[i].word) == 0)
            return expectation_check(s, &expectations[i], text);
    for (size_t i = 0; i < ELEMENTS(commands); i++)
        if (strcmp(word, commands[i].word) == 0)
            return commands[i].run(s, text);
    log_error("%s:%d: no such command: %s", s->file, s->line, word);
    return false;
}

static void what_is_there(void)
{
    const GuiRecord *title = gui_record_find("title");

    log_info("  the title is \"%s\"; %d items are on the screen", title ? title->text : "",
             gui_record_count());
    for (int i = 0; getenv("SCRIPT_VERBOSE") && i < gui_record_count(); i++)
        if (gui_record_at(i)->visible)
            log_info("  item %s: %s", gui_record_at(i)->id, gui_record_at(i)->text);
}

int script_run(App *a, const char *file)
{
    Script s = {.a = a, .file = file};
    char line[LINE_MAX_BYTES];
    FILE *f = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");

    if (!f) {
        log_error("%s: %s", file, strerror(errno));
        return 1;
    }
    rest(a);
    while (fgets(line, sizeof line, f)) {
        s.line++;
        line[strcspn(line, "\n")] = '\0';
        char *text = strchr(line, ' ');
        if (line[0] == '\0' || line[0] == '#')
            continue;
        if (text)
            *text++ = '\0';
        if (!line_run(&s, line, text ? text : "")) {
            log_error("%s:%d: failed: %s %s", file, s.line, line, text ? text : "");
            what_is_there();
            s.failures++;
        }
    }
    if (f != stdin)
        fclose(f);
    printf("%s: %d lines, %d failed\n", file, s.line, s.failures);
    return s.failures != 0;
}

int screenshot_take(App *a, const char *file, int timeout_ms)
{
    int64_t end = clock_now().wall_ms + timeout_ms;

    do {
        if (clock_now().wall_ms > end)
            return -ETIMEDOUT;
        pause_ms(STEP_MS);
        app_settle(a, 2);
    } while (!app_is_ready(a));
    rest(a);
    app_frame(a, true);
    return platform_screenshot(a->platform, file);
}
