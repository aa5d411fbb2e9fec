/* token: tells where the token is, prints it only when asked to, puts a new one in its place.
 *
 * It works on the file alone: a daemon that runs follows the file by itself, and one that does not
 * run will read it at its start. So a rotation needs no answer of a daemon, and works while that is
 * locked out by the very token that leaked. */
#include "api/cli-token.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "api/cli-options.h"
#include "api/paths.h"
#include "api/token.h"
#include "basic/i18n.h"
#include "basic/macro.h"

static int run(const char *path, bool rotate, bool show)
{
    char token[TOKEN_SIZE] = "", why[256] = "", text[512];
    int r = rotate ? token_renew(path, token, why, sizeof why)
                   : token_read(path, token, why, sizeof why);

    if (r == -ENOENT && !rotate) {
        snprintf(text, sizeof text,
                 _("there is no token at %.200s yet: the daemon's first start makes one, and so "
                   "does --rotate"),
                 path);
        cli_complain("token", text);
        return CLI_EXIT_BAD;
    }
    if (r < 0) {
        snprintf(text, sizeof text, "%.200s: %s", path, why);
        return cli_complain("token", text);
    }
    if (show)
        printf("%s\n", token);
    else if (rotate)
        printf(_("a new token is in %s; a daemon that runs takes it over now and refuses the old "
                 "one\n"),
               path);
    else
        printf(_("the token is in %s\n"), path);
    explicit_bzero(token, sizeof token);
    return CLI_EXIT_OK;
}

int cli_token(int argc, char *argv[])
{
    CLEANUP_FREE char *standard = paths_token();
    const char *path = standard;
    bool rotate = false, show = false;
    const CliOption options[] = {
        {"rotate", NULL, N_("make a new one; who has the old one is shut out"), CLI_FLAG, &rotate,
         0, 0},
        {"show", NULL, N_("print the token itself"), CLI_FLAG, &show, 0, 0},
        {"token-file", "FILE", N_("default: token in the XDG config directory"), CLI_TEXT, &path, 0,
         0},
    };
    const CliCommand command = {
        "token",
        "",
        N_("Tell where the token is, which lets other users and other PCs in."),
        options,
        ELEMENTS(options),
        0,
        0,
    };
    int code = cli_parse(&command, argc, argv, NULL, NULL);

    if (code >= 0)
        return code;
    if (!path)
        return cli_complain("token",
                            _("neither XDG_CONFIG_HOME nor HOME is set, give --token-file"));
    return run(path, rotate, show);
}
