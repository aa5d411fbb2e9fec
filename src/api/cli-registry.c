/* Commands that work on files alone: no daemon is asked, and a running one notices the new registry
 * by itself.
 *
 * A registry file is taken for what its first bytes say it is, SQLite or YAML, so check-registry
 * takes either. Whatever a command writes is checked whole before the first byte of it is written.
 */
#include "api/cli-registry.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/cli-options.h"
#include "api/config.h"
#include "api/paths.h"
#include "api/registry-yaml.h"
#include "api/registry.h"
#include "basic/i18n.h"
#include "basic/macro.h"
#include "common/name.h"

#define YAML_OUT_MAX  (256U << 20) /* the longest registry there can be is shorter */
#define REGISTRY_HELP N_("registry.db (default: the XDG data directory)")

static int complain_errno(const char *command, const char *path, int error)
{
    char text[PATH_MAX + 128];

    snprintf(text, sizeof(text), "%s: %s", path, strerror(-error));
    return cli_complain(command, text);
}

/* For a failure whose sentence may be missing (out of memory). */
static int complain_error(const char *command, const char *sentence, int error)
{
    return cli_complain(command, *sentence ? sentence : strerror(-error));
}

/* The registry's path: what was given, or the default. NULL after a complaint. */
static char *registry_path(const char *command, const char *given)
{
    char *path = given ? strdup(given) : paths_registry();

    if (!path)
        cli_complain(command, _("neither XDG_DATA_HOME nor HOME is set, give --registry FILE"));
    return path;
}

/* These speak of their errors and return the exit code. */
static int load_yaml(const char *command, const char *path, const Buffer *text, Registry **ret)
{
    RegistryError error = {};
    const char *name = strcmp(path, "-") == 0 ? "stdin" : path;
    int e = registry_yaml_parse(name, text->data ? text->data : "", text->len, ret, &error);

    return e < 0 ? complain_error(command, error.text, e) : CLI_EXIT_OK;
}

static int load_db(const char *command, const char *path, Registry **ret)
{
    RegistryError error = {};
    int e = registry_load(path, ret, &error);

    return e < 0 ? complain_error(command, error.text, e) : CLI_EXIT_OK;
}

static int read_text(const char *command, const char *path, Buffer *text)
{
    int e = paths_read(path, text);

    if (e == -EFBIG)
        return cli_complain(command, _("the file is longer than 8 MiB"));
    return e < 0 ? complain_errno(command, path, e) : CLI_EXIT_OK;
}

static int save(const char *command, const char *path, const Registry *r)
{
    RegistryError error = {};
    int e = registry_save(path, r, &error);

    return e < 0 ? complain_error(command, error.text, e) : CLI_EXIT_OK;
}

#define COUNTS_MAX 256

/* "2 PCs, 11 apps, 22 targets" */
static const char *counts_of(const Registry *r, char ret[static COUNTS_MAX])
{
    char pcs[64], apps[64], targets[64];

    snprintf(pcs, sizeof pcs, P_("%zu PC", "%zu PCs", r->n_pcs), r->n_pcs);
    snprintf(apps, sizeof apps, P_("%zu app", "%zu apps", r->n_apps), r->n_apps);
    snprintf(targets, sizeof targets, P_("%zu target", "%zu targets", r->n_targets), r->n_targets);
    snprintf(ret, COUNTS_MAX, "%s, %s, %s", pcs, apps, targets);
    return ret;
}

int cli_import(int argc, char *argv[])
{
    CLEANUP(buffer_done) Buffer text = BUFFER_INIT(REGISTRY_YAML_MAX);
    CLEANUP(registry_freep) Registry *r = NULL;
    CLEANUP_FREE char *path = NULL;
    const char *registry = NULL, *file = NULL;
    char counts[COUNTS_MAX];
    const CliOption options[] = {
        {"registry", "FILE", REGISTRY_HELP, CLI_TEXT, &registry, 0, 0},
    };
    const CliCommand command = {
        "import",
        "FILE|-",
        N_("Replaces the registry by what a YAML file says, all of it or nothing."),
        options,
        ELEMENTS(options),
        1,
        1,
    };
    int code = cli_parse(&command, argc, argv, &file, NULL);

    if (code >= 0)
        return code;
    path = registry_path(argv[0], registry);
    if (!path || read_text(argv[0], file, &text) || load_yaml(argv[0], file, &text, &r) ||
        save(argv[0], path, r))
        return CLI_EXIT_USAGE;
    printf(_("imported %s into %s\n"), counts_of(r, counts), path);
    return CLI_EXIT_OK;
}

