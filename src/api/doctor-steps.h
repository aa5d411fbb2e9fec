/* What stands between us and a PC, as a list of steps, each with what mends it. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "api/transport-ssh.h"

typedef enum DoctorState { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL, DOCTOR_UNTRIED } DoctorState;

typedef struct DoctorStep {
    const char *name;
    DoctorState state;
    char detail[256]; /* what was found, clean */
    char fix[512];    /* the command that mends it; "" none */
} DoctorStep;

#define DOCTOR_STEPS_MAX 16

typedef struct DoctorFacts {
    const char *host;  /* the alias; validated */
    char address[256]; /* HostName of `ssh -G`, clean; "": it could not be read */
    char user[64];     /* the remote user */
    char config_error[256];
    bool agent_here;       /* SSH_AUTH_SOCK is set where doctor runs */
    bool agent_in_service; /* and where services run */
    bool needs_agent;      /* the log-in only worked with the agent */
    SshReport ssh;         /* cause CAUSE_NONE: the connection is up */
    char tools[512];       /* "ss=yes\n..." */
} DoctorFacts;

/* Returns the number of steps. */
size_t doctor_judge_remote(const DoctorFacts *f, DoctorStep steps[DOCTOR_STEPS_MAX]);

typedef struct DoctorOwn {
    bool has_bus, has_manager, lingers, has_journal;
    char user[64];
} DoctorOwn;

size_t doctor_judge_own(const DoctorOwn *f, DoctorStep steps[DOCTOR_STEPS_MAX]);
