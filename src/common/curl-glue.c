/* The bridge between curl_multi_socket_action() and the nest.
 *
 * libcurl tells which sockets it wants watched and when it wants to be called; each socket gets a
 * watch of its own, which libcurl keeps for us by curl_multi_assign() and gives back with
 * CURL_POLL_REMOVE, before it closes the socket. After every action *all* finished transfers are
 * drained: libcurl says it only once. A done callback may add and remove transfers, so the drain
 * asks anew after each. */
#include "common/curl-glue.h"

#include <errno.h>
#include <sys/epoll.h>

#include "basic/macro.h"

struct CurlGlue {
    Nest *nest;
    CURLM *multi;
    uint64_t timer_us;
};

typedef struct CurlSocket {
    NestWatch watch;
    CurlGlue *glue;
} CurlSocket;

DEFINE_CLEANUP(CurlGlue, curl_glue_free);

static void drain(CurlGlue *g)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(g->multi, &left))) {
        CURLcode result = message->data.result;
        CURL *easy = message->easy_handle;
        CurlTransfer *t = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t);
        curl_multi_remove_handle(g->multi, easy);
        t->done(t, result);
    }
}

static void action(CurlGlue *g, curl_socket_t fd, int what)
{
    int running;

    curl_multi_socket_action(g->multi, fd, what, &running);
    drain(g);
}

static void on_ready(NestWatch *w, uint32_t events)
{
    CurlSocket *s = container_of(w, CurlSocket, watch);
    int what = 0;

    if (events & EPOLLIN)
        what |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        what |= CURL_CSELECT_OUT;
    if (events & (EPOLLERR | EPOLLHUP))
        what |= CURL_CSELECT_ERR;
    action(s->glue, w->fd, what);
}

static int socket_forget(CurlGlue *g, curl_socket_t fd, CurlSocket *s)
{
    if (s) {
        nest_remove(g->nest, &s->watch);
        free(s);
        curl_multi_assign(g->multi, fd, NULL);
    }
    return 0;
}

static int on_socket(CURL *easy UNUSED, curl_socket_t fd, int what, void *userdata, void *socket)
{
    CurlGlue *g = userdata;
    CurlSocket *s = socket;
    uint32_t events = 0;

    if (what == CURL_POLL_REMOVE)
        return socket_forget(g, fd, s);
    if (what & CURL_POLL_IN)
        events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        events |= EPOLLOUT;
    if (s)
        return nest_modify(g->nest, &s->watch, events) < 0 ? -1 : 0;
    s = calloc(1, sizeof *s);
    if (!s)
        return -1;
    s->glue = g;
    if (nest_add(g->nest, &s->watch, fd, events, on_ready) < 0) {
        free(s);
        return -1;
    }
    curl_multi_assign(g->multi, fd, s);
    return 0;
}

static int on_timer(CURLM *multi UNUSED, long timeout_ms, void *userdata)
{
    CurlGlue *g = userdata;

    g->timer_us =
        timeout_ms < 0 ? UINT64_MAX : clock_now().mono_us + (uint64_t)timeout_ms * USEC_PER_MSEC;
    return 0;
}

int curl_glue_new(Nest *nest, CurlGlue **ret)
{
    CLEANUP(curl_glue_freep) CurlGlue *g = calloc(1, sizeof *g);

    if (!g)
        return -ENOMEM;
    g->nest = nest;
    g->timer_us = UINT64_MAX;
    g->multi = curl_multi_init();
    if (!g->multi || curl_multi_setopt(g->multi, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
        curl_multi_setopt(g->multi, CURLMOPT_SOCKETDATA, g) != CURLM_OK ||
        curl_multi_setopt(g->multi, CURLMOPT_TIMERFUNCTION, on_timer) != CURLM_OK ||
        curl_multi_setopt(g->multi, CURLMOPT_TIMERDATA, g) != CURLM_OK ||
        curl_multi_setopt(g->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING) != CURLM_OK)
        return -ENOMEM;
    *ret = TAKE_PTR(g);
    return 0;
}

CurlGlue *curl_glue_free(CurlGlue *g)
{
    if (g) {
        curl_multi_cleanup(g->multi);
        free(g);
    }
    return NULL;
}

int curl_glue_add(CurlGlue *g, CurlTransfer *t)
{
    if (curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t) != CURLE_OK ||
        curl_multi_add_handle(g->multi, t->easy) != CURLM_OK)
        return -ENOMEM;
    return 0;
}

void curl_glue_remove(CurlGlue *g, CurlTransfer *t)
{
    curl_multi_remove_handle(g->multi, t->easy);
}

uint64_t curl_glue_next_us(const CurlGlue *g)
{
    return g->timer_us;
}

void curl_glue_tick(CurlGlue *g, Now now)
{
    if (now.mono_us < g->timer_us)
        return;
    g->timer_us = UINT64_MAX;
    action(g, CURL_SOCKET_TIMEOUT, 0);
}
