/* Commands that look at the present.
 *
 * status and check ask the running daemon and, when there is none, look for themselves (oneshot).
 * watch follows the daemon's stream on its own thread and redraws on change; the picture goes grey
 * when the daemon is lost, because nothing stale may look fresh. */
#include "api/cli-daemon.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

#include "api/cli-options.h"
#include "api/cli-table.h"
#include "api/manager.h"
#include "api/oneshot.h"
#include "api/paths.h"
#include "basic/clock.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"
#include "common/client.h"
#include "common/name.h"
#include "common/sentence.h"
#include "common/world.h"

#define OUTPUT_MAX   (64U << 20)
#define REQUEST_MS   10000U
#define ONESHOT_MS   8000U
#define RECENT_SHOWN 8U

/* ---- serve ---- */

int cli_serve(int argc, char *argv[])
{
    CLEANUP_FREE char *registry = paths_registry();
    CLEANUP_FREE char *db = paths_state_db();
    CLEANUP_FREE char *config = paths_config();
    CLEANUP_FREE char *token = paths_token();
    ManagerOptions m = {
        .registry_path = registry, .db_path = db, .config_path = config, .token_path = token};
    const CliOption options[] = {
        {"registry", "FILE", N_("what is expected (default: the XDG data directory)"), CLI_TEXT,
         &m.registry_path, 0, 0},
        {"db", "FILE", N_("history (default: the XDG state directory)"), CLI_TEXT, &m.db_path, 0,
         0},
        {"listen", "ADDRESS:PORT", N_("default 127.0.0.1:8485 and [::1]:8485"), CLI_TEXT, &m.listen,
         0, 0},
        {"self", "PC", N_("which PC of the registry this is, or 'none'"), CLI_TEXT, &m.self, 0, 0},
        {"config", "FILE", N_("default: config.yaml in the XDG config directory"), CLI_TEXT,
         &m.config_path, 0, 0},
        {"token-file", "FILE", N_("default: token in the XDG config directory"), CLI_TEXT,
         &m.token_path, 0, 0},
        {"interval-ms", "N", N_("time between two full checks, 1000-3600000"), CLI_NUMBER,
         &m.interval_ms, 1000, 3600000},
    };
    const CliCommand command = {
        "serve",
        "",
        N_("Run the daemon: watch the services of the registry, serve the API."),
        options,
        ELEMENTS(options),
        0,
        0};

    int r = cli_parse(&command, argc, argv, NULL, NULL);
    if (r >= 0)
        return r;
    if (!m.registry_path || !m.db_path || !m.config_path || !m.token_path)
        return cli_complain("serve",
                            _("neither HOME nor the XDG variables are set; give --registry, "
                              "--db, --config and --token-file"));
    i18n_init("en"); /* what a daemon says goes into logs, the API and the history */
    r = manager_run(&m);
    return r == 0                                        ? CLI_EXIT_OK
           : r == -EINVAL || r == -ENOENT || r == -EPERM ? CLI_EXIT_USAGE
                                                         : CLI_EXIT_BAD;
}

/* ---- what the other commands share ---- */

typedef struct Asking {
    const char *url;
    const char *registry, *config, *self;
    char *default_registry, *default_config;
} Asking;

static void asking_done(Asking *a)
{
    free(a->default_registry);
    free(a->default_config);
}

static Asking asking_new(void)
{
    Asking a = {.url = CLIENT_URL_DEFAULT,
                .default_registry = paths_registry(),
                .default_config = paths_config()};

    a.registry = a.default_registry ? a.default_registry : "registry.db";
    a.config = a.default_config ? a.default_config : "config.yaml";
    return a;
}

static TableOptions table_options(void)
{
    struct winsize size = {0};
    bool tty = isatty(STDOUT_FILENO);
    const char *no_colour = getenv("NO_COLOR");

    if (tty)
        ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    return (TableOptions){
        .colour = tty && !(no_colour && no_colour[0]),
        .width = size.ws_col,
        .now_ms = clock_now().wall_ms,
    };
}

static int complain_strange(const char *command)
{
    cli_complain(command, _("the daemon's answer cannot be read; is it another version?"));
    return CLI_EXIT_BAD;
}

