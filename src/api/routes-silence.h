/* Routes that leave people alone: acknowledge, silence, maintenance (silence.h has the rules).
 * userdata: the Routes. */
#pragma once

#include "api/routes.h"

/* POST /api/alerts/ID/ack {"comment"}: the alert. */
void routes_post_ack(void *userdata, HttpRequest *request);
/* GET /api/silences: those that are in force or still to come. */
void routes_get_silences(void *userdata, HttpRequest *request);
/* POST /api/silences {"kind", "app_id", "pc_id", "from_ts", "until_ts" or "for_s", "comment"}: 201
 * with the silence. */
void routes_post_silence(void *userdata, HttpRequest *request);
/* DELETE /api/silences/ID: the silence as it ended. */
void routes_delete_silence(void *userdata, HttpRequest *request);
