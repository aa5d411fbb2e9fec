/* The whole program on a PC with a user bus, and with another PC behind ssh: a real dbus-daemon on
 * which test-fake-systemd.h plays the manager in a process of its own, and scripts that stand in
 * for ssh, systemctl and journalctl. What the fake cannot show (what systemd really does) is the
 * lab's; here every part of a command, of an action and of a dead service's evidence is wired. */
#include "api/test-serve.h"

#include "api/test-fake-systemd.h"

#define JOB_PATH MANAGER_PATH "/job/7"

static pid_t bus_pid, manager_pid;

static const char ssh_well[] =
    "#!/bin/sh\n"
    "case $1 in -G) echo 'hostname 192.0.2.7'; echo 'user fn'; exit 0; esac\n"
    "echo 'Authenticated to x ([1.2.3.4]:22) using \"publickey\".' >&2\n"
    "for word; do :; done\n"
    "sh -c \"$word\" | sed -u 's/^bus=.*/bus=yes/'\n";
static const char systemctl[] = "#!/bin/sh\n"
                                "case \"$*\" in *is-active*) exit 0; esac\n"
                                "echo Id=well.service; echo LoadState=loaded\n"
                                "echo ActiveState=active; echo SubState=running\n"
                                "echo Type=simple; echo MainPID=42; echo Result=success\n";
static const char journalctl[] =
    "#!/bin/sh\n"
    "echo '{\"__REALTIME_TIMESTAMP\":\"1700000000000000\",\"PRIORITY\":\"3\",\"MESSAGE\":\"last "
    "words\"}'\n";

/* ---- the manager, in its own process ---- */

static void reply_unit_files(sd_bus_message *r)
{
    static const struct {
        const char *path, *state;
    } files[] = {
        {"/home/x/.config/systemd/user/own.service", "static"},
        {"/usr/lib/systemd/user/far-away.service", "static"},
        {"/usr/lib/systemd/user/taken.service", "enabled"},
        {"/usr/lib/systemd/user/gone.service", "masked"},
        {"/home/x/.config/systemd/user/many@.service", "enabled"},
        {"/home/x/.config/systemd/user/web.socket", "enabled"},
        {"/home/x/.config/systemd/user/backup.timer", "enabled"},
        {"/home/x/.config/systemd/user/backup.service", "static"},
        {"/home/x/.config/systemd/user/services_api.service", "enabled"},
        {"noslash.service", "enabled"},
    };

    assert_true(sd_bus_message_open_container(r, 'a', "(ss)") >= 0);
    for (size_t i = 0; i < ELEMENTS(files); i++)
        assert_true(sd_bus_message_append(r, "(ss)", files[i].path, files[i].state) >= 0);
    assert_true(sd_bus_message_close_container(r) >= 0);
}

/* What a verb does to the unit; bad.service dies of it. */
static const char *carry_out(const char *member, FakeUnit *u)
{
    bool dies = strcmp(u->name, "bad.service") == 0;

    u->changed_us = (uint64_t)clock_now().wall_ms * 1000;
    if (strcmp(member, "StopUnit") == 0) {
        u->active = "inactive";
        u->sub = "dead";
        u->main_pid = 0;
        return "done";
    }
    u->id++;
    u->active = dies ? "failed" : "active";
    u->sub = dies ? "failed" : "running";
    u->result = dies ? "exit-code" : "success";
    u->exec_code = dies ? 1 : 0;
    u->exec_status = dies ? 3 : 0;
    u->main_pid = dies ? 0 : 43;
    return dies ? "failed" : "done";
}

static void do_job(sd_bus_message *call)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    const char *unit;

    assert_true(sd_bus_message_read(call, "s", &unit) > 0);
    FakeUnit *u = fake_find(unit);
    const char *result = carry_out(sd_bus_message_get_member(call), u);
    assert_true(sd_bus_reply_method_return(call, "o", JOB_PATH) >= 0);
    fake_changed(u);
    assert_true(
        sd_bus_message_new_signal(fake, &m, MANAGER_PATH, MANAGER ".Manager", "JobRemoved") >= 0);
    assert_true(sd_bus_message_append(m, "uoss", 7U, JOB_PATH, unit, result) >= 0);
    assert_true(sd_bus_send(fake, m, NULL) >= 0);
}