/* GET or POST (body not NULL). 0 with a parsed body; CLI exit code otherwise, after a complaint.
 * -ECONNREFUSED: nobody listens (no complaint yet). */
static int ask(const Asking *a, const char *command, const char *path, const char *body,
               ClientReply *ret, Json **ret_json)
{
    char why[512] = "", sentence[SENTENCE_MAX];

    int r = client_request(a->url, NULL, path, body, REQUEST_MS, ret, why, sizeof why);
    if (r == -ECONNREFUSED)
        return r;
    if (r < 0) {
        cli_complain(command, why);
        return CLI_EXIT_BAD;
    }
    *ret_json = json_parse(ret->body, ret->len);
    if (ret->status == 200 && *ret_json)
        return 0;
    const char *detail =
        json_as_string(json_get(*ret_json, "detail"), _("the answer is not what it should be"));
    snprintf(why, sizeof why, _("%s answers %ld: %s"), a->url, ret->status,
             sentence_translate(sentence, detail));
    cli_complain(command, why);
    *ret_json = json_free(*ret_json);
    client_reply_done(ret);
    return CLI_EXIT_BAD;
}

/* ---- alerts ---- */

static void render_alerts(Buffer *out, const AlertRow *alerts, size_t n, const TableOptions *o)
{
    for (size_t i = 0; i < n; i++) {
        table_alert(out, &alerts[i], o);
        buffer_char(out, '\n');
    }
}

static size_t count_open(const AlertRow *alerts, size_t n)
{
    size_t open = 0;

    for (size_t i = 0; i < n; i++)
        open += strcmp(alerts[i].state, "open") == 0;
    return open;
}

/* Fills ret's alerts; raw (may be NULL) gets the API's text. As ask(). */
static int alerts_of_daemon(const Asking *a, const char *command, OneshotResult *ret, Buffer *raw)
{
    ClientReply reply = {0};
    CLEANUP(json_freep) Json *j = NULL;

    int r = ask(a, command, "/api/alerts", NULL, &reply, &j);
    if (r == 0 && raw) {
        buffer_append(raw, reply.body, reply.len);
        buffer_char(raw, '\n');
    }
    client_reply_done(&reply);
    if (r != 0)
        return r;
    ret->alerts = calloc(MAX(json_length(j), (size_t)1), sizeof *ret->alerts);
    for (const Json *item = json_first(j); item && ret->alerts; item = json_next(item))
        if (alert_row_read(item, &ret->alerts[ret->n_alerts]) >= 0)
            ret->n_alerts++;
    return 0;
}

int cli_alerts(int argc, char *argv[])
{
    CLEANUP(asking_done) Asking a = asking_new();
    bool as_json = false;
    const CliOption options[] = {
        {"json", NULL, N_("print the API's array"), CLI_FLAG, &as_json, 0, 0},
        {"url", "URL", CLI_URL_MEANING, CLI_TEXT, &a.url, 0, 0},
    };
    const CliCommand command = {
        "alerts",
        "",
        N_("Show incidents that are open or pending. Exit code: 0 none is open, 1 some are."),
        options,
        ELEMENTS(options),
        0,
        0};
    OneshotResult result = {0};
    Buffer out = BUFFER_INIT(OUTPUT_MAX);
    TableOptions table = table_options();

    table.ids = true;
    int r = cli_parse(&command, argc, argv, NULL, NULL);
    if (r >= 0)
        return r;
    r = alerts_of_daemon(&a, "alerts", &result, as_json ? &out : NULL);
    if (r == -ECONNREFUSED)
        r = cli_complain_no_daemon("alerts");
    if (r == 0 && !as_json) {
        render_alerts(&out, result.alerts, result.n_alerts, &table);
        if (result.n_alerts == 0)
            buffer_printf(&out, "%s\n", _("no alerts"));
    }
    cli_print(&out);
    if (r == 0 && count_open(result.alerts, result.n_alerts))
        r = CLI_EXIT_BAD;
    oneshot_done(&result);
    return r;
}

/* ---- status ---- */

