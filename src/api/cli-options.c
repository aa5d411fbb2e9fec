/* Options as tables: what --help shows is what is parsed.
 *
 * Tables hold English texts, marked by N_(); they are translated where they are printed. Names of
 * options and of their values are the same in every language, as in the man page. */
#include "api/cli-options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"

#define OPTIONS_MAX 16
#define FIRST_CODE  256 /* getopt's codes of the long options: 256 + index */

int cli_complain(const char *command, const char *text)
{
    char clean[768];

    text_clean(clean, sizeof clean, text, strlen(text));
    fprintf(stderr, "services_api %s: %s\n", command, clean);
    return CLI_EXIT_USAGE;
}

int cli_complain_no_daemon(const char *command)
{
    cli_complain(command, _("no daemon answers; start it with 'systemctl --user start "
                            "services_api' or 'services_api serve'"));
    return CLI_EXIT_BAD;
}

void cli_print(Buffer *b)
{
    if (b->len)
        fwrite(b->data, 1, b->len, stdout);
    fflush(stdout);
    buffer_done(b);
}

void cli_pad(const char *text, size_t columns)
{
    size_t width;
    size_t len = text_fit(text, columns, &width);

    printf("%.*s%*s", (int)len, text, (int)(columns - width), "");
}

static void print_help(const CliCommand *c)
{
    char left[64];

    printf(_("Usage: services_api %s [OPTION...]%s%s\n\n%s\n\n"), c->name,
           c->operands[0] ? " " : "", c->operands, i18n_text(c->summary));
    for (size_t i = 0; i < c->n_options; i++) {
        const CliOption *o = &c->options[i];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        printf("  %-24s %s\n", left, i18n_text(o->meaning));
    }
    printf("  %-24s %s\n", "-h, --help", _("show this help"));
}

static int take_number(const CliCommand *c, const CliOption *o, const char *text)
{
    char *end, complaint[256];

    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (errno || *end || end == text || text[0] == '-' || n < o->min || n > o->max) {
        snprintf(complaint, sizeof complaint, _("--%s wants a number from %u to %u, not '%s'"),
                 o->name, o->min, o->max, text);
        return cli_complain(c->name, complaint);
    }
    *(uint32_t *)o->value = (uint32_t)n;
    return -1;
}

static int take(const CliCommand *c, const CliOption *o, const char *text)
{
    switch (o->kind) {
    case CLI_FLAG: *(bool *)o->value = true; return -1;
    case CLI_TEXT: *(const char **)o->value = text; return -1;
    case CLI_NUMBER: break;
    }
    return take_number(c, o, text);
}

static int take_operands(const CliCommand *c, int argc, char *argv[], const char **ret, int *ret_n)
{
    int n = argc - optind;
    char complaint[256];

    if (n < c->min_operands || n > c->max_operands) {
        snprintf(complaint, sizeof complaint,
                 _("usage: services_api %s [OPTION...] %s (see --help)"), c->name, c->operands);
        return cli_complain(c->name, complaint);
    }
    for (int i = 0; i < n; i++)
        ret[i] = argv[optind + i];
    *ret_n = n;
    return -1;
}

int cli_parse(const CliCommand *command, int argc, char *argv[], const char **ret_operands,
              int *ret_n)
{
    struct option long_options[OPTIONS_MAX + 2] = {{"help", no_argument, NULL, 'h'}};
    char complaint[256];
    int code, n = 0;

    for (size_t i = 0; i < command->n_options && i < OPTIONS_MAX; i++)
        long_options[i + 1] = (struct option){
            command->options[i].name,
            command->options[i].argument ? required_argument : no_argument,
            NULL,
            FIRST_CODE + (int)i,
        };
    optind = 0; /* glibc: forget whatever an earlier parse left */
    opterr = 0;
    while ((code = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (code == 'h') {
            print_help(command);
            return CLI_EXIT_OK;
        }
        if (code < FIRST_CODE) {
            snprintf(complaint, sizeof complaint,
                     _("'%s' is no option of it, or lacks its value (see --help)"),
                     argv[optind - 1]);
            return cli_complain(command->name, complaint);
        }
        int r = take(command, &command->options[code - FIRST_CODE], optarg);
        if (r >= 0)
            return r;
    }
    int r = take_operands(command, argc, argv, ret_operands, &n);
    if (r < 0 && ret_n)
        *ret_n = n;
    return r;
}
