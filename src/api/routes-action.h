/* POST .../action and GET /api/audit: what people may have done to a unit, and what was done. */
#pragma once

#include "api/routes.h"

void routes_post_action(void *userdata, HttpRequest *request);
void routes_get_audit(void *userdata, HttpRequest *request);

/* HttpServerOptions.refused; userdata: the Routes. */
void routes_action_refused(void *userdata, HttpRequest *request, int status, const char *why);

void routes_action_tick(Routes *r, Now now); /* each second: who has waited long enough */
void routes_action_done(Routes *r);          /* after the server, before actions and history */
