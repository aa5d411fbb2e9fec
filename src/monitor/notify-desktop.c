/* Two halves. The pure one decides what is worth a word; the other one says it over D-Bus.
 *
 * A service that goes down is held for three seconds: a crash that systemd heals at once is in the
 * Live panel, but nobody must look up for it. What was said as down is said again as recovered. A
 * PC that is cut off is one notice, and its services turn unknown, not down, so they add none.
 *
 * The bus may be absent, slow or hostile: it has its own thread, only asynchronous calls, a bounded
 * queue, and replies are not waited for. Titles and bodies are plain text; `<` and `&` are escaped
 * since servers may read markup. */
#include "monitor/notify-desktop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <systemd/sd-bus.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "monitor/view.h"

/* ---- what to say ---- */

static NoticeHeld *held_find(Notices *n, const char *app_id, const char *pc_id)
{
    for (int i = 0; i < n->n; i++)
        if (strcmp(n->held[i].app_id, app_id) == 0 && strcmp(n->held[i].pc_id, pc_id) == 0)
            return &n->held[i];
    return NULL;
}

static void held_drop(Notices *n, NoticeHeld *h)
{
    *h = n->held[--n->n];
}

static void held_set(Notices *n, const char *app_id, const char *pc_id, const char *sentence,
                     bool down, int64_t now_ms)
{
    NoticeHeld *h = held_find(n, app_id, pc_id);

    if (!down && !h)
        return; /* its down was never said, so its recovery is no news */
    if (!down && !h->said) {
        held_drop(n, h);
        return;
    }
    if (h && h->down == down)
        return;
    if (!h) {
        if (n->n == NOTIFY_HELD_MAX)
            return;
        h = &n->held[n->n++];
        *h = (NoticeHeld){0};
        text_copy(h->app_id, sizeof h->app_id, app_id);
        text_copy(h->pc_id, sizeof h->pc_id, pc_id);
    }
    text_copy(h->sentence, sizeof h->sentence, sentence);
    h->down = down;
    h->due_ms = now_ms + (down ? NOTIFY_HOLD_MS : 0);
}

void notices_row(Notices *n, const ServiceRow *before, const ServiceRow *after, int64_t now_ms)
{
    if (before->light == after->light)
        return;
    if (after->light == LIGHT_DOWN)
        held_set(n, after->app_id, after->pc_id, after->sentence, true, now_ms);
    else if (after->light == LIGHT_OK)
        held_set(n, after->app_id, after->pc_id, "", false, now_ms);
}

void notices_pc(Notices *n, const PcRow *before, const PcRow *after, int64_t now_ms)
{
    if (before->reachable != after->reachable && !after->may_sleep)
        held_set(n, "", after->pc_id, after->sentence, !after->reachable, now_ms);
}

static void notice_write(const NoticeHeld *h, Notice *ret)
{
    char sentence[SENTENCE_MAX];

    *ret = (Notice){.critical = h->down};
    view_sentence(sentence, h->sentence);
    if (h->app_id[0])
        snprintf(ret->title, sizeof ret->title,
                 h->down ? _("%s on %s is down") : _("%s on %s is healthy again"), h->app_id,
                 h->pc_id);
    else
        snprintf(ret->title, sizeof ret->title,
                 h->down ? _("%s is unreachable") : _("%s answers again"), h->pc_id);
    text_copy(ret->body, sizeof ret->body, h->down ? sentence : "");
}

static bool held_is_due(const NoticeHeld *h, int64_t now_ms)
{
    return (!h->said || !h->down) && h->due_ms <= now_ms;
}

/* What was said as down stays, to be found at its recovery; what recovered goes. */
static void held_said(Notices *n, int i)
{
    if (n->held[i].down)
        n->held[i].said = true;
    else
        held_drop(n, &n->held[i]);
}

int notices_take(Notices *n, int64_t now_ms, Notice ret[static NOTIFY_BURST])
{
    int due = 0, written = 0, down = 0;

    for (int i = 0; i < n->n; i++)
        due += held_is_due(&n->held[i], now_ms);
    for (int i = n->n; i-- > 0;) {
        if (!held_is_due(&n->held[i], now_ms))
            continue;
        down += n->held[i].down;
        if (due <= NOTIFY_BURST)
            notice_write(&n->held[i], &ret[written++]);
        held_said(n, i);
    }
    if (due <= NOTIFY_BURST)
        return written;
    ret[0] = (Notice){.critical = down > 0};
    snprintf(ret[0].title, sizeof ret[0].title,
             P_("%d service changed", "%d services changed", (unsigned long)due), due);
    snprintf(ret[0].body, sizeof ret[0].body, _("%d down, %d recovered"), down, due - down);
    return 1;
}

