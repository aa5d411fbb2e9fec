/* The frame, and what lies around it.
 *
 * app_run() waits until something can change the picture (an input, a message, the next step of an
 * age), builds a frame and presents it only if its picture differs from the last one. So a window
 * at rest costs nothing: no presents, and one frame per 10 s to see whether an age moved.
 *
 * ImGui needs two or three frames to come to rest after an input (popups, focus, scrolling):
 * frames_due counts them down without waiting. Messages alone need one. Data never flows back: a
 * panel asks (app_go, app_check), the next frame shows what became of it. */
#include "monitor/app.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "basic/clock.h"
#include "basic/i18n.h"
#include "basic/log.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/client.h"
#include "monitor/panels.h"

#define FRAMES_AFTER_INPUT 3
#define SLOW_FRAME_MS      33 /* on a software renderer: 30 pictures a second are enough */
#define DETAIL_AGE_MS      30000
#define CARET_MS           500

/* ---- lists ---- */

uint64_t list_key(uint64_t seed, const char *text)
{
    uint64_t h = (seed ^ 1469598103934665603ULL) * 1099511628211ULL;

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211ULL;
    return h ? h : 1; /* 0: the list was never made */
}

bool list_renew(ListCache *list, uint64_t key, size_t n)
{
    if (list->key == key)
        return false;
    if (n > list->cap) {
        uint32_t *rows = realloc(list->rows, n * sizeof *rows);
        if (!rows)
            return false;
        list->rows = rows;
        list->cap = n;
    }
    list->key = key;
    return list->rows != NULL;
}

static void lists_reset(App *a)
{
    ListCache *const lists[] = {&a->attention, &a->services, &a->pc_rows,
                                &a->live,      &a->alerts,   &a->app_transitions};

    for (size_t i = 0; i < ELEMENTS(lists); i++)
        lists[i]->key = 0;
}

/* ---- life ---- */

static void wake(void *userdata)
{
    platform_wake(((App *)userdata)->platform);
}

static void on_row(void *userdata, const ServiceRow *before, const ServiceRow *after)
{
    App *a = userdata;

    notices_row(&a->notices, before, after, a->own_ms);
}

static void on_pc(void *userdata, const PcRow *before, const PcRow *after)
{
    App *a = userdata;

    notices_pc(&a->notices, before, after, a->own_ms);
}

static void settings_from_options(App *a)
{
    const AppOptions *o = &a->options;
    Settings *s = &a->settings;

    *s = settings_default();
    if (o->remember && settings_path(a->settings_file, sizeof a->settings_file) == 0) {
        int r = settings_load(s, a->settings_file);
        if (r < 0)
            log_warning("%s cannot be read: %s", a->settings_file, strerror(-r));
    }
    if (o->scale > 0)
        s->scale = o->scale;
    if (o->dark >= 0)
        s->dark = o->dark;
    if (o->width > 0)
        s->width = o->width;
    if (o->height > 0)
        s->height = o->height;
    if (o->language)
        text_copy(s->language, sizeof s->language, o->language);
    if (o->panel)
        text_copy(s->panel, sizeof s->panel, o->panel);
    i18n_init(s->language[0] ? s->language : NULL);
    if (!place_parse(s->panel, &a->place))
        a->place = (Place){.kind = PLACE_OVERVIEW};
    text_copy(a->services_filter, sizeof a->services_filter, s->filter);
}

static int open_platform(App *a, char *error, size_t size)
{
    const PlatformOptions o = {.width = a->settings.width,
                               .height = a->settings.height,
                               .scale = a->settings.scale,
                               .headless = a->options.headless,
                               .software = a->options.software};
    GuiStyle style = theme_select(a->settings.dark);

    return platform_open(&o, &style, &a->platform, error, size);
}

static int fetch_token(void *userdata, char ret[static CLIENT_TOKEN_BYTES], char *error,
                       size_t size)
{
    return tunnel_token(userdata, ret, error, size);
}

static int open_feed(App *a, char *error, size_t size)
{
    const char *url = a->options.url ? a->options.url : CLIENT_URL_DEFAULT;

    if (a->options.ssh_host) {
        int r = tunnel_new(a->options.ssh_host, &a->tunnel);
        if (r < 0) {
            snprintf(error, size, _("the tunnel to %s cannot be started: %s"), a->options.ssh_host,
                     strerror(-r));
            return r;
        }
        url = tunnel_url(a->tunnel);
    }
    text_copy(a->url, sizeof a->url, url);
    int r = feed_new(url, wake, a, &a->feed);
    if (r < 0)
        snprintf(error, size, _("the client cannot be started: %s"), strerror(-r));
    else if (a->tunnel)
        feed_token_from(a->feed, fetch_token, a->tunnel);
    return r;
}