static void write_result(Buffer *b, const OneshotResult *r)
{
    json_open_object(b, NULL);
    json_open_array(b, "services");
    for (size_t i = 0; i < r->n_services; i++)
        service_row_write(b, &r->services[i]);
    json_close_array(b);
    json_open_array(b, "pcs");
    for (size_t i = 0; i < r->n_pcs; i++)
        pc_row_write(b, &r->pcs[i]);
    json_close_array(b);
    json_close_object(b);
    buffer_char(b, '\n');
}

static int read_rows(const Json *services, const Json *pcs, OneshotResult *ret)
{
    OneshotResult out = {0};

    out.services = calloc(MAX(json_length(services), (size_t)1), sizeof *out.services);
    out.pcs = calloc(MAX(json_length(pcs), (size_t)1), sizeof *out.pcs);
    int r = out.services && out.pcs ? 0 : -ENOMEM;
    for (const Json *j = json_first(services); j && r >= 0; j = json_next(j))
        r = service_row_read(j, &out.services[out.n_services++]);
    for (const Json *j = json_first(pcs); j && r >= 0; j = json_next(j))
        r = pc_row_read(j, &out.pcs[out.n_pcs++]);
    if (r < 0) {
        oneshot_done(&out);
        return r;
    }
    *ret = out;
    return 0;
}

/* From the daemon. As ask(). */
static int status_of_daemon(const Asking *a, OneshotResult *ret)
{
    ClientReply services_reply = {0}, pcs_reply = {0};
    CLEANUP(json_freep) Json *services = NULL;
    CLEANUP(json_freep) Json *pcs = NULL;

    int r = ask(a, "status", "/api/services", NULL, &services_reply, &services);
    if (r == 0)
        r = ask(a, "status", "/api/pcs", NULL, &pcs_reply, &pcs);
    if (r == 0 && read_rows(services, pcs, ret) < 0)
        r = complain_strange("status");
    if (r == 0)
        r = alerts_of_daemon(a, "status", ret, NULL);
    client_reply_done(&services_reply);
    client_reply_done(&pcs_reply);
    return r;
}

static int status_rows(const Asking *a, const char *command, OneshotResult *ret)
{
    char error[512];

    int r = status_of_daemon(a, ret);
    if (r != -ECONNREFUSED)
        return r;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, _("no daemon answers at %s, looking myself...\n"), a->url);
    r = oneshot_look(a->registry, a->config, a->self, ONESHOT_MS, ret, error, sizeof error);
    if (r >= 0)
        return 0;
    return cli_complain(command, error[0] ? error : strerror(-r));
}

int cli_status(int argc, char *argv[])
{
    CLEANUP(asking_done) Asking a = asking_new();
    bool as_json = false;
    const CliOption options[] = {
        {"json", NULL, N_("print {services, pcs} as JSON"), CLI_FLAG, &as_json, 0, 0},
        {"url", "URL", CLI_URL_MEANING, CLI_TEXT, &a.url, 0, 0},
        {"registry", "FILE", N_("used when no daemon answers"), CLI_TEXT, &a.registry, 0, 0},
        {"config", "FILE", N_("used when no daemon answers"), CLI_TEXT, &a.config, 0, 0},
        {"self", "PC", N_("used when no daemon answers"), CLI_TEXT, &a.self, 0, 0},
    };
    const CliCommand command = {
        "status",
        "",
        N_("Show every service. Exit code: 0 all ok, 1 something warns or is down,\n"
           "2 usage, config or registry, 3 nothing worse than unknown."),
        options,
        ELEMENTS(options),
        0,
        0};
    OneshotResult result = {0};
    Buffer out = BUFFER_INIT(OUTPUT_MAX);
    TableOptions table = table_options();

    int r = cli_parse(&command, argc, argv, NULL, NULL);
    if (r >= 0)
        return r;
    r = status_rows(&a, "status", &result);
    if (r != 0)
        return r;
    if (as_json)
        write_result(&out, &result);
    else
        table_render(&out, result.services, result.n_services, result.pcs, result.n_pcs, &table);
    if (!as_json && result.n_alerts) {
        buffer_printf(&out, "\n%s\n", _("alerts"));
        render_alerts(&out, result.alerts, result.n_alerts, &table);
    }
    cli_print(&out);
    int code = table_exit_code(result.services, result.n_services);
    oneshot_done(&result);
    return code;
}

