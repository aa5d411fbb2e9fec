/* The part of the health prober that needs libcurl: https, and hosts that are names. */
#pragma once

#include <stdint.h>

#include "api/resolve.h"
#include "basic/clock.h"
#include "basic/epoll-nest.h"
#include "common/unit.h"

typedef struct HttpCurl HttpCurl; /* the transfers of one prober, and its resolver */
typedef struct CurlLook CurlLook; /* one transfer */

/* Told once, on the loop, never from inside curl_look_new(); the look is then freed by its owner.
 */
typedef void (*CurlLookDone)(void *userdata, HttpOutcome outcome, int status);

int http_curl_new(Nest *nest, ResolveLookup lookup, HttpCurl **ret);
HttpCurl *http_curl_free(HttpCurl *c); /* every look was freed before */
uint64_t http_curl_next_us(const HttpCurl *c);
void http_curl_tick(HttpCurl *c, Now now);

/* -EINVAL: no http(s) URL. */
int curl_look_new(HttpCurl *c, const char *url, uint32_t timeout_ms, Now now, CurlLookDone done,
                  void *userdata, CurlLook **ret);
CurlLook *curl_look_free(CurlLook *l);
/* What it means that the deadline found it unfinished. */
HttpOutcome curl_look_overdue(const CurlLook *l);