int app_new(const AppOptions *options, App **ret, char *error, size_t size)
{
    CLEANUP(app_freep) App *a = calloc(1, sizeof *a);
    int r;

    if (!a)
        return -ENOMEM;
    a->options = *options;
    a->services_sort = (TableSort){.column = 0};
    settings_from_options(a);
    r = model_new(&a->model);
    if (r < 0)
        return r;
    model_watch(a->model, on_row, on_pc, a);
    r = open_platform(a, error, size);
    if (r == 0)
        r = open_feed(a, error, size);
    if (r < 0)
        return r;
    if (!options->headless && !options->no_notify && notify_desktop_new(&a->notify) < 0)
        log_warning("no desktop notifications: no thread");
    gui_record_enable(options->headless || options->record);
    a->shown = a->settings;
    a->focus_panel = true;
    a->frames_due = FRAMES_AFTER_INPUT;
    a->exposed = true;
    gui_nav_restart();
    *ret = TAKE_PTR(a);
    return 0;
}

static void remember(App *a)
{
    int width, height;

    if (!a->options.remember || !a->settings_file[0])
        return;
    platform_size(a->platform, &width, &height);
    a->settings.width = width;
    a->settings.height = height;
    place_write(&a->place, a->settings.panel, sizeof a->settings.panel);
    text_copy(a->settings.filter, sizeof a->settings.filter, a->services_filter);
    int r = settings_save(&a->settings, a->settings_file);
    if (r < 0)
        log_warning("%s cannot be written: %s", a->settings_file, strerror(-r));
}

App *app_free(App *a)
{
    if (!a)
        return NULL;
    if (a->platform) {
        remember(a);
        platform_hide(a->platform);
    }
    tunnel_stop(a->tunnel); /* the feed may wait for it */
    feed_free(a->feed);
    tunnel_free(a->tunnel);
    notify_desktop_free(a->notify);
    platform_close(a->platform);
    model_free(a->model);
    free(a->attention.rows);
    free(a->services.rows);
    free(a->pc_rows.rows);
    free(a->live.rows);
    free(a->alerts.rows);
    free(a->app_transitions.rows);
    free(a);
    return NULL;
}

/* ---- what panels ask for ---- */

static void enter(App *a, const Place *place)
{
    a->place = *place;
    a->focus_panel = true;
    a->evidence_id = 0;
    a->journal_filter[0] = '\0';
    a->frames_due = FRAMES_AFTER_INPUT;
    gui_nav_restart();
}

void app_go(App *a, const Place *place)
{
    if (place_equal(&a->place, place))
        return;
    if (a->n_back == PLACES_BACK_MAX) {
        memmove(a->back, a->back + 1, (PLACES_BACK_MAX - 1) * sizeof *a->back);
        a->n_back--;
    }
    a->back[a->n_back++] = a->place;
    enter(a, place);
}

void app_go_panel(App *a, PlaceKind kind)
{
    const Place place = {.kind = kind};

    app_go(a, &place);
}

void app_go_app(App *a, const char *app_id, const char *pc_id)
{
    Place place = {.kind = PLACE_APP};

    text_copy(place.app_id, sizeof place.app_id, app_id);
    text_copy(place.pc_id, sizeof place.pc_id, pc_id);
    app_go(a, &place);
}

void app_go_pc(App *a, const char *pc_id)
{
    Place place = {.kind = PLACE_PC};

    text_copy(place.pc_id, sizeof place.pc_id, pc_id);
    app_go(a, &place);
}

void app_go_back(App *a)
{
    const Place overview = {.kind = PLACE_OVERVIEW};

    if (a->n_back > 0)
        enter(a, &a->back[--a->n_back]);
    else if (a->place.kind != PLACE_OVERVIEW)
        enter(a, &overview);
}

static void refused(App *a, int r)
{
    if (r == 0)
        return;
    text_copy(a->model->answer, sizeof a->model->answer,
              r == -EBUSY ? _("too many requests wait already")
                          : _("there is no memory for the request"));
    a->model->answer_failed = true;
    a->model->answer_ms = a->own_ms;
}

void app_check(App *a, const char *app_id, const char *pc_id)
{
    refused(a, feed_want_check(a->feed, app_id, pc_id));
    a->detail_asked_ms = 0; /* the detail is fetched again behind it */
}

void app_action(App *a, const char *app_id, const char *pc_id, const char *action)
{
    refused(a, feed_want_action(a->feed, app_id, pc_id, action));
}

