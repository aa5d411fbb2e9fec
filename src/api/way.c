/* See way.h. A transport asks for ticks by next_us(); here it simply gets one every 20 ms. */
#include "api/way.h"

#include <signal.h>
#include <sys/epoll.h>

#include "basic/macro.h"

#define TICK_US (20U * USEC_PER_MSEC)

static int on_nest(sd_event_source *source UNUSED, int fd UNUSED, uint32_t events UNUSED,
                   void *userdata)
{
    Way *w = userdata;

    nest_dispatch(w->nest);
    return 0;
}

static int on_tick(sd_event_source *source, uint64_t usec UNUSED, void *userdata)
{
    Way *w = userdata;
    Now now = clock_now();

    if (w->transport && w->transport->ops->next_us(w->transport) <= now.mono_us)
        w->transport->ops->tick(w->transport, now);
    sd_event_source_set_time_relative(source, TICK_US);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int loop_open(Way *w)
{
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    int r = sd_event_new(&w->event);
    if (r >= 0)
        r = nest_new(&w->nest);
    if (r >= 0)
        r = ssh_limiter_new(&w->limiter);
    if (r >= 0)
        r = sd_event_add_io(w->event, &w->nest_source, nest_fd(w->nest), EPOLLIN, on_nest, w);
    if (r >= 0)
        r = sd_event_add_time_relative(w->event, &w->tick_source, CLOCK_MONOTONIC, 0, 1, on_tick,
                                       w);
    return r;
}

int way_open(Way *w, const char *pc_id, const char *ssh_host, bool is_self,
             const TransportEvents *events, void *userdata)
{
    int r = w->event ? 0 : loop_open(w);

    if (r < 0)
        return r;
    if (is_self)
        return transport_local_new(w->event, events, userdata, &w->transport);
    return transport_ssh_new(w->nest, ssh_host ? ssh_host : pc_id, pc_id, w->limiter, events,
                             userdata, &w->transport);
}

void way_close(Way *w)
{
    if (w->transport)
        w->transport = w->transport->ops->free(w->transport);
}

void way_done(Way *w)
{
    way_close(w);
    w->tick_source = sd_event_source_disable_unref(w->tick_source);
    w->nest_source = sd_event_source_disable_unref(w->nest_source);
    w->limiter = ssh_limiter_free(w->limiter);
    w->nest = nest_free(w->nest);
    w->event = sd_event_unref(w->event);
}
