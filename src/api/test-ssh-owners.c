/* Units out of the cgroup paths that ss prints. */
#include "api/ssh-owners.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/probe-port.h"
#include "common/unit.h"

#define SLICE "/user.slice/user-1000.slice/user@1000.service"
#define LINE  "LISTEN 0 64 127.0.0.1:8401 0.0.0.0:* uid:1000 ino:1 sk:1 cgroup:"

static void check(SshOwners *o, const char *path, const char *unit)
{
    char name[UNIT_MAX + 1] = "";
    bool found = ssh_owners_find(o, port_cgroup_hash(path), name, sizeof name);

    assert_int_equal(found, unit != NULL);
    if (unit)
        assert_string_equal(name, unit);
}

static void test_read(void **state)
{
    static const char text[] =
        LINE SLICE "/app.slice/sqlite_api.service <->\n" LINE SLICE
                   "/app.slice/deep.service/sub/group <->\n" LINE
                   "/system.slice/ssh.service\n" LINE SLICE "/init.scope <->\n" LINE SLICE
                   "/app.slice/echo.socket <->\n" LINE "/system.slice/docker.service <->\n" LINE
                   "/ <->\nLISTEN 0 1 *:1 *:*\n" LINE "/system.slice/bad name.service";
    SshOwners o = {0};

    (void)state;
    assert_int_equal(ssh_owners_read(&o, text, strlen(text)), 0);
    check(&o, SLICE "/app.slice/sqlite_api.service", "sqlite_api.service");
    check(&o, SLICE "/app.slice/deep.service/sub/group", "deep.service");
    check(&o, "/system.slice/ssh.service", "ssh.service");
    check(&o, SLICE "/init.scope", NULL);
    check(&o, SLICE "/app.slice/echo.socket", NULL);
    check(&o, "/system.slice/docker.service", NULL);
    check(&o, "/", NULL);
    check(&o, "/nowhere.service", NULL);
    /* the next look replaces it all */
    assert_int_equal(ssh_owners_read(&o, "", 0), 0);
    check(&o, "/system.slice/ssh.service", NULL);
    ssh_owners_done(&o);
}

static void test_bounded(void **state)
{
    Buffer text = BUFFER_INIT(8U << 20);
    SshOwners o = {0};
    char path[400];

    (void)state;
    for (int i = 0; i < 6000; i++)
        buffer_printf(&text, LINE "/s/x%0200d.service <->\n", i);
    assert_int_equal(ssh_owners_read(&o, text.data, text.len), 0);
    assert_int_equal(o.n, SSH_OWNERS_MAX);
    snprintf(path, sizeof path, "/s/x%0200d.service", 17);
    check(&o, path, strrchr(path, '/') + 1);
    buffer_reset(&text);
    buffer_str(&text, LINE "/s/");
    for (int i = 0; i < 3000; i++)
        buffer_char(&text, 'a');
    buffer_str(&text, ".service\n");
    assert_int_equal(ssh_owners_read(&o, text.data, text.len), 0);
    assert_int_equal(o.n, 0);
    ssh_owners_done(&o);
    buffer_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