static int answer_get(sd_bus_message *call)
{
    const char *interface, *property;

    assert_true(sd_bus_message_read(call, "ss", &interface, &property) > 0);
    if (strcmp(property, "Listen") == 0)
        return sd_bus_reply_method_return(call, "v", "a(ss)", 2, "Datagram", "/run/x", "Stream",
                                          "127.0.0.1:8405");
    if (strcmp(property, "Triggers") == 0)
        return sd_bus_reply_method_return(
            call, "v", "as", 1,
            strstr(sd_bus_message_get_path(call), "backup") ? "backup.service" : "web.service");
    sd_bus_message_rewind(call, true);
    return 0;
}

/* What the fake manager does not know; the rest is its own. */
static int on_more(sd_bus_message *m, void *userdata UNUSED, sd_bus_error *e UNUSED)
{
    const char *member = sd_bus_message_get_member(m);
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *r = NULL;

    if (!sd_bus_message_is_method_call(m, NULL, NULL))
        return 0;
    if (strcmp(member, "Get") == 0)
        return answer_get(m) > 0;
    if (strcmp(member, "ResetFailedUnit") == 0)
        return 1;
    if (strcmp(member, "ListUnitFiles") == 0 || strcmp(member, "GetAll") == 0) {
        assert_true(sd_bus_message_new_method_return(m, &r) >= 0);
        if (member[0] == 'L')
            reply_unit_files(r);
        else
            reply_get_all(r, fake_by_path(sd_bus_message_get_path(m)));
        assert_true(sd_bus_send(fake, r, NULL) >= 0);
        return 1;
    }
    if (strcmp(member, "StartUnit") == 0 || strcmp(member, "StopUnit") == 0 ||
        strcmp(member, "RestartUnit") == 0) {
        do_job(m);
        return 1;
    }
    return 0;
}

static _Noreturn void manager_main(int ready_fd)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* or a failure here would go on with the next test */
    fake_add("well.service");
    fake_add("bad.service");
    assert_true(sd_event_new(&event) >= 0);
    fake_start();
    assert_true(sd_bus_add_filter(fake, NULL, on_more, NULL) >= 0);
    if (write(ready_fd, "1", 1) == 1)
        sd_event_loop(event);
    _exit(1);
}

/* Until the process behind the pipe has said something; what it said is read into text. */
static void wait_ready(int fds[2], char *text, size_t size)
{
    close(fds[1]);
    ssize_t n = read(fds[0], text, size - 1);
    close(fds[0]);
    assert_true(n > 0);
    text[n] = '\0';
}

static void bus_start(const World *w)
{
    char wanted[300];
    int fds[2];

    snprintf(wanted, sizeof wanted, "--address=unix:path=%s/bus", w->dir);
    assert_int_equal(pipe(fds), 0);
    bus_pid = fork();
    if (bus_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execlp("dbus-daemon", "dbus-daemon", "--session", "--nofork", "--nosyslog",
               "--print-address=1", wanted, NULL);
        _exit(127);
    }
    wait_ready(fds, address, sizeof address);
    address[strcspn(address, "\n")] = '\0';
    assert_int_equal(pipe(fds), 0);
    manager_pid = fork();
    if (manager_pid == 0) {
        close(fds[0]);
        manager_main(fds[1]);
    }
    char word[2];
    wait_ready(fds, word, sizeof word);
}

/* ---- set-up ---- */

static void program(const World *w, const char *name, const char *text)
{
    const char *path = test_path(w->dir, name);

    test_write(path, text, strlen(text));
    chmod(path, 0700);
}

