/* notify-test: one message by every configured way, at once, by the code that the daemon uses.
 *
 * It reads the same config file but needs no daemon and leaves the daemon's outbox alone. The
 * message has a key of its own, so no receiver takes it for an incident. The heartbeat is not
 * called: that would tell a dead man's switch that a daemon is alive. */
#include "api/cli-notify.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api/cli-options.h"
#include "api/notify-channel.h"
#include "api/paths.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/sentence.h"

typedef struct Trial {
    NotifyChannel channel;
    Send *send;
    bool tried, over;
    SendResult result;
} Trial;

DEFINE_CLEANUP(Nest, nest_free);
DEFINE_CLEANUP(Sender, sender_free);

static void on_result(void *userdata, const SendResult *r)
{
    Trial *t = userdata;

    t->result = *r;
    t->over = true;
}

static StoreOutbox make_message(Now now)
{
    StoreOutbox o = {.created_ms = now.wall_ms,
                     .incident = {.id = now.wall_ms, .began_ms = now.wall_ms}};

    text_copy(o.event, sizeof o.event, "test");
    text_copy(o.incident.kind, sizeof o.incident.kind, "test");
    text_copy(o.incident.state, sizeof o.incident.state, "test");
    text_copy(o.incident.sentence, sizeof o.incident.sentence,
              "services_api notify-test sent this: alerts will arrive here");
    return o;
}

static void start_all(Trial *trials, Sender *sender, const Config *c, const StoreOutbox *message,
                      Now now)
{
    for (unsigned i = 0; i < NOTIFY_CHANNEL_MAX; i++) {
        Trial *t = &trials[i];
        const char *half = "";
        int state = notify_channel_state(c, (NotifyChannel)i, &half);
        *t = (Trial){.channel = (NotifyChannel)i, .tried = state != 0, .over = state <= 0};
        text_copy(t->result.text, sizeof t->result.text, half);
        if (state > 0)
            t->over = notify_channel_send(sender, c, t->channel, message, now, on_result, t,
                                          &t->send, t->result.text, sizeof t->result.text) < 0;
    }
}

static bool all_over(Trial *trials, Now now)
{
    bool over = true;

    for (unsigned i = 0; i < NOTIFY_CHANNEL_MAX; i++) {
        Trial *t = &trials[i];
        if (!t->over && now.mono_us >= send_deadline_us(t->send)) {
            send_overdue(t->send, &t->result);
            t->over = true;
        }
        over = over && t->over;
    }
    return over;
}

static void wait_all(Trial *trials, Nest *nest, Sender *sender)
{
    struct pollfd p = {.fd = nest_fd(nest), .events = POLLIN};
    Now now = clock_now();

    while (!all_over(trials, now)) {
        uint64_t next = sender_next_us(sender);
        uint64_t ms = next > now.mono_us ? (next - now.mono_us) / USEC_PER_MSEC + 1 : 0;
        poll(&p, 1, (int)MIN(ms, 500U));
        nest_dispatch(nest);
        now = clock_now();
        sender_tick(sender, now);
    }
}

static int tell(const Trial *trials)
{
    int code = CLI_EXIT_USAGE;
    char sentence[SENTENCE_MAX];

    for (unsigned i = 0; i < NOTIFY_CHANNEL_MAX; i++) {
        const Trial *t = &trials[i];
        if (!t->tried)
            continue;
        printf("%-8s %s: %s\n", notify_channel_to_string(t->channel),
               t->result.delivered ? _("sent") : _("FAILED"),
               sentence_translate(sentence, t->result.text));
        if (code != CLI_EXIT_BAD)
            code = t->result.delivered ? CLI_EXIT_OK : CLI_EXIT_BAD;
    }
    if (code == CLI_EXIT_USAGE)
        printf("%s\n", _("nothing is configured: see notify.* in services_api(1)"));
    return code;
}

static int run(const Config *config)
{
    CLEANUP(nest_freep) Nest *nest = NULL;
    CLEANUP(sender_freep) Sender *sender = NULL;
    Trial trials[NOTIFY_CHANNEL_MAX];
    Now now = clock_now();
    StoreOutbox message = make_message(now);

    signal(SIGPIPE, SIG_IGN);
    int r = nest_new(&nest);
    if (r >= 0)
        r = sender_new(nest, NULL, &sender);
    if (r < 0) {
        fprintf(stderr, "services_api notify-test: %s\n", strerror(-r));
        return CLI_EXIT_BAD;
    }
    start_all(trials, sender, config, &message, now);
    wait_all(trials, nest, sender);
    for (unsigned i = 0; i < NOTIFY_CHANNEL_MAX; i++)
        send_free(trials[i].send);
    return tell(trials);
}

int cli_notify_test(int argc, char *argv[])
{
    CLEANUP_FREE char *standard = paths_config();
    CLEANUP(config_freep) Config *config = NULL;
    ConfigError error = {""};
    const char *path = standard;
    const CliOption options[] = {
        {"config", "FILE", N_("default: config.yaml in the XDG config directory"), CLI_TEXT, &path,
         0, 0},
    };
    const CliCommand command = {
        "notify-test",
        "",
        N_("Send a test message by every configured way.\n"
           "Exit code 0: all got through; 1: one did not; 2: none is configured."),
        options,
        ELEMENTS(options),
        0,
        0,
    };
    int code = cli_parse(&command, argc, argv, NULL, NULL);

    if (code >= 0)
        return code;
    if (!path)
        return cli_complain(argv[0],
                            _("neither XDG_CONFIG_HOME nor HOME is set, give --config FILE"));
    if (config_load(path, &config, &error) < 0)
        return cli_complain(argv[0], error.text);
    return run(config);
}
