/* The words of actions.
 *
 * systemd's result of a job is one of a dozen words and says little; why a start failed stands in
 * the unit's Result and in how its main process ended. Those two can disagree: when a command
 * around the main process failed (ExecStartPre=), the main process has not ended at all. */
#include "api/action-reason.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api/action.h"
#include "basic/macro.h"
#include "basic/text.h"

static const char *const verbs[ACTION_VERB_MAX] = {
    [ACTION_START] = "start", [ACTION_STOP] = "stop", [ACTION_RESTART] = "restart"};
static const char *const outcomes[ACTION_OUTCOME_MAX] = {[ACTION_REFUSED] = "refused",
                                                         [ACTION_REQUESTED] = "requested",
                                                         [ACTION_DONE] = "done",
                                                         [ACTION_FAILED] = "failed",
                                                         [ACTION_UNKNOWN] = "unknown"};
static const char *const origins[ACTION_ORIGIN_MAX] = {[ORIGIN_API] = "api",
                                                       [ORIGIN_CLI] = "cli",
                                                       [ORIGIN_DESKTOP] = "desktop",
                                                       [ORIGIN_AUTO_FIX] = "auto_fix"};

static const char *word_of(const char *const *words, int n, int value)
{
    return value >= 0 && value < n ? words[value] : NULL;
}

static int value_of(const char *const *words, int n, const char *s)
{
    for (int i = 0; s && i < n; i++)
        if (strcmp(words[i], s) == 0)
            return i;
    return -EINVAL;
}

#define DEFINE_WORDS(type, name, words, max)    \
    const char *name##_to_string(type value)    \
    {                                           \
        return word_of(words, max, (int)value); \
    }                                           \
    type name##_from_string(const char *s)      \
    {                                           \
        return (type)value_of(words, max, s);   \
    }

DEFINE_WORDS(ActionVerb, action_verb, verbs, ACTION_VERB_MAX)
DEFINE_WORDS(ActionOutcome, action_outcome, outcomes, ACTION_OUTCOME_MAX)
DEFINE_WORDS(ActionOrigin, action_origin, origins, ACTION_ORIGIN_MAX)

/* ---- why it failed ---- */

const char *action_reason_interface(const char *unit)
{
    switch (unit_kind_of(unit)) {
    case KIND_SERVICE: return "org.freedesktop.systemd1.Service";
    case KIND_SOCKET: return "org.freedesktop.systemd1.Socket";
    case KIND_TIMER: return "org.freedesktop.systemd1.Timer";
    case KIND_OTHER: break;
    }
    return NULL;
}

typedef struct Reason {
    char result[24];
    int32_t code, status;
} Reason;

/* One property of a{sv}: taken, or stepped over. */
static int read_property(sd_bus_message *m, Reason *ret)
{
    const char *key, *text;

    int r = sd_bus_message_read_basic(m, 's', &key);
    if (r <= 0)
        return r < 0 ? r : -EBADMSG;
    if (strcmp(key, "Result") == 0) {
        r = sd_bus_message_read(m, "v", "s", &text);
        if (r > 0)
            text_clean(ret->result, sizeof ret->result, text, strlen(text));
        return r;
    }
    if (strcmp(key, "ExecMainCode") == 0)
        return sd_bus_message_read(m, "v", "i", &ret->code);
    if (strcmp(key, "ExecMainStatus") == 0)
        return sd_bus_message_read(m, "v", "i", &ret->status);
    return sd_bus_message_skip(m, "v");
}

static int read_reason(sd_bus_message *m, Reason *ret)
{
    int r = sd_bus_message_enter_container(m, 'a', "{sv}");

    while (r > 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
        r = read_property(m, ret);
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
    }
    return r;
}

static void write_reason(const Reason *p, char *ret, size_t size)
{
    if (p->code == CLD_EXITED && p->status != 0)
        snprintf(ret, size, "exit code %d", p->status);
    else if (p->code == CLD_KILLED || p->code == CLD_DUMPED)
        snprintf(ret, size, "killed by signal %d", p->status);
    else if (strcmp(p->result, "exit-code") == 0) /* and its main process is not to blame */
        snprintf(ret, size, "a command that is to run before or after it failed");
    else if (strcmp(p->result, "start-limit-hit") == 0)
        snprintf(ret, size, "it was started too often within a short time");
    else if (p->result[0] && strcmp(p->result, "success") != 0)
        snprintf(ret, size, "%s", p->result);
    else
        ret[0] = '\0';
}

void action_reason_read(sd_bus_message *m, char *ret, size_t size)
{
    Reason reason = {""};

    ret[0] = '\0';
    if (!sd_bus_message_is_method_error(m, NULL) && read_reason(m, &reason) >= 0)
        write_reason(&reason, ret, size);
}

void action_reason_sentence(const char *job, const char *reason, char *ret, size_t size)
{
    static const struct {
        const char *job, *text;
    } texts[] = {
        {"failed", "it failed"},
        {"timeout", "it did not finish within its own time limit"},
        {"canceled", "another job has cancelled this one"},
        {"dependency", "something that it depends on failed"},
        {"skipped", "systemd found nothing to do: a condition of the unit is not met"},
        {"assert", "an assertion of the unit is not met"},
        {"unsupported", "units of this kind cannot be started here"},
    };

    for (size_t i = 0; i < ELEMENTS(texts); i++)
        if (strcmp(texts[i].job, job) == 0) {
            snprintf(ret, size, "%s%s%s", texts[i].text, reason[0] ? ": " : "", reason);
            return;
        }
    snprintf(ret, size, "systemd ended the job with '%s'", job);
}
