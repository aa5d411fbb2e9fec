/* The daemon explains itself in English sentences: they go into logs, the API and the history, and
 * whoever reads those later need not speak the language of whoever runs it. For another language
 * both programs recognise them by their pattern and say them again: each "{}" of a pattern stands
 * for any text, which is carried over as it is (numbers, names, signals).
 *
 * A sentence that no pattern knows is shown as it came: a true English sentence is worth more than
 * a vague translated one. The patterns are those of src/api/reconcile.c, incident.c and action.c,
 * and of the refusals that a person meets; a test feeds every cause through. */
#include "common/sentence.h"

#include <stdio.h>
#include <string.h>

#include "basic/i18n.h"
#include "basic/macro.h"
#include "basic/text.h"

#define PARTS_MAX 4

typedef struct Part {
    const char *start;
    size_t len;
} Part;

/* The exact ones first, then from the strict to the loose: the first match counts. */
static const char *const patterns[] = {
    N_("it crashed and dumped core"),
    N_("it did not start or stop in time"),
    N_("it hung and systemd's watchdog ended it"),
    N_("it was killed because memory ran out"),
    N_("it failed too often; systemd does not restart it any more"),
    N_("systemd had no resources to start it"),
    N_("it did not follow the protocol of its unit type"),
    N_("it failed"),
    N_("it is not running"),
    N_("its unit is masked, so it cannot be started"),
    N_("its unit file has an error and does not load"),
    N_("it is starting"),
    N_("it has been starting for more than 90 s"),
    N_("it is stopping"),
    N_("the service that this timer starts has failed"),
    N_("it runs, but is expected to be stopped"),
    N_("the health request was reset"),
    N_("the health request was closed without an answer"),
    N_("the health endpoint does not speak HTTP"),
    N_("the host name of the health URL does not resolve"),
    N_("the TLS handshake with the health URL failed"),
    N_("the health endpoint could not be asked"),
    N_("it has not been checked yet"),
    N_("there is no user bus (dbus-user-session missing, or nobody is logged in and linger is "
       "off)"),
    N_("the systemd user manager is not running"),
    N_("the systemd manager answers with errors"),
    N_("the PC does not answer (frozen, suspended or cut off)"),
    N_("its host name does not resolve"),
    N_("it refuses the ssh connection (is sshd running?)"),
    N_("it does not answer the ssh connection in time"),
    N_("there is no route to it"),
    N_("its host key is not known yet (connect once by hand)"),
    N_("its host key has changed"),
    N_("it refuses our ssh key"),
    N_("its sshd forbids forwarding"),
    N_("its login shell does not answer"),
    N_("the ssh configuration has an error"),
    N_("ssh failed"),
    N_("no other PC can be reached: this one seems to be cut off"),
    N_("it was rebooted"),
    N_("its PC was rebooted"),
    N_("the daemon restarts itself: the one that comes will say how it ended"),
    N_("this daemon is the one that came"),
    N_("the daemon ended before systemd had reported"),
    N_("a command that is to run before or after it failed"),
    N_("it was started too often within a short time"),
    N_("it did not finish within its own time limit"),
    N_("another job has cancelled this one"),
    N_("something that it depends on failed"),
    N_("systemd found nothing to do: a condition of the unit is not met"),
    N_("an assertion of the unit is not met"),
    N_("units of this kind cannot be started here"),
    N_("systemd was asked, but its report cannot be received"),
    N_("systemd's answer cannot be understood"),
    N_("the connection to the PC's systemd was lost before it was asked"),
    N_("the connection to the PC's systemd was lost before it reported"),
    N_("systemd could not be asked"),
    N_("systemd does not answer"),
    N_("systemd was still at work after 10 minutes"),
    N_("the history cannot be written, and nothing is done without a record of it"),
    N_("the registry has no such app on such a PC; GET /api/services lists them"),
    N_("the registry has no such app or PC; GET /api/services lists them"),
    N_("no alert that is open or pending has this id"),
    N_("no silence that is in force or still to come has this id"),
    N_("Actions are switched off (features.actions in config.yaml)."),
    N_("too many requests are waiting, try again later"),
    N_("the service has just left the registry"),
    N_("at most 30 within a minute"),
    N_("at most 100 in 10 s"),
    N_("there are 1,000 already; end some of them first"),
    N_("it begins and ends in the future and lasts at most a year"),
    N_("the mail server took it"),
    N_("the mail server answers {}"),
    N_("the server answers {}: redirects are not followed"),
    N_("the server answers {}"),
    N_("the server answers something that is no HTTP"),
    N_("its name cannot be resolved in time"),
    N_("its name cannot be resolved"),
    N_("there is no host of that name"),
    N_("no answer in time"),
    N_("mail needs notify.smtp_url, notify.mail_from and notify.mail_to"),
    N_("notify.smtp_user and notify.smtp_password_file go together"),
    N_("the file with the mail password cannot be read: {}"),
    N_("the file with the mail password must be your own, with mode 0600: chmod 600 it"),
    N_("the file with the mail password must hold one line of at most 255 bytes"),
    N_("{}; auto_fix has stopped after {} starts within {} s"),
    N_("auto_fix has stopped after {} starts within {} s"),
    N_("exit code {} after {} restarts"),
    N_("exit code {} after {} restart"),
    N_("exit code {}"),
    N_("killed by signal {}"),
    N_("killed by {} after {} restarts"),
    N_("killed by {} after {} restart"),
    N_("killed by {}"),
    N_("port {} is held by pid {} ({})"),
    N_("port {} is held by {}"),
    N_("port {} is closed"),
    N_("there is no unit {} on this PC"),
    N_("it does not accept connections on port {} ({} are waiting)"),
    N_("{} of {} on {} failed: {}"),
    N_("{} of {} on {} was not done: {}"),
    N_("{} of {} on {} has an unknown outcome: {}"),
    N_("{} more requests were refused within a minute"),
    N_("systemd ended the job with '{}'"),
    N_("systemd refuses: {}"),
    N_("{} actions are under way already; try again later"),
    N_("the systemd manager of {} cannot be reached at the moment: {}"),
    N_("the systemd manager of {} cannot be reached at the moment"),
    N_("{} is not reachable: {}"),
    N_("{} is only polled, because its sshd forwards nothing: what changes a unit needs its bus"),
    N_("{} has no unit in the registry, only a port or a health endpoint"),
    N_("{} is a unit of the system's manager: only units of the user are acted upon"),
    N_("this is the daemon itself, and stopped it could not be started again from here; use '{}' "
       "on {}"),
    N_("{} is being acted upon already; wait until that has ended"),
    N_("it failed: {}"),
    N_("it did not finish within its own time limit: {}"),
    N_("something that it depends on failed: {}"),
    N_("{}: none of its {} user services can be seen"),
    N_("{} refuses the connection"),
    N_("{} answers {}"),
    N_("{} gives no answer within {} ms"),
};