void app_ack(App *a, const char *alert_id, const char *comment)
{
    refused(a, feed_want_ack(a->feed, alert_id, comment));
}

void app_silence(App *a, const char *kind, const Pair *pair, uint32_t for_s, const char *comment)
{
    refused(a, feed_want_silence(a->feed, kind, pair, for_s, comment));
}

void app_unsilence(App *a, int64_t id)
{
    refused(a, feed_want_unsilence(a->feed, id));
}

void app_want_silences(App *a)
{
    bool old = a->own_ms - a->silences_asked_ms > DETAIL_AGE_MS || a->own_ms < a->silences_asked_ms;

    if (a->stale || !a->model->has_snapshot || !old)
        return;
    a->silences_asked_ms = a->own_ms;
    feed_want_silences(a->feed);
}

const char *app_actions_reason(const App *a)
{
    if (a->stale)
        return _("The daemon does not answer.");
    if (!a->model->actions)
        return _("Actions are switched off in the daemon (features.actions in its config.yaml).");
    return NULL;
}

const Detail *app_detail(App *a, const char *app_id, const char *pc_id)
{
    const Detail *d = model_detail(a->model, app_id, pc_id);
    bool old =
        !d || a->own_ms - a->detail_asked_ms > DETAIL_AGE_MS || a->own_ms < a->detail_asked_ms;

    if (!a->stale && a->model->has_snapshot && old) {
        a->detail_asked_ms = a->own_ms;
        if (model_want_detail(a->model, app_id, pc_id) == 0)
            feed_want_detail(a->feed, app_id, pc_id);
        d = model_detail(a->model, app_id, pc_id);
    }
    return d;
}

void live_pause(App *a, bool paused)
{
    a->live_paused = paused;
    a->live_until = a->model->transitions_seen;
}

/* ---- the steps of a frame ---- */

/* Scale, theme and language change between two frames, whoever asked for it. */
static void apply_look(App *a)
{
    Settings *s = &a->settings, *shown = &a->shown;
    bool language = strcmp(s->language, shown->language) != 0, dark = s->dark != shown->dark;
    bool scale = s->scale > 0 && s->scale != platform_scale(a->platform);

    if (language)
        i18n_init(s->language[0] ? s->language : NULL);
    if (dark || scale) {
        GuiStyle style = theme_select(s->dark);
        platform_restyle(a->platform, s->scale > 0 ? s->scale : platform_scale(a->platform),
                         &style);
    }
    if (language || dark || scale) {
        lists_reset(a);
        a->frames_due = FRAMES_AFTER_INPUT;
        *shown = *s;
    }
}

static void take_changes(App *a)
{
    bool had_snapshot = a->model->has_snapshot;

    for (Change *c = feed_take(a->feed), *next; c; c = next) {
        next = c->next;
        c->next = NULL;
        bool answer = c->kind == CHANGE_ANSWER;
        if (a->tunnel && c->kind == CHANGE_STATE && c->state == CLIENT_LIVE)
            tunnel_works(a->tunnel);
        bool transition_here = c->kind == CHANGE_DELTA && c->n_transitions > 0;
        int r = model_apply(a->model, c);
        if (r < 0)
            log_error("a message could not be taken over: %s", strerror(-r));
        if (answer)
            a->model->answer_ms = a->own_ms;
        if (transition_here && a->place.kind == PLACE_APP)
            a->detail_asked_ms = 0;
    }
    if (!had_snapshot && a->model->has_snapshot) {
        feed_want_history(a->feed);
        a->focus_panel = true;
        gui_nav_restart();
    }
}

static void read_time(App *a)
{
    a->own_ms = a->options.now_ms ? a->options.now_ms : clock_now().wall_ms;
    a->now_ms = a->options.now_ms ? a->options.now_ms : a->own_ms + a->model->offset_ms;
    a->stale = model_is_stale(a->model, clock_now().wall_ms);
    theme_set_stale(a->stale && a->model->has_snapshot);
}

static void count(App *a)
{
    if (a->counts_version == a->model->version && a->counts_version)
        return;
    a->counts = view_counts(a->model);
    a->counts_version = a->model->version;
}

static void send_notices(App *a)
{
    Notice notices[NOTIFY_BURST];
    int n = notices_take(&a->notices, a->own_ms, notices);

    for (int i = 0; i < n && a->notify && a->settings.notify; i++)
        notify_desktop_send(a->notify, &notices[i]);
}