int64_t notices_next(const Notices *n)
{
    int64_t next = 0;

    for (int i = 0; i < n->n; i++)
        if ((!n->held[i].said || !n->held[i].down) && (next == 0 || n->held[i].due_ms < next))
            next = n->held[i].due_ms;
    return next;
}

/* ---- saying it ---- */

struct NotifyDesktop {
    pthread_t thread;
    pthread_mutex_t lock;
    int wake_fd;
    bool has_thread, stop;
    Notice queue[NOTIFY_QUEUE];
    int n;
};

static void escape(char *to, size_t size, const char *from)
{
    size_t len = 0;

    for (; *from && len + 6 < size; from++) {
        const char *s = *from == '<'   ? "&lt;"
                        : *from == '>' ? "&gt;"
                        : *from == '&' ? "&amp;"
                                       : NULL;
        if (s)
            len += (size_t)snprintf(to + len, size - len, "%s", s);
        else
            to[len++] = *from;
    }
    to[len] = '\0';
}

static int send_notice(sd_bus *bus, const Notice *notice)
{
    char body[sizeof notice->body * 2];

    escape(body, sizeof body, notice->body);
    return sd_bus_call_method_async(
        bus, NULL, "org.freedesktop.Notifications", "/org/freedesktop/Notifications",
        "org.freedesktop.Notifications", "Notify", NULL, NULL, "susssasa{sv}i", "services_monitor",
        0U, "services_monitor", notice->title, body, 0, 1, "urgency", "y",
        (uint8_t)(notice->critical ? 2 : 1), -1);
}

static bool take(NotifyDesktop *n, Notice *ret)
{
    pthread_mutex_lock(&n->lock);
    bool any = n->n > 0 && !n->stop;
    if (any) {
        *ret = n->queue[0];
        n->n--;
        memmove(n->queue, n->queue + 1, (size_t)n->n * sizeof *n->queue);
    }
    pthread_mutex_unlock(&n->lock);
    return any;
}

/* Waits for the bus or for us. False: stop. */
static bool notify_wait(NotifyDesktop *n, sd_bus *bus)
{
    struct pollfd p[2] = {{.fd = n->wake_fd, .events = POLLIN},
                          {.fd = bus ? sd_bus_get_fd(bus) : -1}};
    uint64_t count;

    if (bus)
        p[1].events = (short)sd_bus_get_events(bus);
    poll(p, 2, -1);
    if (p[0].revents && read(n->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN)
        return false;
    pthread_mutex_lock(&n->lock);
    bool stop = n->stop;
    pthread_mutex_unlock(&n->lock);
    return !stop;
}

static void *notify_main(void *userdata)
{
    NotifyDesktop *n = userdata;
    sd_bus *bus = NULL;
    Notice notice;

    while (notify_wait(n, bus)) {
        while (bus && sd_bus_process(bus, NULL) > 0)
            continue;
        while (take(n, &notice)) {
            if (!bus && sd_bus_open_user(&bus) < 0)
                break;
            if (send_notice(bus, &notice) < 0)
                bus = sd_bus_close_unref(bus);
        }
        while (bus && sd_bus_process(bus, NULL) > 0)
            continue;
        if (bus && sd_bus_is_open(bus) <= 0)
            bus = sd_bus_close_unref(bus);
    }
    sd_bus_close_unref(bus);
    return NULL;
}

int notify_desktop_new(NotifyDesktop **ret)
{
    NotifyDesktop *n = calloc(1, sizeof *n);

    if (!n)
        return -ENOMEM;
    pthread_mutex_init(&n->lock, NULL);
    n->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = n->wake_fd < 0 ? -errno : -pthread_create(&n->thread, NULL, notify_main, n);
    n->has_thread = r == 0;
    if (r < 0) {
        notify_desktop_free(n);
        return r;
    }
    *ret = n;
    return 0;
}

NotifyDesktop *notify_desktop_free(NotifyDesktop *n)
{
    uint64_t one = 1;

    if (!n)
        return NULL;
    pthread_mutex_lock(&n->lock);
    n->stop = true;
    pthread_mutex_unlock(&n->lock);
    if (n->has_thread && write(n->wake_fd, &one, sizeof one) == sizeof one)
        pthread_join(n->thread, NULL);
    close_fd(n->wake_fd);
    pthread_mutex_destroy(&n->lock);
    free(n);
    return NULL;
}

void notify_desktop_send(NotifyDesktop *n, const Notice *notice)
{
    uint64_t one = 1;

    pthread_mutex_lock(&n->lock);
    if (n->n < NOTIFY_QUEUE)
        n->queue[n->n++] = *notice;
    pthread_mutex_unlock(&n->lock);
    if (write(n->wake_fd, &one, sizeof one) < 0)
        return; /* the counter is full: it wakes anyway */
}
