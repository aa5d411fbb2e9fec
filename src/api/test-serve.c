/* The whole program without a PC around it: no user bus, no systemd, no other PC. A daemon and the
 * commands that talk to it; the lab shows the same on real systemd. What is asked here is that all
 * of it hangs together and says "unknown" of what it cannot see, and that it ends clean (under the
 * sanitizers, without leaks). */
#include "api/test-serve.h"

static void write_registry(const World *w)
{
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "pcs:\n- {pc_id: here}\n"
                     "apps:\n"
                     "- {app_id: door, port: %u, health_endpoint: /api/health}\n"
                     "- {app_id: nobody, port: 1}\n"
                     "- {app_id: unit, unit: unit.service}\n"
                     "service_targets:\n"
                     "- {app_id: door, pc_id: here, expected: running}\n"
                     "- {app_id: nobody, pc_id: here, expected: stopped}\n"
                     "- {app_id: unit, pc_id: here, expected: running}\n",
                     w->port);

    test_write(test_path(w->dir, "registry.yaml"), text, (size_t)n);
}

static int setup(void **state)
{
    World *w = world_new();

    write_registry(w);
    EXPECT(w, 0, "", "import", test_path(w->dir, "registry.yaml"));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

static void test_routes(void **state)
{
    World *w = *state;
    static const struct {
        const char *method, *path, *body;
        int status;
    } asked[] = {
        {"GET", "/api/services", "", 200},
        {"GET", "/api/services/door/here", "", 200},
        {"GET", "/api/services/door/here?transitions=5&hours=24&points=100&journal=0", "", 200},
        {"GET", "/api/services/door/here?points=x", "", 400},
        {"GET", "/api/services/door/there", "", 404},
        {"GET", "/api/services/unit/here", "", 200},
        {"POST", "/api/services/door/here/check", "{}", 200},
        {"POST", "/api/services/door/there/check", "{}", 404},
        {"POST", "/api/services/door/here/action", "{\"action\":\"restart\"}", 403},
        {"GET", "/api/pcs", "", 200},
        {"GET", "/api/transitions?limit=10", "", 200},
        {"GET", "/api/transitions?limit=-1", "", 400},
        {"GET", "/api/alerts", "", 200},
        {"GET", "/metrics", "", 200},
        {"GET", "/api/nothing", "", 404},
        {"PUT", "/api/services", "", 405},
    };

    serve(w);
    wait_for(w, "/api/services/door/here?journal=0", "\"actual\":\"running\"");
    wait_for(w, "/api/services/unit/here?journal=0", "\"cause\":\"no-bus\"");
    wait_for(w, "/api/services/nobody/here?journal=0", "\"actual\":\"inactive\"");
    for (size_t i = 0; i < ELEMENTS(asked); i++) {
        int status = request(w, asked[i].method, asked[i].path, asked[i].body);
        if (status != asked[i].status)
            fail_msg("%s %s: %d: %s", asked[i].method, asked[i].path, status, w->said);
    }
    stop(w);
}

static void test_commands_with_a_daemon(void **state)
{
    World *w = *state;

    serve(w);
    wait_for(w, "/api/services/door/here?journal=0", "\"actual\":\"running\"");
    EXPECT(w, 3, "no user bus", "status", "--url", w->url); /* unknown is the worst there is */
    EXPECT(w, 3, "\"door\"", "status", "--json", "--url", w->url);
    EXPECT(w, 0, "door", "check", "door", "here", "--url", w->url);
    EXPECT(w, 2, "stranger", "check", "stranger", "--url", w->url);
    EXPECT(w, 0, "\"door\"", "check", "door", "here", "--json", "--url", w->url);
    EXPECT(w, 0, "", "alerts", "--url", w->url);
    EXPECT(w, 0, "no silences", "silences", "--url", w->url);
    EXPECT(w, 0, "", "silence", "--app", "door", "--for", "1h", "--comment", "moving", "--url",
           w->url);
    EXPECT(w, 0, "", "maintenance", "--pc", "here", "--for", "30m", "--url", w->url);
    EXPECT(w, 0, "moving", "silences", "--url", w->url);
    EXPECT(w, 0, "\"comment\":\"moving\"", "silences", "--json", "--url", w->url);
    char id[24] = "";
    assert_int_equal(sscanf(strstr(w->said, "\"id\":"), "\"id\":%20[0-9]", id), 1);
    EXPECT(w, 0, id, "unsilence", id, "--url", w->url);
    EXPECT(w, 1, "404", "unsilence", "17", "--url", w->url);
    EXPECT(w, 1, "404", "ack", "17", "mine", "--url", w->url);
    EXPECT(w, 1, "", "action", "unit", "here", "restart", "--url", w->url); /* it is off */
    EXPECT(w, 0, "", "audit", "--url", w->url);
    /* another daemon: a clear line, and the first one goes on */
    EXPECT(w, 1, "services_api", "serve", "--self", "here", "--listen", w->listen);
    /* the registry changes while it runs */
    EXPECT(w, 0, "", "add", "late", "--port", "2", "--pc", "here");
    wait_for(w, "/api/services", "\"late\"");
    /* a broken one does not, and is told; nor does a broken config */
    const char *registry = test_path(w->dir, "services_api/registry.db");
    test_write(registry, "garbage", 7);
    wait_for(w, "/api/health", "registry.db");
    wait_for(w, "/api/services", "\"late\"");
    assert_int_equal(unlink(registry), 0);
    EXPECT(w, 0, "", "import", test_path(w->dir, "registry.yaml"));
    test_write(test_path(w->dir, "services_api/config.yaml"), "nonsense: 1\n", 12);
    assert_int_equal(kill(w->daemon, SIGHUP), 0);
    wait_for(w, "/api/health", "nonsense");
    test_write(test_path(w->dir, "services_api/config.yaml"), "alert_after_s: 60\n", 18);
    stop(w);
    /* its history goes on */
    serve(w);
    wait_for(w, "/api/services/door/here?journal=0", "\"actual\":\"running\"");
    stop(w);
}

static void test_commands_without_a_daemon(void **state)
{
    World *w = *state;
    char port[16];

    snprintf(port, sizeof port, "%u", w->port);
    EXPECT(w, 1, port, "status", "--self", "here"); /* nobody listens on door's port */
    EXPECT(w, 1, "no daemon answers", "alerts", "--url", w->url);
    EXPECT(w, 1, "no daemon answers", "logs", "door", "here", "--url", w->url);
    EXPECT(w, 1, "", "check", "door", "here", "--self", "here", "--url", w->url);
    EXPECT(w, 1, "", "audit", "--url", w->url);
    EXPECT(w, 1, "", "action", "unit", "here", "stop", "--url", w->url);
    EXPECT(w, 1, "", "silences", "--url", w->url);
    EXPECT(w, 2, "--for", "silence", "--app", "door", "--for", "soon", "--url", w->url);
    EXPECT(w, 2, "--app", "silence", "--for", "1h", "--url", w->url);
    EXPECT(w, 2, "number", "unsilence", "x", "--url", w->url);
    EXPECT(w, 0, "app_id: door", "export");
    EXPECT(w, 0, "", "check-registry");
    EXPECT(w, 2, "config.yaml", "check-config", "/nonexistent/config.yaml");
    EXPECT(w, 1, "no token", "token");
    EXPECT(w, 0, "", "token", "--rotate");
    EXPECT(w, 0, "token", "token");
    EXPECT(w, 1, "bus", "discover");
    EXPECT(w, 2, "notify", "notify-test");
    EXPECT(w, 1, "here", "doctor", "--self", "here");
    EXPECT(w, 2, "nonsense", "watch", "--nonsense");
    EXPECT(w, 2, "nonsense", "nonsense");
    EXPECT(w, 0, "Usage", "--help");
    EXPECT(w, 0, ".", "--version");
    EXPECT(w, 2, "nobody-knows", "serve", "--self", "nobody-knows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_routes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commands_with_a_daemon, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commands_without_a_daemon, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
