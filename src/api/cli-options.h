/* Options of the commands in cli-daemon.c and discover.c: one table per command, for getopt_long(3)
 * and for --help alike. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/buffer.h"

#define CLI_EXIT_OK      0
#define CLI_EXIT_BAD     1 /* something warns or is down; the thing asked for could not be done */
#define CLI_EXIT_USAGE   2 /* usage, config or registry */
#define CLI_EXIT_UNKNOWN 3

/* The meaning of an option --url. */
#define CLI_URL_MEANING N_("the daemon (default http://127.0.0.1:8485)")

typedef enum CliOptionKind { CLI_FLAG, CLI_TEXT, CLI_NUMBER } CliOptionKind;

typedef struct CliOption {
    const char *name;     /* without "--" */
    const char *argument; /* "FILE"; NULL: a flag */
    const char *meaning;  /* N_("...") */
    CliOptionKind kind;
    void *value;       /* bool *, const char ** or uint32_t * */
    uint32_t min, max; /* of a number */
} CliOption;

typedef struct CliCommand {
    const char *name;
    const char *operands; /* "APP [PC]", "" */
    const char *summary;  /* N_("...") */
    const CliOption *options;
    size_t n_options;
    int min_operands, max_operands;
} CliCommand;

/* Parses argv (argv[0] is the command's word). Operands are left in ret_operands (max_operands
 * long). Returns -1 to go on, else the exit code: --help was printed, or a complaint. */
int cli_parse(const CliCommand *command, int argc, char *argv[], const char **ret_operands,
              int *ret_n);

/* "services_api status: text" on stderr; returns CLI_EXIT_USAGE. */
int cli_complain(const char *command, const char *text);
/* That no daemon answers and how to start it; returns CLI_EXIT_BAD. */
int cli_complain_no_daemon(const char *command);

/* Prints the buffer on stdout, at once, and frees it. */
void cli_print(Buffer *b);

/* Prints text cut and padded to that many columns. */
void cli_pad(const char *text, size_t columns);
