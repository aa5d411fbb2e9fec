/* services_monitor: options and the order of life. Everything else is in the library beside it. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/log.h"
#include "basic/macro.h"
#include "common/client.h"
#include "common/name.h"
#include "monitor/app.h"
#include "monitor/script.h"

#define EXIT_USAGE    2
#define SCREENSHOT_MS 15000

typedef struct Arguments {
    AppOptions app;
    const char *screenshot;
    const char *script;
    bool done; /* --help, --version: nothing more to do */
} Arguments;

enum {
    OPTION_URL = 256,
    OPTION_SSH,
    OPTION_SCREENSHOT,
    OPTION_SCRIPT,
    OPTION_PANEL,
    OPTION_SCALE,
    OPTION_THEME,
    OPTION_LANG,
    OPTION_SIZE,
    OPTION_SOFTWARE,
    OPTION_RECORD,
    OPTION_NOW,
    OPTION_NO_SETTINGS,
    OPTION_VERSION
};

static const struct option options[] = {
    {"url", required_argument, NULL, OPTION_URL},
    {"ssh", required_argument, NULL, OPTION_SSH},
    {"panel", required_argument, NULL, OPTION_PANEL},
    {"screenshot", required_argument, NULL, OPTION_SCREENSHOT},
    {"script", required_argument, NULL, OPTION_SCRIPT},
    {"scale", required_argument, NULL, OPTION_SCALE},
    {"theme", required_argument, NULL, OPTION_THEME},
    {"lang", required_argument, NULL, OPTION_LANG},
    {"size", required_argument, NULL, OPTION_SIZE},
    {"software", no_argument, NULL, OPTION_SOFTWARE},
    {"record", required_argument, NULL, OPTION_RECORD},
    {"now", required_argument, NULL, OPTION_NOW},
    {"no-settings", no_argument, NULL, OPTION_NO_SETTINGS},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static void help(void)
{
    printf(_("Usage: services_monitor [OPTION]...\n"
             "Shows live which systemd services on which PCs are as they should be.\n"
             "\n"
             "  --url URL            talk to this daemon (default %s)\n"
             "  --ssh HOST           talk to the daemon of HOST through ssh\n"
             "  --panel PLACE        open at: overview, pcs, services, live, alerts, pc/PC,\n"
             "                       app/APP[/PC]\n"
             "  --theme dark|light\n"
             "  --lang en|es\n"
             "  --scale N            0.75 to 3\n"
             "  --size WxH           size of the window\n"
             "  --software           draw without OpenGL\n"
             "  --no-settings        neither read nor write the settings file\n"
             "  --screenshot FILE    write a picture (PNG) without opening a window\n"
             "  --script FILE        run a scripted test without opening a window\n"
             "  --record FILE        write where each item of the window is, for tests\n"
             "  --now MS             let the clock stand still, for comparable pictures\n"
             "  --version            show the version\n"
             "  -h, --help           show this help\n"
             "\n"
             "See also services_monitor(1).\n"),
           CLIENT_URL_DEFAULT);
}

static int bad_value(const char *option, const char *value, const char *right)
{
    log_error(_("--%s: \"%s\" is not right: %s"), option, value, right);
    return EXIT_USAGE;
}

static int set_size(Arguments *args, const char *value)
{
    int width, height, used = 0;

    if (sscanf(value, "%dx%d%n", &width, &height, &used) != 2 || value[used] || width < 640 ||
        height < 400 || width > 16384 || height > 16384)
        return bad_value("size", value, _("WxH from 640x400 to 16384x16384"));
    args->app.width = width;
    args->app.height = height;
    return 0;
}

static int set_scale(Arguments *args, const char *value)
{
    char *end;
    float scale = strtof(value, &end);

    if (end == value || *end || !(scale >= 0.75F && scale <= 3))
        return bad_value("scale", value, _("a number from 0.75 to 3"));
    args->app.scale = scale;
    return 0;
}

static int set_now(Arguments *args, const char *value)
{
    char *end;
    long long now = strtoll(value, &end, 10);

    if (end == value || *end || now <= 0)
        return bad_value("now", value, _("Unix milliseconds"));
    args->app.now_ms = now;
    return 0;
}

static int set_look(Arguments *args, int option, const char *value)
{
    Place place;

    if (option == OPTION_THEME) {
        if (strcmp(value, "dark") != 0 && strcmp(value, "light") != 0)
            return bad_value("theme", value, _("dark or light"));
        args->app.dark = strcmp(value, "dark") == 0;
    } else if (option == OPTION_LANG) {
        if (strlen(value) < 2 || strlen(value) > 15)
            return bad_value("lang", value, _("a language such as en or es"));
        args->app.language = value;
    } else {
        if (!place_parse(value, &place))
            return bad_value("panel", value,
                             _("overview, pcs, services, live, alerts, pc/PC or app/APP[/PC]"));
        args->app.panel = value;
    }
    return 0;
}

static int set_option(Arguments *args, int option, const char *value)
{
    switch (option) {
    case OPTION_URL:
        if (!name_is_health_url(value))
            return bad_value("url", value, _("http://HOST[:PORT]"));
        args->app.url = value;
        return 0;
    case OPTION_SSH:
        if (!name_is_ssh_host(value))
            return bad_value("ssh", value,
                             _("a host name or an alias of ~/.ssh/config; for user@host make a "
                               "Host entry there"));
        args->app.ssh_host = value;
        return 0;
    case OPTION_THEME:
    case OPTION_LANG:
    case OPTION_PANEL: return set_look(args, option, value);
    case OPTION_SCREENSHOT: args->screenshot = value; return 0;
    case OPTION_SCRIPT: args->script = value; return 0;
    case OPTION_SCALE: return set_scale(args, value);
    case OPTION_SIZE: return set_size(args, value);
    case OPTION_SOFTWARE: args->app.software = true; return 0;
    case OPTION_RECORD: args->app.record = value; return 0;
    case OPTION_NOW: return set_now(args, value);
    case OPTION_NO_SETTINGS: args->app.remember = false; return 0;
    case OPTION_VERSION:
        puts("services_monitor " SERVICES_MONITOR_VERSION);
        args->done = true;
        return 0;
    case 'h':
        help();
        args->done = true;
        return 0;
    default: return EXIT_USAGE;
    }
}

static int parse(int argc, char **argv, Arguments *args)
{
    int option;

    *args = (Arguments){.app = {.dark = -1, .remember = true}};
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        int r = set_option(args, option, optarg);
        if (r != 0 || args->done)
            return r;
    }
    if (optind < argc) {
        log_error(_("an argument too many: %s"), argv[optind]);
        return EXIT_USAGE;
    }
    if (args->app.url && args->app.ssh_host) {
        log_error("%s", _("--url and --ssh exclude each other"));
        return EXIT_USAGE;
    }
    if (args->screenshot || args->script) {
        args->app.headless = true;
        args->app.remember = false;
    }
    return 0;
}

static int run(const Arguments *args)
{
    CLEANUP(app_freep) App *app = NULL;
    char error[512] = "";
    int r = app_new(&args->app, &app, error, sizeof error);

    if (r < 0) {
        log_error("%s", error[0] ? error : strerror(-r));
        return EXIT_FAILURE;
    }
    if (args->script)
        return script_run(app, args->script);
    if (!args->screenshot)
        return app_run(app);
    r = screenshot_take(app, args->screenshot, SCREENSHOT_MS);
    if (r < 0)
        log_error("%s: %s", args->screenshot,
                  app->model->has_snapshot ? strerror(-r) : app->model->sentence);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    Arguments args;

    signal(SIGPIPE, SIG_IGN);
    i18n_init(NULL);
    int r = parse(argc, argv, &args);
    return r != 0 || args.done ? r : run(&args);
}
