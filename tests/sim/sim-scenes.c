/* Stories that are told by hand instead of by a seed: each is one promise of how the monitor
 * behaves when something large happens. The checker watches these, too; what is asked here beyond
 * it is how many times somebody would have been told. */
#include <stdio.h>
#include <stdlib.h>

#include "basic/macro.h"
#include "sim-play.h"

#define PCS      4
#define SERVICES 12

typedef struct Scene {
    const char *name;
    void (*play)(Sim *s);
} Scene;

static void expect(Sim *s, bool holds, const char *what)
{
    if (!holds)
        sim_fail(s, what, NULL);
}

static void pass(Sim *s, int seconds)
{
    for (int i = 0; i < seconds; i++) {
        sim_second(s);
        sim_check(s);
        sim_check_client(s);
    }
}

static uint32_t opened(const Sim *s, IncidentKind kind)
{
    return s->told[kind][INCIDENT_OPEN];
}

static int count(const Sim *s, int pc, Actual actual)
{
    int n = 0;

    for (int i = 0; i < SERVICES; i++)
        n += s->world.pcs[pc].services[i].service->track.shown.actual == actual;
    return n;
}

/* R8: its services stop, it is away for 40 s, and they come one after the other. */
static void reboot(Sim *s)
{
    uint64_t before = s->pc_transitions;

    sim_reboot(&s->world, &s->world.pcs[1], 40 * USEC_PER_SEC);
    pass(s, 300);
    expect(s, s->told[INCIDENT_REBOOT][INCIDENT_CLOSED] == 1, "a reboot is not one incident");
    expect(s, opened(s, INCIDENT_PC) + opened(s, INCIDENT_ALL_PCS) == 0, "a reboot alerts as a PC");
    expect(s, opened(s, INCIDENT_SERVICE) == 0, "a reboot alerts as a service");
    expect(s, s->pc_transitions - before == 2, "a reboot is more than one way there and back");
    expect(s, s->last_pc_cause == CAUSE_REBOOTED, "history does not tell of the reboot");
    expect(s, count(s, 1, ACTUAL_RUNNING) == SERVICES, "not all came back after the reboot");
    expect(s, !incidents_first(s->incidents), "something of the reboot is left over");
}

/* A PC that reboots again and again is told of once in a grace. */
static void boot_loop(Sim *s)
{
    for (int i = 0; i < 10; i++) {
        sim_reboot(&s->world, &s->world.pcs[1], 2 * USEC_PER_SEC);
        pass(s, 12);
    }
    expect(s, s->world.pcs[1].reboots_due == 10, "a reboot of the loop was not seen");
    expect(s, s->told[INCIDENT_REBOOT][INCIDENT_CLOSED] <= 5, "a boot loop is told of too often");
    expect(s, opened(s, INCIDENT_SERVICE) == 0, "a boot loop alerts as a service");
}

/* R1 */
static void partition(Sim *s)
{
    sim_cut_or_heal(&s->world, &s->world.pcs[2]);
    pass(s, 15);
    expect(s, count(s, 2, ACTUAL_UNREACHABLE) == SERVICES, "not all of a cut PC is unreachable");
    pass(s, 105);
    expect(s, opened(s, INCIDENT_PC) == 1, "a cut PC is not one incident");
    expect(s, opened(s, INCIDENT_SERVICE) + opened(s, INCIDENT_ALL_PCS) == 0,
           "a cut PC is more than one incident");
    sim_cut_or_heal(&s->world, &s->world.pcs[2]);
    pass(s, 20);
    expect(s, count(s, 2, ACTUAL_RUNNING) == SERVICES, "a healed PC is not shown as it is");
    pass(s, 30);
    expect(s, s->told[INCIDENT_PC][INCIDENT_CLOSED] == 1, "a healed PC's incident stays open");
    expect(s, s->pc_transitions == 2, "a partition is more than one way there and back");
}

