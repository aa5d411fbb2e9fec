/* notify-test: does a message get through? Returns the exit code of its process. */
#pragma once

int cli_notify_test(int argc, char *argv[]);
