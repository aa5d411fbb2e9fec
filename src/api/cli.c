/* The command line: one table of commands. */
#include "api/cli.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "api/cli-daemon.h"
#include "api/cli-notify.h"
#include "api/cli-options.h"
#include "api/cli-registry.h"
#include "api/discover.h"
#include "api/doctor.h"
#include "basic/macro.h"

typedef struct Command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char *argv[]);
} Command;

static const Command commands[] = {
    {"status", "show every service once", cli_status},
    {"watch", "show every service live", cli_watch},
    {"check", "look at one service now", cli_check},
    {"logs", "show the last journal lines of a service", cli_logs},
    {"alerts", "show what is wrong, since when and why", cli_alerts},
    {"serve", "run the daemon", cli_serve},
    {"discover", "propose a registry from what runs on a PC", cli_discover},
    {"doctor", "tell what is missing between here and a PC", cli_doctor},
    {"add", "add an app to the registry", cli_add},
    {"import", "take a registry over from YAML", cli_import},
    {"export", "write the registry as YAML", cli_export},
    {"check-registry", "check a registry file", cli_check_registry},
    {"check-config", "check a config file", cli_check_config},
    {"notify-test", "send a test message by every configured way", cli_notify_test},
};

static int help(void)
{
    printf("Usage: services_api COMMAND [OPTION...]\n\n"
           "Which of my services are alive, on which PC, and what died?\n\nCommands:\n");
    for (size_t i = 0; i < ELEMENTS(commands); i++)
        printf("  %-16s %s\n", commands[i].name, commands[i].summary);
    printf("\n  %-16s %s\n  %-16s %s\n\n'services_api COMMAND --help' tells more; see also "
           "services_api(1).\n",
           "-h, --help", "show this help", "--version", "show the version");
    return CLI_EXIT_OK;
}

int cli_main(int argc, char *argv[])
{
    const char *word = argc > 1 ? argv[1] : "--help";

    setlocale(LC_CTYPE, "");
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
        return help();
    if (strcmp(word, "--version") == 0) {
        puts("services_api " SERVICES_MONITOR_VERSION);
        return CLI_EXIT_OK;
    }
    for (size_t i = 0; i < ELEMENTS(commands); i++)
        if (strcmp(commands[i].name, word) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return cli_complain(word, "there is no such command; 'services_api --help' lists them");
}
