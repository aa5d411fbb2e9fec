/* The words of actions: names of what is asked and what came of it, and the sentence for a job that
 * failed, from systemd's word on the job and the unit's own properties. */
#pragma once

#include <stddef.h>
#include <systemd/sd-bus.h>

/* The D-Bus interface whose properties say why a unit of that name failed; NULL: there is none. */
const char *action_reason_interface(const char *unit);

/* From the answer to GetAll; "" when it says nothing of use. */
void action_reason_read(sd_bus_message *m, char *ret, size_t size);

/* job: JobRemoved's result, cleaned. reason: of action_reason_read(). */
void action_reason_sentence(const char *job, const char *reason, char *ret, size_t size);