/* ---- check and logs ---- */

/* The PC that an operand leaves open: the only one that has the app, the own PC first. */
static int choose_pc(const OneshotResult *r, const char *command, const char *app, const char *pc,
                     const ServiceRow **ret)
{
    const ServiceRow *found = NULL;
    char complaint[256];
    size_t n = 0;

    for (size_t i = 0; i < r->n_services; i++) {
        const ServiceRow *row = &r->services[i];
        if (strcmp(row->app_id, app) != 0 || (pc && strcmp(row->pc_id, pc) != 0))
            continue;
        bool is_self = false;
        for (size_t p = 0; p < r->n_pcs; p++)
            is_self = is_self || (r->pcs[p].is_self && strcmp(r->pcs[p].pc_id, row->pc_id) == 0);
        if (!found || is_self)
            found = row;
        n++;
        if (is_self) {
            n = 1;
            break;
        }
    }
    if (n == 1) {
        *ret = found;
        return 0;
    }
    if (n > 0)
        snprintf(complaint, sizeof complaint,
                 _("%s is on %zu PCs, say which one: services_api %s %s PC"), app, n, command, app);
    else if (pc)
        snprintf(complaint, sizeof complaint,
                 _("the registry has no app '%s' on %s; 'services_api status' lists them"), app,
                 pc);
    else
        snprintf(complaint, sizeof complaint,
                 _("the registry has no app '%s'; 'services_api status' lists them"), app);
    return cli_complain(command, complaint);
}

static int print_row(const OneshotResult *all, const ServiceRow *row, bool as_json)
{
    Buffer out = BUFFER_INIT(OUTPUT_MAX);
    TableOptions table = table_options();

    if (as_json) {
        service_row_write(&out, row);
        buffer_char(&out, '\n');
    } else {
        for (size_t i = 0; i < all->n_pcs; i++)
            if (strcmp(all->pcs[i].pc_id, row->pc_id) == 0)
                table_render(&out, row, 1, &all->pcs[i], 1, &table);
    }
    cli_print(&out);
    return table_exit_code(row, 1);
}

static int check_by_daemon(const Asking *a, const OneshotResult *all, const ServiceRow *row,
                           bool as_json)
{
    char path[256];
    ClientReply reply = {0};
    CLEANUP(json_freep) Json *j = NULL;
    ServiceRow fresh;

    snprintf(path, sizeof path, "/api/services/%s/%s/check", row->app_id, row->pc_id);
    int r = ask(a, "check", path, "{}", &reply, &j);
    client_reply_done(&reply);
    if (r == -ECONNREFUSED) /* the rows came from a look of our own, so they are fresh */
        return print_row(all, row, as_json);
    if (r != 0)
        return r;
    if (service_row_read(j, &fresh) < 0)
        return complain_strange("check");
    return print_row(all, &fresh, as_json);
}

int cli_check(int argc, char *argv[])
{
    CLEANUP(asking_done) Asking a = asking_new();
    bool as_json = false;
    const char *operands[2] = {NULL, NULL};
    int n = 0;
    const CliOption options[] = {
        {"json", NULL, N_("print the row as JSON"), CLI_FLAG, &as_json, 0, 0},
        {"url", "URL", CLI_URL_MEANING, CLI_TEXT, &a.url, 0, 0},
        {"registry", "FILE", N_("used when no daemon answers"), CLI_TEXT, &a.registry, 0, 0},
        {"config", "FILE", N_("used when no daemon answers"), CLI_TEXT, &a.config, 0, 0},
        {"self", "PC", N_("used when no daemon answers"), CLI_TEXT, &a.self, 0, 0},
    };
    const CliCommand command = {
        "check", "APP [PC]",        N_("Look at one service now. Exit code as of status."),
        options, ELEMENTS(options), 1,
        2};
    OneshotResult all = {0};
    const ServiceRow *row = NULL;

    int r = cli_parse(&command, argc, argv, operands, &n);
    if (r >= 0)
        return r;
    r = status_rows(&a, "check", &all);
    if (r == 0)
        r = choose_pc(&all, "check", operands[0], operands[1], &row);
    if (r == 0)
        r = check_by_daemon(&a, &all, row, as_json);
    oneshot_done(&all);
    return r;
}