static int write_out(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* file NULL: stdout */
static int write_yaml(const char *command, const Registry *r, const char *file)
{
    CLEANUP(buffer_done) Buffer yaml = BUFFER_INIT(YAML_OUT_MAX);

    registry_yaml_write(r, &yaml);
    if (buffer_error(&yaml))
        return complain_errno(command, "the YAML", buffer_error(&yaml));
    fflush(stdout);
    CLEANUP_CLOSE int fd = file ? open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)
                                : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    int e = fd < 0 ? -errno : write_out(fd, yaml.data, yaml.len);
    return e < 0 ? complain_errno(command, file ? file : "stdout", e) : CLI_EXIT_OK;
}

int cli_export(int argc, char *argv[])
{
    CLEANUP(registry_freep) Registry *r = NULL;
    CLEANUP_FREE char *path = NULL;
    const char *registry = NULL, *file = NULL;
    char counts[COUNTS_MAX];
    const CliOption options[] = {
        {"registry", "FILE", REGISTRY_HELP, CLI_TEXT, &registry, 0, 0},
    };
    const CliCommand command = {
        "export", "[FILE|-]",        N_("Writes the registry as YAML, to stdout by default."),
        options,  ELEMENTS(options), 0,
        1,
    };
    int code = cli_parse(&command, argc, argv, &file, NULL);

    if (code >= 0)
        return code;
    if (file && strcmp(file, "-") == 0)
        file = NULL;
    path = registry_path(argv[0], registry);
    if (!path || load_db(argv[0], path, &r) || write_yaml(argv[0], r, file))
        return CLI_EXIT_USAGE;
    if (file)
        printf(_("exported %s to %s\n"), counts_of(r, counts), file);
    return CLI_EXIT_OK;
}

/* What `add` was told. Texts are borrowed from argv. */
typedef struct Addition {
    const char *registry, *app_id, *unit, *scope, *health, *title, *tag, *pc_id, *ssh_host,
        *expected;
    uint32_t port, timeout_ms;
    bool local_only;
} Addition;

/* An existing registry, or an empty one where there is none yet. */
static int load_or_new(const char *command, const char *path, Registry **ret)
{
    RegistryError error = {};
    int e = registry_load(path, ret, &error);

    if (e == -ENOENT) {
        *ret = calloc(1, sizeof(**ret));
        e = *ret ? 0 : -ENOMEM;
        *error.text = '\0';
    }
    return e < 0 ? complain_error(command, error.text, e) : CLI_EXIT_OK;
}

/* The PC to add to: the one that was named, else this one, under the id it has or under its host
 * name. */
static int choose_pc(const char *command, const char *named, const Registry *r,
                     char ret[static HOST_NAME_MAX + 1])
{
    const RegistryPc *self = NULL;
    RegistryError error;

    if (named) {
        snprintf(ret, HOST_NAME_MAX + 1, "%s", named);
        return strlen(named) <= HOST_NAME_MAX ? CLI_EXIT_OK
                                              : cli_complain(command, _("--pc is too long"));
    }
    if (gethostname(ret, HOST_NAME_MAX + 1) < 0)
        return cli_complain(command, _("this PC has no host name, give --pc PC"));
    ret[HOST_NAME_MAX] = '\0';
    if (registry_self(r, NULL, ret, &self, &error) == 0)
        snprintf(ret, HOST_NAME_MAX + 1, "%s", self->pc_id);
    else if (!name_is_id(ret))
        return cli_complain(command, _("the host name of this PC cannot be its id, give --pc PC"));
    return CLI_EXIT_OK;
}

