/* libcurl's multi interface behind the nested epoll: transfers on the loop, without a thread.
 *
 * A finished transfer is told by its callback from within nest_dispatch() or curl_glue_tick(),
 * never from inside curl_glue_add(); it has been removed by then. The easy handle stays its
 * owner's. CURLOPT_PRIVATE is ours. A name that libcurl would have to resolve by itself blocks:
 * give it CURLOPT_RESOLVE. */
#pragma once

#include <curl/curl.h>
#include <stdint.h>

#include "basic/clock.h"
#include "basic/epoll-nest.h"

typedef struct CurlGlue CurlGlue;

/* One transfer, embedded in its owner. */
typedef struct CurlTransfer {
    CURL *easy;
    void (*done)(struct CurlTransfer *t, CURLcode result);
} CurlTransfer;

int curl_glue_new(Nest *nest, CurlGlue **ret);
CurlGlue *curl_glue_free(CurlGlue *g); /* every transfer has ended or was removed before */

int curl_glue_add(CurlGlue *g, CurlTransfer *t);
void curl_glue_remove(CurlGlue *g, CurlTransfer *t); /* no callback any more */

uint64_t curl_glue_next_us(const CurlGlue *g); /* mono; UINT64_MAX: no timer */
void curl_glue_tick(CurlGlue *g, Now now);