static int print_journal(const Json *detail)
{
    const char *error = json_as_string(json_get(detail, "journal_error"), NULL);
    char clock[32], text[4096];
    struct tm tm;

    if (error) {
        cli_complain("logs", error);
        return CLI_EXIT_BAD;
    }
    for (const Json *j = json_first(json_get(detail, "journal")); j; j = json_next(j)) {
        time_t seconds = (time_t)(json_as_int(json_get(j, "ts"), 0) / 1000);
        const char *message = json_as_string(json_get(j, "message"), "");
        clock[0] = '\0';
        if (localtime_r(&seconds, &tm))
            strftime(clock, sizeof clock, "%Y-%m-%d %H:%M:%S", &tm);
        text_clean(text, sizeof text, message, strlen(message));
        printf("%s  %s\n", clock, text);
    }
    return CLI_EXIT_OK;
}

int cli_logs(int argc, char *argv[])
{
    CLEANUP(asking_done) Asking a = asking_new();
    uint32_t lines = 50;
    const char *operands[2] = {NULL, NULL};
    int n = 0;
    const CliOption options[] = {
        {"lines", "N", N_("how many (default 50, at most 1000)"), CLI_NUMBER, &lines, 1, 1000},
        {"url", "URL", CLI_URL_MEANING, CLI_TEXT, &a.url, 0, 0},
    };
    const CliCommand command = {
        "logs",  "APP [PC]",        N_("Show the last journal lines of a service."),
        options, ELEMENTS(options), 1,
        2};
    OneshotResult all = {0};
    const ServiceRow *row = NULL;
    ClientReply reply = {0};
    CLEANUP(json_freep) Json *detail = NULL;
    char path[256];

    int r = cli_parse(&command, argc, argv, operands, &n);
    if (r >= 0)
        return r;
    r = status_of_daemon(&a, &all);
    if (r == 0)
        r = choose_pc(&all, "logs", operands[0], operands[1], &row);
    if (r == 0) {
        snprintf(path, sizeof path, "/api/services/%s/%s?journal=%u&hours=0&points=0&transitions=0",
                 row->app_id, row->pc_id, lines);
        r = ask(&a, "logs", path, NULL, &reply, &detail);
    }
    if (r == 0)
        r = print_journal(detail);
    if (r == -ECONNREFUSED)
        r = cli_complain_no_daemon("logs");
    client_reply_done(&reply);
    oneshot_done(&all);
    return r;
}

/* ---- watch ---- */

typedef struct Watch {
    pthread_mutex_t
        lock; /* guards world, state, sentence: the stream's thread writes, ours reads */
    World world;
    ClientState state;
    char sentence[256];
    int changed_fd;
} Watch;

static void wake(Watch *w)
{
    uint64_t one = 1;

    if (write(w->changed_fd, &one, sizeof one) < 0)
        return; /* full means that a wake-up is pending already */
}

static void on_state(void *userdata, ClientState state, const char *sentence)
{
    Watch *w = userdata;

    pthread_mutex_lock(&w->lock);
    w->state = state;
    text_copy(w->sentence, sizeof w->sentence, sentence ? sentence : "");
    pthread_mutex_unlock(&w->lock);
    wake(w);
}

static void on_message(void *userdata, const char *type, const Json *message)
{
    Watch *w = userdata;

    pthread_mutex_lock(&w->lock);
    int r = world_apply(&w->world, type, message);
    if (r < 0)
        text_copy(w->sentence, sizeof w->sentence,
                  _("the daemon sent something that cannot be read"));
    pthread_mutex_unlock(&w->lock);
    wake(w);
}