/* "sqlite_api" means sqlite_api.service, as with systemctl. */
static char *complete_unit(const char *unit)
{
    char *completed;

    if (!unit)
        return NULL;
    if (name_is_unit(unit) || asprintf(&completed, "%s.service", unit) < 0)
        return strdup(unit);
    if (!name_is_unit(completed)) {
        free(completed);
        return strdup(unit); /* to be refused as it was written */
    }
    return completed;
}

static int add_to(const char *command, const Addition *a, const char *pc_id, Registry *r)
{
    CLEANUP_FREE char *unit = complete_unit(a->unit);
    RegistryError error = {};
    RegistryPc pc = {.pc_id = (char *)pc_id, .ssh_host = (char *)a->ssh_host};
    RegistryApp app = {
        .app_id = (char *)a->app_id,
        .title = (char *)a->title,
        .tag = (char *)a->tag,
        .unit = unit,
        .scope = a->scope ? unit_scope_from_string(a->scope) : SCOPE_USER,
        .port = (uint16_t)a->port,
        .health = (char *)a->health,
        .timeout_ms = a->timeout_ms,
        .is_local_only = a->local_only,
    };
    RegistryTarget target = {
        .app_id = app.app_id,
        .pc_id = pc.pc_id,
        .expected = a->expected ? expected_from_string(a->expected) : EXPECTED_RUNNING,
    };
    bool has_target = !a->local_only || a->pc_id || a->expected;

    if (app.scope == SCOPE_INVALID)
        return cli_complain(command, _("--scope: use user or system"));
    if (target.expected == EXPECTED_INVALID)
        return cli_complain(command, _("--expected: use running or stopped"));
    int e = registry_add(r, &pc, &app, has_target ? &target : NULL, &error);
    return e < 0 ? complain_error(command, error.text, e) : CLI_EXIT_OK;
}

static int add(const char *command, const Addition *a)
{
    CLEANUP(registry_freep) Registry *r = NULL;
    CLEANUP_FREE char *path = registry_path(command, a->registry);
    char pc_id[HOST_NAME_MAX + 1];

    if (!path || load_or_new(command, path, &r) || choose_pc(command, a->pc_id, r, pc_id))
        return CLI_EXIT_USAGE;
    bool known = registry_find_app(r, a->app_id);
    if (add_to(command, a, pc_id, r) || save(command, path, r))
        return CLI_EXIT_USAGE;
    printf(known ? _("replaced %s on %s in %s\n") : _("added %s on %s in %s\n"), a->app_id, pc_id,
           path);
    return CLI_EXIT_OK;
}

int cli_add(int argc, char *argv[])
{
    Addition a = {};
    const CliOption options[] = {
        {"unit", "UNIT", N_("systemd unit (without suffix: a .service)"), CLI_TEXT, &a.unit, 0, 0},
        {"scope", "user|system", N_("whose systemd runs it (default user)"), CLI_TEXT, &a.scope, 0,
         0},
        {"port", "PORT", N_("TCP port it listens on"), CLI_NUMBER, &a.port, 1, UINT16_MAX},
        {"health", "PATH|URL", N_("HTTP endpoint, 2xx or 3xx while it is well"), CLI_TEXT,
         &a.health, 0, 0},
        {"timeout-ms", "N", N_("how long that may take (default 2000)"), CLI_NUMBER, &a.timeout_ms,
         100, 3599500},
        {"title", "TEXT", N_("a readable name"), CLI_TEXT, &a.title, 0, 0},
        {"tag", "TEXT", N_("a word to group by"), CLI_TEXT, &a.tag, 0, 0},
        {"pc", "PC", N_("the PC it runs on (default: this one)"), CLI_TEXT, &a.pc_id, 0, 0},
        {"ssh-host", "HOST", N_("the PC's Host entry in ~/.ssh/config"), CLI_TEXT, &a.ssh_host, 0,
         0},
        {"expected", "running|stopped", N_("what it should be (default running)"), CLI_TEXT,
         &a.expected, 0, 0},
        {"local-only", NULL, N_("every PC has it and watches its own"), CLI_FLAG, &a.local_only, 0,
         0},
        {"registry", "FILE", REGISTRY_HELP, CLI_TEXT, &a.registry, 0, 0},
    };
    const CliCommand command = {
        "add",
        "APP",
        N_("Adds one service to the registry, or replaces the one of that name."),
        options,
        ELEMENTS(options),
        1,
        1,
    };
    int code = cli_parse(&command, argc, argv, &a.app_id, NULL);

    return code >= 0 ? code : add(argv[0], &a);
}

