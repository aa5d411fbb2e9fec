/* The words of OpenSSH 9.2, as they were caught. */
#include "api/ssh-cause.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "basic/macro.h"

#define AUTHENTICATED "Authenticated to home-wsl ([10.77.0.12]:22) using \"publickey\".\n"
#define GOODBYE                                                                            \
    "Transferred: sent 3552, received 3336 bytes, in 0.1 seconds\nBytes per second: sent " \
    "41740.5, received 39202.2\n"

typedef struct Said {
    Cause cause;
    const char *text;
    const char *last;
    bool authenticated;
    int status;
} Said;

static const Said table[] = {
    {CAUSE_HOST_REFUSED, "ssh: connect to host home-wsl port 4: Connection refused\r\n",
     "ssh: connect to host home-wsl port 4: Connection refused", false, 255},
    {CAUSE_HOST_UNKNOWN,
     "ssh: Could not resolve hostname nosuch.invalid: Temporary failure in name resolution\r\n",
     "ssh: Could not resolve hostname nosuch.invalid: Temporary failure in name resolution", false,
     255},
    {CAUSE_HOST_KEY_UNKNOWN,
     "No ED25519 host key is known for home-wsl and you have requested strict checking.\r\n"
     "Host key verification failed.\r\n",
     "Host key verification failed.", false, 255},
    {CAUSE_HOST_KEY_CHANGED,
     "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r\n"
     "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n"
     "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r\n"
     "IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r\n"
     "Host key for home-wsl has changed and you have requested strict checking.\r\n"
     "Host key verification failed.\r\n",
     "Host key verification failed.", false, 255},
    {CAUSE_KEY_REFUSED, "fn@home-wsl: Permission denied (publickey).\r\n",
     "fn@home-wsl: Permission denied (publickey).", false, 255},
    {CAUSE_KEY_REFUSED,
     "no such identity: /nonexist: No such file or directory\r\n"
     "fn@home-wsl: Permission denied (publickey).\r\n",
     "fn@home-wsl: Permission denied (publickey).", false, 255},
    {CAUSE_KEY_REFUSED,
     "Received disconnect from 10.77.0.12 port 22:2: Too many authentication failures\r\n"
     "Disconnected from 10.77.0.12 port 22\r\n",
     "Disconnected from 10.77.0.12 port 22", false, 255},
    {CAUSE_SSH_CONFIG,
     "/home/fn/.ssh/config: line 1: Bad configuration option: bogus\r\n"
     "/home/fn/.ssh/config: terminating, 1 bad configuration options\r\n",
     "/home/fn/.ssh/config: terminating, 1 bad configuration options", false, 255},
    {CAUSE_SSH_CONFIG,
     "/home/fn/.ssh/config line 1: Bad port 'abc'.\r\n"
     "/home/fn/.ssh/config: terminating, 1 bad configuration options\r\n",
     "/home/fn/.ssh/config: terminating, 1 bad configuration options", false, 255},
    {CAUSE_SSH_CONFIG, "Bad owner or permissions on /home/fn/.ssh/config\r\n",
     "Bad owner or permissions on /home/fn/.ssh/config", false, 255},
    {CAUSE_SSH_CONFIG, "Bad dynamic forwarding specification '/run/x.s'\n",
     "Bad dynamic forwarding specification '/run/x.s'", false, 255},
    {CAUSE_HOST_UNROUTABLE, "ssh: connect to host 10.77.0.99 port 22: No route to host\r\n",
     "ssh: connect to host 10.77.0.99 port 22: No route to host", false, 255},
    {CAUSE_HOST_UNROUTABLE, "ssh: connect to host 8.8.8.8 port 22: Network is unreachable\r\n",
     "ssh: connect to host 8.8.8.8 port 22: Network is unreachable", false, 255},
    /* through a jump host: the more telling words count */
    {CAUSE_HOST_UNROUTABLE,
     "ssh: connect to host 10.77.0.99 port 22: No route to host\r\n"
     "kex_exchange_identification: Connection closed by remote host\r\n"
     "Connection closed by UNKNOWN port 65535\r\n",
     "Connection closed by UNKNOWN port 65535", false, 255},
    {CAUSE_HOST_REFUSED,
     "kex_exchange_identification: Connection closed by remote host\r\n"
     "Connection closed by UNKNOWN port 65535\r\n",
     "Connection closed by UNKNOWN port 65535", false, 255},
    {CAUSE_HOST_REFUSED,
     "kex_exchange_identification: read: Connection reset by peer\r\n"
     "Connection reset by 10.77.0.12 port 22\r\n",
     "Connection reset by 10.77.0.12 port 22", false, 255},
    {CAUSE_HOST_TIMEOUT, "ssh: connect to host home-wsl port 22: Connection timed out\r\n",
     "ssh: connect to host home-wsl port 22: Connection timed out", false, 255},
    {CAUSE_HOST_TIMEOUT,
     "Connection timed out during banner exchange\r\n"
     "Connection to 10.77.0.13 port 22 timed out\r\n",
     "Connection to 10.77.0.13 port 22 timed out", false, 255},
    {CAUSE_BUS_SILENT, AUTHENTICATED "Timeout, server home-wsl not responding.\r\n" GOODBYE,
     "Timeout, server home-wsl not responding.", true, 255},
    {CAUSE_SSH_FAILED,
     AUTHENTICATED "unix_listener: cannot bind to path /x/s: No such file or directory\r\n"
                   "Could not request local forwarding.\r\n",
     "Could not request local forwarding.", true, 255},
    {CAUSE_SSH_FAILED, AUTHENTICATED "Connection to home-wsl closed by remote host.\r\n" GOODBYE,
     "Connection to home-wsl closed by remote host.", true, 255},
    {CAUSE_SHELL_BROKEN, AUTHENTICATED GOODBYE, "", true, 1}, /* nologin */
    {CAUSE_SHELL_BROKEN, AUTHENTICATED "sh: 1: exec: not found\n", "sh: 1: exec: not found", true,
     127},
    /* a channel that met a closed port says nothing about the connection */
    {CAUSE_SSH_FAILED,
     AUTHENTICATED "channel 4: open failed: connect failed: Connection refused\r\n"
                   "channel 5: open failed: administratively prohibited: open failed\r\n",
     "", true, 255},
    {CAUSE_SSH_FAILED, "", "", false, 255},
    {CAUSE_SSH_FAILED, "\n\r\n  \n", "", false, 127},
    {CAUSE_SSH_FAILED, "no newline at \033[31mthe end", "no newline at ?[31mthe end", false, 255},
};