/* Where the literal text up to the next "{}" is found; the gap before it is a part. */
static bool match(const char *pattern, const char *s, Part parts[static PARTS_MAX], size_t *ret_n)
{
    size_t n = 0;

    for (;;) {
        const char *hole = strstr(pattern, "{}");
        size_t literal = hole ? (size_t)(hole - pattern) : strlen(pattern);
        if (strncmp(s, pattern, literal) != 0)
            return false;
        s += literal;
        if (!hole) {
            *ret_n = n;
            return *s == '\0';
        }
        pattern = hole + 2;
        const char *next_hole = strstr(pattern, "{}");
        size_t tail = next_hole ? (size_t)(next_hole - pattern) : strlen(pattern);
        const char *end = tail ? memmem(s, strlen(s), pattern, tail) : s + strlen(s);
        if (!end || end == s || n == PARTS_MAX)
            return false;
        parts[n++] = (Part){s, (size_t)(end - s)};
        s = end;
    }
}

/* The parts keep their order in every language. */
static void compose(char ret[static SENTENCE_MAX], const char *format, const Part *parts, size_t n)
{
    size_t len = 0, next = 0;

    while (*format && len + 1 < SENTENCE_MAX) {
        if (strncmp(format, "{}", 2) == 0 && next < n) {
            size_t room = MIN(parts[next].len, SENTENCE_MAX - 1 - len);
            memcpy(ret + len, parts[next].start, room);
            len += room;
            next++;
            format += 2;
        } else
            ret[len++] = *format++;
    }
    ret[len] = '\0';
}

/* A part may be a sentence of its own: depth bounds how far that goes. */
static bool translate(char ret[static SENTENCE_MAX], const char *sentence, int depth)
{
    Part parts[PARTS_MAX];
    char inner[PARTS_MAX][SENTENCE_MAX], whole[SENTENCE_MAX], text[SENTENCE_MAX];
    size_t n;

    for (size_t i = 0; i < ELEMENTS(patterns); i++) {
        if (!match(patterns[i], sentence, parts, &n))
            continue;
        for (size_t k = 0; k < n && depth > 0; k++) {
            snprintf(text, sizeof text, "%.*s", (int)parts[k].len, parts[k].start);
            if (translate(inner[k], text, depth - 1))
                parts[k] = (Part){inner[k], strlen(inner[k])};
        }
        compose(whole, i18n_text(patterns[i]), parts, n);
        text_clean(ret, SENTENCE_MAX, whole, strlen(whole));
        return true;
    }
    return false;
}

const char *sentence_translate(char ret[static SENTENCE_MAX], const char *sentence)
{
    if (strcmp(i18n_language(), "en") != 0 && translate(ret, sentence, 2))
        return ret;
    return text_copy(ret, SENTENCE_MAX, sentence);
}