static void write_files(const World *w)
{
    static const char config[] = "features: {actions: true}\nalert_after_s: 0\n";
    char text[1024], path[600];
    int n = snprintf(text, sizeof text,
                     "pcs:\n- {pc_id: here}\n- {pc_id: far, ssh_host: far.example}\n"
                     "apps:\n"
                     "- {app_id: door, port: %u, health_endpoint: /api/health}\n"
                     "- {app_id: well, unit: well.service}\n"
                     "- {app_id: bad, unit: bad.service}\n"
                     "service_targets:\n"
                     "- {app_id: well, pc_id: here, expected: running}\n"
                     "- {app_id: bad, pc_id: here, expected: running}\n"
                     "- {app_id: door, pc_id: far, expected: running}\n"
                     "- {app_id: well, pc_id: far, expected: running}\n",
                     w->port);

    test_write(test_path(w->dir, "registry.yaml"), text, (size_t)n);
    mkdir(test_path(w->dir, "services_api"), 0700);
    test_write(test_path(w->dir, "services_api/config.yaml"), config, sizeof config - 1);
    program(w, "ssh", ssh_well);
    program(w, "systemctl", systemctl);
    program(w, "journalctl", journalctl);
    snprintf(path, sizeof path, "%s:/usr/sbin:/usr/bin:/sbin:/bin", w->dir);
    setenv("PATH", path, 1);
    unsetenv("SSH_AUTH_SOCK");
}