static void test_table(void **state)
{
    char last[128];

    (void)state;
    for (size_t i = 0; i < ELEMENTS(table); i++) {
        const Said *s = &table[i];
        size_t len = strlen(s->text);
        Cause cause = ssh_cause(s->text, len, s->authenticated, s->status);
        if (cause != s->cause)
            print_message("%s\n", s->text);
        assert_string_equal(cause_to_string(cause), cause_to_string(s->cause));
        ssh_last_line(s->text, len, last, sizeof last);
        assert_string_equal(last, s->last);
        assert_int_equal(ssh_said_authenticated(s->text, len), s->authenticated);
    }
}

static void test_marks(void **state)
{
    static const char prohibited[] =
        "channel 4: open failed: administratively prohibited: open failed\r\n";
    static const char refused[] = "channel 4: open failed: connect failed: Connection refused\r\n";
    static const char socks[] = "Bad dynamic forwarding specification '/run/x'\r\n";

    (void)state;
    assert_true(ssh_said_prohibited(prohibited, sizeof prohibited - 1));
    assert_false(ssh_said_prohibited(refused, sizeof refused - 1));
    assert_true(ssh_said_no_socket_socks(socks, sizeof socks - 1));
    assert_false(ssh_said_no_socket_socks(prohibited, sizeof prohibited - 1));
}

/* Any bytes: no crash, and a cause of those that a PC may have. */
static void test_hostile(void **state)
{
    char bytes[3000], last[64];
    uint32_t random = 1;

    (void)state;
    for (int round = 0; round < 300; round++) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            random = random * 1664525U + 1013904223U;
            bytes[i] = (char)(random >> 24);
        }
        Cause cause = ssh_cause(bytes, sizeof bytes, round & 1, round % 256);
        assert_true(cause == CAUSE_SSH_FAILED || cause == CAUSE_SHELL_BROKEN);
        ssh_last_line(bytes, sizeof bytes, last, sizeof last);
        assert_true(strlen(last) < sizeof last);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