static void draw_head(Buffer *out, const Watch *w, const TableOptions *o)
{
    char clock[32] = "";
    time_t seconds = (time_t)(o->now_ms / 1000);
    struct tm tm;

    if (localtime_r(&seconds, &tm))
        strftime(clock, sizeof clock, "%H:%M:%S", &tm);
    buffer_printf(out, "services_monitor  %s  ", clock);
    if (w->state == CLIENT_LIVE)
        buffer_str(out, C_("stream", "live"));
    else
        buffer_printf(out, "%s%s%s", o->colour ? "\033[7m" : "",
                      w->sentence[0] ? w->sentence : _("connecting..."),
                      o->colour ? "\033[0m" : "");
    buffer_printf(out, "   (%s)\n\n", _("Ctrl-C ends"));
}

static void draw(Watch *w, bool is_tty)
{
    Buffer text = BUFFER_INIT(OUTPUT_MAX), out = BUFFER_INIT(OUTPUT_MAX);
    TableOptions o = table_options();

    pthread_mutex_lock(&w->lock);
    o.stale = w->state != CLIENT_LIVE;
    draw_head(&text, w, &o);
    table_render(&text, w->world.services, w->world.n_services, w->world.pcs, w->world.n_pcs, &o);
    if (w->world.n_alerts)
        buffer_printf(&text, "\n%s\n", _("alerts"));
    render_alerts(&text, w->world.alerts, w->world.n_alerts, &o);
    if (w->world.n_transitions)
        buffer_printf(&text, "\n%s\n", _("last transitions"));
    for (size_t i = 0; i < RECENT_SHOWN && world_transition(&w->world, i); i++) {
        table_transition(&text, world_transition(&w->world, i), &o);
        buffer_char(&text, '\n');
    }
    pthread_mutex_unlock(&w->lock);

    if (is_tty)
        buffer_str(&out, "\033[H"); /* home; each line clears its own rest, so nothing flickers */
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\n' && is_tty)
            buffer_str(&out, "\033[K");
        buffer_char(&out, text.data[i]);
    }
    if (is_tty)
        buffer_str(&out, "\033[J");
    buffer_done(&text);
    cli_print(&out);
}

static void watch_loop(Watch *w, int signal_fd)
{
    bool is_tty = isatty(STDOUT_FILENO);
    struct pollfd fds[] = {{.fd = w->changed_fd, .events = POLLIN},
                           {.fd = signal_fd, .events = POLLIN}};
    uint64_t n;

    for (;;) {
        draw(w, is_tty);
        /* the ages grow by themselves: once a second is enough */
        if (poll(fds, ELEMENTS(fds), 1000) < 0 && errno != EINTR)
            return;
        if (fds[1].revents)
            return;
        if (fds[0].revents && read(w->changed_fd, &n, sizeof n) < 0)
            return;
    }
}

int cli_watch(int argc, char *argv[])
{
    static const ClientStreamOps ops = {.state = on_state, .message = on_message};
    const char *url = CLIENT_URL_DEFAULT;
    const CliOption options[] = {
        {"url", "URL", CLI_URL_MEANING, CLI_TEXT, &url, 0, 0},
    };
    const CliCommand command = {
        "watch", "", N_("Show every service live, until Ctrl-C."), options, ELEMENTS(options),
        0,       0};
    Watch w = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed_fd = -1};
    ClientStream *stream = NULL;
    sigset_t mask;

    int r = cli_parse(&command, argc, argv, NULL, NULL);
    if (r >= 0)
        return r;
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    CLEANUP_CLOSE int signal_fd = signalfd(-1, &mask, SFD_CLOEXEC);
    w.changed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (signal_fd < 0 || w.changed_fd < 0 || client_stream_new(url, NULL, &ops, &w, &stream) < 0) {
        close_fd(w.changed_fd);
        return cli_complain("watch", strerror(errno));
    }
    if (isatty(STDOUT_FILENO))
        printf("\033[?1049h\033[?25l"); /* alternate screen, no cursor */
    watch_loop(&w, signal_fd);
    if (isatty(STDOUT_FILENO))
        printf("\033[?25h\033[?1049l");
    fflush(stdout);
    client_stream_free(stream);
    world_done(&w.world);
    close_fd(w.changed_fd);
    return CLI_EXIT_OK;
}