static int setup(void **state)
{
    World *w = world_new();

    write_files(w);
    EXPECT(w, 0, "", "import", test_path(w->dir, "registry.yaml"));
    bus_start(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    pid_t *const pids[] = {&manager_pid, &bus_pid};

    for (size_t i = 0; i < ELEMENTS(pids); i++) {
        if (*pids[i] > 0) {
            kill(*pids[i], SIGKILL);
            waitpid(*pids[i], NULL, 0);
        }
        *pids[i] = 0;
    }
    world_free(*state);
    return 0;
}

/* ---- tests ---- */

/* Until bad is not in that answer, for ten seconds at most. */
static void wait_gone(World *w, const char *path)
{
    for (int i = 0; i < 500; i++) {
        if (request(w, "GET", path, "") == 200 && !strstr(w->said, "\"bad\""))
            return;
        poll(NULL, 0, 20);
    }
    fail_msg("%s: %s", path, w->said);
}

/* Restarted, a service is done with; or it dies of it: then there is a transition with the dead
 * run's last words, and an alert that can be acknowledged. */
static void test_actions(void **state)
{
    World *w = *state;
    static const char smaller[] =
        "pcs: [{pc_id: here}]\napps: [{app_id: well, unit: well.service}]\n"
        "service_targets: [{app_id: well, pc_id: here, expected: stopped}]\n";
    long long id;

    serve(w);
    wait_for(w, "/api/services/well/here?journal=0", "\"actual\":\"running\"");
    wait_for(w, "/api/services/bad/here?journal=0", "\"actual\":\"running\"");
    EXPECT(w, 0, "done", "action", "well", "here", "restart", "--url", w->url);
    EXPECT(w, 0, "\"outcome\":\"done\"", "action", "well", "here", "stop", "--json", "--url",
           w->url);
    EXPECT(w, 1, "failed", "action", "bad", "here", "restart", "--url", w->url);
    wait_for(w, "/api/transitions?limit=10", "last words");
    EXPECT(w, 2, "start, stop or restart", "action", "bad", "here", "burn", "--url", w->url);
    EXPECT(w, 2, "name", "action", "../bad", "here", "stop", "--url", w->url);
    EXPECT(w, 1, "", "action", "nobody", "here", "stop", "--url", w->url);
    EXPECT(w, 0, "well/here", "audit", "--url", w->url);
    EXPECT(w, 0, "\"outcome\":\"failed\"", "audit", "--json", "--url", w->url);
    EXPECT(w, 0, "last words", "logs", "bad", "here", "--url", w->url);
    EXPECT(w, 2, "stranger", "logs", "stranger", "--url", w->url);
    wait_for(w, "/api/alerts", "\"app_id\":\"bad\"");
    assert_int_equal(sscanf(strstr(w->said, "\"id\":"), "\"id\":%lld", &id), 1);
    EXPECT(w, 0, "bad on here", "alerts", "--url", w->url);
    char number[24];
    snprintf(number, sizeof number, "%lld", id);
    EXPECT(w, 0, "acknowledged", "ack", number, "known", "--url", w->url);
    EXPECT(w, 2, "number", "ack", "x", "known", "--url", w->url);
    /* of what is taken out of the registry nothing is left */
    test_write(test_path(w->dir, "registry.yaml"), smaller, sizeof smaller - 1);
    EXPECT(w, 0, "", "import", test_path(w->dir, "registry.yaml"));
    wait_gone(w, "/api/services");
    wait_gone(w, "/api/alerts");
    stop(w);
}

/* Until the file has the text, for ten seconds at most. */
static void wait_output(World *w, const char *output, const char *text)
{
    for (int i = 0; i < 500; i++) {
        read_output(w, output);
        if (strstr(w->said, text))
            return;
        poll(NULL, 0, 20);
    }
    fail_msg("no '%s' in: %s", text, w->said);
}

/* What it draws until it is told to end. */
static void test_watch(void **state)
{
    World *w = *state;

    serve(w);
    wait_for(w, "/api/services/bad/here?journal=0", "\"actual\":\"running\"");
    test_write(test_path(w->dir, "watched"), "", 0);
    pid_t pid = start(w, "watched", (const char *const[]){"watch", "--url", w->url, NULL});
    wait_output(w, "watched", "  live   ");
    EXPECT(w, 0, "done", "action", "bad", "here", "stop", "--url", w->url);
    wait_output(w, "watched", "last transitions");
    kill(pid, SIGINT);
    assert_int_equal(ended(pid), 0);
    stop(w);
}

/* Its bus cannot be reached through this ssh: its units are asked by command. */
static void test_polled_pc(void **state)
{
    World *w = *state;

    serve(w);
    wait_for(w, "/api/services/well/far?journal=0", "\"actual\":\"running\"");
    wait_for(w, "/api/services/door/far?journal=0", "\"port_listening\":true");
    EXPECT(w, 0, "far", "check", "well", "far", "--url", w->url);
    stop(w);
    EXPECT(w, 1, "", "discover", "far");
    EXPECT(w, 1, "PC name", "discover", "far/away");
}

/* Each link of the chain to another PC, and what only the terminal's agent opens. */
static void test_doctor(void **state)
{
    World *w = *state;
    char refusing[sizeof ssh_well + 200];

    EXPECT(w, 0, "far (ssh far.example)", "doctor", "--self", "here");
    assert_non_null(strstr(w->said, "here (this PC)"));
    assert_non_null(strstr(w->said, "far.example is fn@192.0.2.7"));
    EXPECT(w, 2, "PC name", "doctor", "far/away");
    program(w, "ssh", "#!/bin/sh\necho 'line 3: Bad configuration option: x' >&2\nexit 255\n");
    EXPECT(w, 1, "Bad configuration option", "doctor", "far");
    const char *begin = strchr(ssh_well, '\n') + 1, *end = strstr(begin, "echo 'Auth");
    snprintf(refusing, sizeof refusing,
             "#!/bin/sh\n%.*s[ -n \"$SSH_AUTH_SOCK\" ] || { echo 'fn@far: Permission denied "
             "(publickey).' >&2; exit 255; }\n%s",
             (int)(end - begin), begin, end);
    program(w, "ssh", refusing);
    EXPECT(w, 1, "ssh-copy-id", "doctor", "far");
    setenv("SSH_AUTH_SOCK", "/nonexistent/agent", 1);
    EXPECT(w, 1, "only your ssh agent has the key", "doctor", "far");
    unsetenv("SSH_AUTH_SOCK");
}

static bool has(const World *w, const char *text)
{
    return strstr(w->said, text) != NULL;
}

/* Own and enabled units, with the socket's port; what a timer starts is the timer's. */
static void test_discover(void **state)
{
    World *w = *state;

    EXPECT(w, 0, "app_id: own", "discover");
    assert_true(has(w, "taken.service") && has(w, "web.socket") && has(w, "backup.timer"));
    assert_true(has(w, "8405"));
    assert_false(has(w, "far-away") || has(w, "gone") || has(w, "many@") ||
                 has(w, "backup.service"));
    EXPECT(w, 0, "far-away", "discover", "--all");
    EXPECT(w, 0, "4 new services", "discover", "--write", "--registry",
           test_path(w->dir, "services_api/registry.db"));
    EXPECT(w, 0, "web", "export");
    kill(bus_pid, SIGKILL);
    EXPECT(w, 1, "", "discover");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_actions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_polled_pc, setup, teardown),
        cmocka_unit_test_setup_teardown(test_doctor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_discover, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