static bool is_database(const char *path)
{
    static const char magic[] = "SQLite format 3"; /* its NUL included: 16 bytes */
    char head[sizeof(magic)];
    CLEANUP_CLOSE int fd =
        strcmp(path, "-") == 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    return fd >= 0 && pread(fd, head, sizeof(head), 0) == sizeof(head) &&
           memcmp(head, magic, sizeof(magic)) == 0;
}

static bool ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);

    return n >= m && strcmp(s + n - m, suffix) == 0;
}

/* file NULL: the registry.db in use */
static int check_registry(const char *command, const char *file, const char *registry)
{
    CLEANUP(buffer_done) Buffer text = BUFFER_INIT(REGISTRY_YAML_MAX);
    CLEANUP(registry_freep) Registry *r = NULL;
    CLEANUP_FREE char *fallback = file ? NULL : registry_path(command, registry);
    const char *path = file ? file : fallback;
    char counts[COUNTS_MAX];

    if (!path)
        return CLI_EXIT_USAGE;
    if (!file || is_database(path) || ends_with(path, ".db")) {
        if (load_db(command, path, &r))
            return CLI_EXIT_USAGE;
    } else if (read_text(command, path, &text) || load_yaml(command, path, &text, &r)) {
        return CLI_EXIT_USAGE;
    }
    printf(_("good: %s in %s\n"), counts_of(r, counts), strcmp(path, "-") == 0 ? "stdin" : path);
    return CLI_EXIT_OK;
}

int cli_check_registry(int argc, char *argv[])
{
    const char *file = NULL, *registry = NULL;
    const CliOption options[] = {
        {"registry", "FILE", REGISTRY_HELP, CLI_TEXT, &registry, 0, 0},
    };
    const CliCommand command = {
        "check-registry",
        "[FILE|-]",
        N_("Checks a registry, YAML or registry.db, without changing anything."),
        options,
        ELEMENTS(options),
        0,
        1,
    };
    int code = cli_parse(&command, argc, argv, &file, NULL);

    return code >= 0 ? code : check_registry(argv[0], file, registry);
}

static int print_keys(void)
{
    CLEANUP(buffer_done) Buffer table = BUFFER_INIT(65536);

    config_write_keys(&table);
    fputs(buffer_cstr(&table), stdout);
    return CLI_EXIT_OK;
}

static int check_config(const char *command, const char *file)
{
    CLEANUP(config_freep) Config *c = NULL;
    CLEANUP_FREE char *fallback = file ? NULL : paths_config();
    const char *path = file ? file : fallback;
    ConfigError error = {};

    if (!path)
        return cli_complain(command, _("neither XDG_CONFIG_HOME nor HOME is set, give FILE"));
    bool absent = access(path, F_OK) < 0 && errno == ENOENT;
    if (absent && file)
        return complain_errno(command, path, -ENOENT);
    int e = config_load(path, &c, &error);
    if (e < 0)
        return complain_error(command, error.text, e);
    printf(absent ? _("good: there is no %s, so the defaults hold\n") : _("good: %s\n"), path);
    return CLI_EXIT_OK;
}

int cli_check_config(int argc, char *argv[])
{
    bool keys = false;
    const char *file = NULL;
    const CliOption options[] = {
        {"keys", NULL, N_("list every key there is, with its default"), CLI_FLAG, &keys, 0, 0},
    };
    const CliCommand command = {
        "check-config",
        "[FILE]",
        N_("Checks a config file without changing anything."),
        options,
        ELEMENTS(options),
        0,
        1,
    };
    int code = cli_parse(&command, argc, argv, &file, NULL);

    if (code >= 0)
        return code;
    return keys ? print_keys() : check_config(argv[0], file);
}
