/* Shared by the files transport-ssh*.c: the connection's life, the operations, the polling. */
#pragma once

#include "api/ssh-argv.h"
#include "api/ssh-exec.h"
#include "api/ssh-owners.h"
#include "api/ssh-process.h"
#include "api/ssh-trial.h"
#include "api/transport-ssh.h"
#include "basic/macro.h"

#define SSH_HEALTH_MAX 64 /* requests in one run of curl */

typedef enum SshPhase {
    SSH_IDLE,       /* no process; the next attempt waits for its time */
    SSH_CONNECTING, /* from the start of ssh to the first word of the remote shell */
    SSH_CHECKING,   /* asking who we are there, and trying the forwards */
    SSH_UP,
    SSH_ENDING, /* the process was told to go */
} SshPhase;

typedef struct SshHealth {
    uint32_t handle, timeout_ms;
    uint64_t started_us;
    char *host, *target;
    HttpCallback callback;
    void *userdata;
} SshHealth;

typedef struct SshUnitsPoll {
    size_t n;                               /* units asked for; 0: nothing is out */
    size_t n_asked;                         /* with the services of timers behind them */
    size_t service_of[TRANSPORT_UNITS_MAX]; /* timer: the place of its service; 0: none */
    TransportUnits callback;
    void *userdata;
} SshUnitsPoll;

typedef struct SshTransport {
    Transport base;
    Nest *nest;
    SshLimiter *limiter;
    SshPace pace;
    char host[ID_MAX + 1], pc_id[ID_MAX + 1];

    SshPhase phase;
    SshProcess *process;
    SshShell *shell;
    SshSockets sockets;
    uint64_t deadline_us; /* of the phase; UINT64_MAX: none */
    uint64_t up_since_us;
    bool started;
    bool is_learning;   /* this log-in only learns the uid */
    bool has_learned;   /* and has: the next one follows at once */
    Cause told;         /* what the user of the transport knows */
    Cause ending_cause; /* why we end it; CAUSE_NONE: ssh's own words say it */

    bool uid_known, about_pending;
    bool bus_refused, tcp_refused, no_socket_socks;
    SshReport report;
    SshTrial bus_trial, socks_trial;

    uint16_t wanted[SSH_PORTS_MAX], forwarded[SSH_PORTS_MAX];
    size_t n_wanted, n_forwarded;

    PortTable ports;
    SshOwners owners;
    TransportPorts ports_callback;
    void *ports_userdata;

    SshUnitsPoll polls[SCOPE_MAX];

    SshHealth waiting[SSH_HEALTH_MAX], asked[SSH_HEALTH_MAX];
    size_t n_waiting, n_asked;
    uint64_t flush_us; /* mono: the waiting ones are asked then; 0: none */
} SshTransport;

static inline SshTransport *ssh_transport(Transport *t)
{
    return container_of(t, SshTransport, base);
}

/* transport-ssh.c */
void ssh_about_refresh(SshTransport *t); /* asks again which buses there are */

/* transport-ssh-poll.c */
int ssh_poll_units(Transport *t, UnitScope scope, const char *const *units, size_t n,
                   TransportUnits callback, void *userdata);
int ssh_poll_health(Transport *t, const HttpLook *look, Now now, HttpCallback callback,
                    void *userdata);
void ssh_health_flush(SshTransport *t, uint64_t now_us);
void ssh_health_drop(SshTransport *t); /* without callbacks */

/* transport-ssh-ops.c */
int ssh_bus_address(Transport *t, UnitScope scope, char *ret, size_t size);
int ssh_look_ports(Transport *t, Now now, TransportPorts callback, void *userdata);
int ssh_dial(Transport *t, const PortEntry *entry, HttpDial *ret);
int ssh_run(Transport *t, TransportCommand command, const char *input, uint32_t timeout_ms,
            TransportReply callback, void *userdata);
bool ssh_cgroup_service(Transport *t, uint64_t cgroup_id, char *name, size_t size);
void ssh_want_port(Transport *t, uint16_t port);
