/* services_api doctor [PC]: what is missing between us and each PC, step by step, with the command
 * that mends it. */
#pragma once

int cli_doctor(int argc, char *argv[]);
