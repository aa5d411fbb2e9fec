/* The map over a tree of plain directories that looks like a cgroup tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "api/cgroup-map.h"
#include "basic/macro.h"

#define PAUSE UINT64_C(10000000)

static char root[64];
static CgroupMap *map;
static char name[64];

/* Makes a directory below the root, parents included, and returns its inode. "%U" stands for
 * user@UID.service. */
static uint64_t make(const char *path)
{
    char full[4000], user[128];
    struct stat st;
    unsigned uid = (unsigned)getuid();

    snprintf(user, sizeof user, "user.slice/user-%u.slice/user@%u.service", uid, uid);
    const char *rest = strncmp(path, "%U", 2) == 0 ? path + 2 : NULL;
    snprintf(full, sizeof full, "%s/%s%s", root, rest ? user : path, rest ? rest : "");
    for (char *at = full + strlen(root) + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = '\0';
        mkdir(full, 0700);
    }
    mkdir(full, 0700);
    assert_int_equal(stat(full, &st), 0);
    return st.st_ino;
}

static int set_up(void **state UNUSED)
{
    strcpy(root, "/tmp/test-cgroup-XXXXXX");
    strcpy(name, "untouched");
    return !mkdtemp(root) || cgroup_map_new(root, &map) < 0;
}

static int remove_one(const char *path, const struct stat *st UNUSED, int flag UNUSED,
                      struct FTW *ftw UNUSED)
{
    return remove(path);
}

static int tear_down(void **state UNUSED)
{
    map = cgroup_map_free(map);
    return nftw(root, remove_one, 20, FTW_DEPTH | FTW_PHYS);
}

static bool ask(uint64_t id, uint64_t now_us)
{
    return cgroup_map_service(map, id, now_us, name, sizeof name);
}

static void test_services_by_inode(void **state UNUSED)
{
    uint64_t user = make("%U/app.slice/web.service"), sub = make("%U/app.slice/web.service/a/b"),
             slice = make("%U/app.slice"), manager = make("%U"), init = make("%U/init.scope"),
             system = make("system.slice/system-x.slice/x@1.service"),
             session = make("user.slice/user-0.slice/session-3.scope"),
             stranger = make("user.slice/user-4242.slice/user@4242.service/app.slice/s.service");

    assert_true(ask(user, 1));
    assert_string_equal(name, "web.service");
    assert_true(ask(system, 1));
    assert_string_equal(name, "x@1.service");
    assert_true(ask(sub, 1));
    assert_string_equal(name, "web.service");
    const uint64_t unclear[] = {0, 1, slice, manager, init, session, stranger};
    strcpy(name, "untouched");
    for (size_t i = 0; i < ELEMENTS(unclear); i++)
        assert_false(ask(unclear[i], 1 + i * PAUSE));
    assert_string_equal(name, "untouched");
}

static void test_walks_seldom(void **state UNUSED)
{
    uint64_t now = 5;

    make("%U");
    assert_false(ask(12345, now));
    uint64_t late = make("%U/late.service");
    assert_false(ask(late, now + PAUSE - 1));
    assert_true(ask(late, now + PAUSE));
    uint64_t later = make("%U/later.service");
    assert_true(ask(late, now + PAUSE + 1));
    assert_false(ask(later, now + PAUSE + 1));
    assert_true(ask(later, now + 3 * PAUSE));
}

static void procs_write(const char *cgroup)
{
    char path[4200];
    FILE *f;

    make(cgroup);
    snprintf(path, sizeof path, "%s/%s/cgroup.procs", root, cgroup);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "999999999\nnonsense/../../x\n%d\n", getpid());
    fclose(f);
}

static void test_a_proxy_cannot_be_told(void **state UNUSED)
{
    char before[16] = "";

    prctl(PR_GET_NAME, before);
    procs_write("system.slice/docker.service");
    procs_write("system.slice/plain.service");
    assert_true(ask(make("system.slice/plain.service"), 1));
    prctl(PR_SET_NAME, "docker-proxy");
    assert_false(ask(make("system.slice/docker.service"), 1));
    prctl(PR_SET_NAME, before);
    assert_false(ask(make("system.slice/docker.service"), 2)); /* judged once in each walk */
}

static void test_is_bounded(void **state UNUSED)
{
    char path[512] = "system.slice/deep.service";
    uint64_t shallow = make(path), deepest = 0;

    for (int i = 0; i < 40; i++) {
        strcat(path, "/d");
        deepest = make(path);
    }
    assert_true(ask(shallow, 1));
    assert_false(ask(deepest, 1 + PAUSE));
    for (int i = 0; i < CGROUP_MAP_MAX + 10; i++) {
        snprintf(path, sizeof path, "%%U/s%d.service", i);
        make(path);
    }
    unsigned known = 0;
    for (int i = 0; i < CGROUP_MAP_MAX + 10; i++) {
        snprintf(path, sizeof path, "%%U/s%d.service", i);
        known += ask(make(path), 1 + 2 * PAUSE);
    }
    assert_int_equal(known, CGROUP_MAP_MAX);
}

static void test_hostile_names_and_links(void **state UNUSED)
{
    char link[128];
    uint64_t id = make("system.slice/\x1b[31mx.service");

    snprintf(link, sizeof link, "%s/system.slice/loop.service", root);
    assert_int_equal(symlink("..", link), 0);
    assert_true(ask(id, 1));
    assert_string_equal(name, "?[31mx.service");
    assert_false(ask(make("system.slice/.service"), 1 + PAUSE)); /* hidden, and no name */
}

int main(void)
{
#define CASE(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_services_by_inode),       CASE(test_walks_seldom),
        CASE(test_a_proxy_cannot_be_told),  CASE(test_is_bounded),
        CASE(test_hostile_names_and_links),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