static void shortcuts(App *a)
{
    uint32_t typed = gui_typed();

    if (gui_chord('k'))
        a->palette_wanted = true;
    if (gui_chord('q'))
        a->quit = true;
    if (a->popup_open || gui_wants_text())
        return;
    if (typed == '/')
        a->focus_filter = true;
    else if (typed == '?')
        a->help_wanted = true;
    else if (typed >= '1' && typed <= '5')
        app_go_panel(a, (PlaceKind)(typed - '1'));
    else if (typed == 'p' && a->place.kind == PLACE_LIVE)
        live_pause(a, !a->live_paused);
    else if (typed == 'c' && a->place.kind == PLACE_APP && a->place.pc_id[0])
        app_check(a, a->place.app_id, a->place.pc_id);
    if (gui_key(GUI_KEY_ESCAPE))
        app_go_back(a);
}

static void draw(App *a)
{
    platform_frame(a->platform);
    gui_frame_begin();
    shortcuts(a);
    shell_draw(a);
    gui_frame_end();
    a->frames++;
}

static void present(App *a, bool always)
{
    uint64_t hash = gui_frame_hash() ^ a->settings.dark;

    if (!always && !a->exposed && hash == a->last_hash)
        return;
    a->exposed = false;
    a->last_hash = hash;
    platform_present(a->platform);
    a->presents++;
    a->last_present_ms = clock_now().wall_ms;
}

static void write_record(const App *a)
{
    char next[600];

    if (!a->options.record ||
        snprintf(next, sizeof next, "%s.next", a->options.record) >= (int)sizeof next)
        return;
    FILE *f = fopen(next, "we");
    if (!f)
        return;
    for (int i = 0; i < gui_record_count(); i++) {
        const GuiRecord *r = gui_record_at(i);
        if (r->visible)
            fprintf(f, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%s\n", r->id, r->rect.x0, r->rect.y0,
                    r->rect.x1, r->rect.y1, r->text);
    }
    fprintf(f, "frames\t0\t0\t0\t0\t%llu %llu\n", (unsigned long long)a->frames,
            (unsigned long long)a->presents);
    if (fclose(f) == 0 && rename(next, a->options.record) < 0)
        log_warning("%s cannot be written: %s", a->options.record, strerror(errno));
}

void app_frame(App *a, bool always)
{
    take_changes(a);
    read_time(a);
    apply_look(a);
    count(a);
    send_notices(a);
    draw(a);
    present(a, always);
    write_record(a);
}

/* ---- waiting ---- */

static int wait_ms(const App *a)
{
    int64_t own = clock_now().wall_ms,
            until = view_next_tick(own + a->model->offset_ms) - a->model->offset_ms;
    int64_t notice = notices_next(&a->notices);

    if (a->frames_due > 0 && !platform_is_hidden(a->platform))
        return 0;
    if (notice)
        until = MIN(until, notice);
    if (!a->stale && a->model->state != CLIENT_LIVE)
        until = MIN(until, own + 250); /* the moment it turns stale */
    return (int)MAX(MIN(until - own, 10000), 1);
}

static void slow_down(const App *a)
{
    int64_t passed = clock_now().wall_ms - a->last_present_ms;

    if (platform_is_slow(a->platform) && passed >= 0 && passed < SLOW_FRAME_MS) {
        struct timespec rest = {.tv_nsec = (SLOW_FRAME_MS - passed) * 1000000L};
        nanosleep(&rest, NULL);
    }
}

void app_wait(App *a, int timeout_ms)
{
    PlatformEvents e = platform_wait(a->platform, timeout_ms);

    if (e.input)
        a->frames_due = FRAMES_AFTER_INPUT;
    else if (a->frames_due > 0)
        a->frames_due--;
    a->exposed = a->exposed || e.exposed;
    a->quit = a->quit || e.quit;
    if (e.input && !e.edge && !a->options.headless)
        slow_down(a);
}

int app_run(App *a)
{
    while (!a->quit) {
        app_wait(a, wait_ms(a));
        if (platform_is_hidden(a->platform)) {
            take_changes(a);
            read_time(a);
            send_notices(a);
        } else
            app_frame(a, false);
    }
    return 0;
}

void app_settle(App *a, int frames)
{
    for (int i = 0; i < frames; i++) {
        platform_wait(a->platform, 0);
        app_frame(a, false);
    }
}

bool app_is_ready(App *a)
{
    const Detail *d =
        a->place.kind == PLACE_APP ? model_detail(a->model, a->place.app_id, a->place.pc_id) : NULL;

    return a->model->has_snapshot && a->model->has_history && !feed_is_busy(a->feed) &&
           (!d || d->state != DETAIL_LOADING);
}
