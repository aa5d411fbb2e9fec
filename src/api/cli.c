/* The command line: one table of commands. */
#include "api/cli.h"

#include <stdio.h>
#include <string.h>

#include "api/cli-action.h"
#include "api/cli-daemon.h"
#include "api/cli-notify.h"
#include "api/cli-options.h"
#include "api/cli-registry.h"
#include "api/cli-silence.h"
#include "api/cli-token.h"
#include "api/discover.h"
#include "api/doctor.h"
#include "basic/i18n.h"
#include "basic/log.h"
#include "basic/macro.h"

typedef struct Command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char *argv[]);
} Command;

static const Command commands[] = {
    {"status", N_("show every service once"), cli_status},
    {"watch", N_("show every service live"), cli_watch},
    {"check", N_("look at one service now"), cli_check},
    {"logs", N_("show the last journal lines of a service"), cli_logs},
    {"alerts", N_("show what is wrong, since when and why"), cli_alerts},
    {"ack", N_("say that somebody takes care of an alert"), cli_ack},
    {"silence", N_("send no notices of something for some time"), cli_silence},
    {"maintenance", N_("open no alerts of something for some time"), cli_maintenance},
    {"silences", N_("show silences and maintenance"), cli_silences},
    {"unsilence", N_("end one of them before its time"), cli_unsilence},
    {"action", N_("start, stop or restart a unit"), cli_action},
    {"audit", N_("show what was done to units, and by whom"), cli_audit},
    {"serve", N_("run the daemon"), cli_serve},
    {"discover", N_("propose a registry from what runs on a PC"), cli_discover},
    {"doctor", N_("tell what is missing between here and a PC"), cli_doctor},
    {"add", N_("add an app to the registry"), cli_add},
    {"import", N_("take a registry over from YAML"), cli_import},
    {"export", N_("write the registry as YAML"), cli_export},
    {"check-registry", N_("check a registry file"), cli_check_registry},
    {"check-config", N_("check a config file"), cli_check_config},
    {"notify-test", N_("send a test message by every configured way"), cli_notify_test},
    {"token", N_("tell where the token is, make a new one"), cli_token},
};

static int help(void)
{
    fputs(_("Usage: services_api COMMAND [OPTION...]\n\n"
            "Which of my services are alive, on which PC, and what died?\n\nCommands:\n"),
          stdout);
    for (size_t i = 0; i < ELEMENTS(commands); i++)
        printf("  %-16s %s\n", commands[i].name, i18n_text(commands[i].summary));
    printf("\n  %-16s %s\n  %-16s %s\n\n%s\n", "-h, --help", _("show this help"), "--version",
           _("show the version"),
           _("'services_api COMMAND --help' tells more; see also services_api(1)."));
    return CLI_EXIT_OK;
}

int cli_main(int argc, char *argv[])
{
    const char *word = argc > 1 ? argv[1] : "--help";

    i18n_init(NULL);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
        return help();
    if (strcmp(word, "--version") == 0) {
        puts("services_api " SERVICES_MONITOR_VERSION);
        return CLI_EXIT_OK;
    }
    for (size_t i = 0; i < ELEMENTS(commands); i++)
        if (strcmp(commands[i].name, word) == 0) {
            /* a command says what it found in words of its own; only the daemon logs its steps */
            if (commands[i].run != cli_serve)
                log_set_max_level(LOG_LEVEL_WARNING);
            return commands[i].run(argc - 1, argv + 1);
        }
    return cli_complain(word, _("there is no such command; 'services_api --help' lists them"));
}