/* R3 */
static void monitor_cut_off(Sim *s)
{
    for (int p = 1; p < PCS; p++)
        sim_cut_or_heal(&s->world, &s->world.pcs[p]);
    pass(s, 200);
    expect(s, opened(s, INCIDENT_ALL_PCS) == 1, "being cut off is not one incident");
    expect(s, opened(s, INCIDENT_PC) + opened(s, INCIDENT_SERVICE) == 0,
           "being cut off is more than one incident");
    for (int p = 1; p < PCS; p++)
        sim_cut_or_heal(&s->world, &s->world.pcs[p]);
    pass(s, 60);
    expect(s, s->told[INCIDENT_ALL_PCS][INCIDENT_CLOSED] == 1, "the incident does not end");
    expect(s, !incidents_first(s->incidents), "something is left over");
}

/* R7: each 2 s for 10 min. */
static void flapping(Sim *s)
{
    SimPc *pc = &s->world.pcs[1];
    SimService *it = &pc->services[3];

    for (int i = 0; i < 300; i++) {
        if (i % 2)
            sim_come_up(&s->world, pc, it);
        else
            sim_die(&s->world, pc, it);
        pass(s, 2);
    }
    pass(s, 60);
    expect(s, opened(s, INCIDENT_SERVICE) == 1, "flapping opens more or less than one incident");
    expect(s, s->told[INCIDENT_SERVICE][INCIDENT_CLOSED] == 1, "flapping closes it more than once");
    expect(s, it->service->track.shown.actual == ACTUAL_RUNNING, "the last state is not shown");
    expect(s, s->failures == 150, "history does not hold every flip");
}

/* R11: one died just before and is back when we wake; one is dead for good. */
static void sleep_of_ten_minutes(Sim *s)
{
    SimPc *pc = &s->world.pcs[1];
    SimService *back = &pc->services[0], *dead = &pc->services[1];

    sim_die(&s->world, pc, back);
    sim_die(&s->world, pc, dead);
    pass(s, 5);
    fleet_book(s->world.fleet, s->world.now, false);
    uint64_t observed = s->observed_ms;
    back->restart_us = s->world.now.mono_us + 300 * USEC_PER_SEC;
    pc->next_us = 0;
    sim_sleep(&s->world, 600 * USEC_PER_SEC);
    sim_second(s);
    uint64_t now_ms = (uint64_t)s->world.now.wall_ms;
    pass(s, 9);
    for (int p = 0; p < PCS; p++)
        for (int i = 0; i < SERVICES; i++)
            expect(s, s->world.pcs[p].services[i].service->last_check_ms >= (int64_t)now_ms - 1000,
                   "not all was looked at within 10 s of waking");
    fleet_book(s->world.fleet, s->world.now, false);
    uint64_t awake_ms = 10000U * PCS * SERVICES;
    expect(s, s->observed_ms - observed <= awake_ms, "the time asleep counts as observed");
    expect(s, s->observed_ms - observed >= awake_ms / 2, "the time awake does not count");
    expect(s,
           opened(s, INCIDENT_SERVICE) + opened(s, INCIDENT_PC) + opened(s, INCIDENT_ALL_PCS) == 0,
           "something is told because we slept");
    pass(s, 60);
    expect(s, opened(s, INCIDENT_SERVICE) == 1, "what is dead for good is told, and nothing else");
}

static bool play(const Scene *scene)
{
    Sim *s = calloc(1, sizeof *s);
    bool good = false;

    if (s && sim_begin(s, 1, PCS, SERVICES, NULL) >= 0) {
        pass(s, 30);
        scene->play(s);
        good = !s->world.failure[0];
        printf("%s: %s\n", scene->name, good ? "ok" : s->world.failure);
    }
    if (s)
        sim_end(s);
    free(s);
    return good;
}

unsigned sim_scenes(void)
{
    static const Scene scenes[] = {
        {"reboot", reboot},       {"boot loop", boot_loop},
        {"partition", partition}, {"monitor cut off", monitor_cut_off},
        {"flapping", flapping},   {"sleep of ten minutes", sleep_of_ten_minutes},
    };
    unsigned broken = 0;

    for (size_t i = 0; i < ELEMENTS(scenes); i++)
        broken += !play(&scenes[i]);
    return broken;
}
