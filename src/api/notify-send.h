/* One message to one server by libcurl, on the loop: HTTP(S) or SMTP(S). No names of the
 * environment, no proxy, no redirect, https verified, 15 s in all, replies capped. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/resolve.h"
#include "basic/clock.h"
#include "basic/epoll-nest.h"

#define NOTIFY_TIMEOUT_MS 15000U
#define NOTIFY_REPLY_MAX  (64U << 10)

typedef struct Sender Sender; /* the transfers, and a resolver */
typedef struct Send Send;     /* one transfer */

/* All is copied. */
typedef struct SendRequest {
    const char *url;            /* http(s)://... or smtp(s)://HOST[:PORT] */
    const char *const *headers; /* "Name: value" */
    size_t n_headers;
    const char *body; /* NULL: a GET */
    size_t len;
    const char *mail_from, *mail_to; /* SMTP: plain addresses */
    const char *user, *password;     /* SMTP; NULL: none. Never in the clear but to this PC */
} SendRequest;

typedef struct SendResult {
    bool delivered;
    bool refused;   /* the server is well and does not want this message */
    char text[128]; /* what happened; holds nothing of the URL and no reply of the server */
} SendResult;

/* Told once, on the loop, never from inside send_new(); the owner then frees it, at once if it
 * likes. */
typedef void (*SendDone)(void *userdata, const SendResult *r);

int sender_new(Nest *nest, ResolveLookup lookup, Sender **ret);
Sender *sender_free(Sender *s); /* every send was freed before */
uint64_t sender_next_us(const Sender *s);
void sender_tick(Sender *s, Now now);

/* -EINVAL: no such URL. */
int send_new(Sender *s, const SendRequest *q, Now now, SendDone done, void *userdata, Send **ret);
Send *send_free(Send *s);
uint64_t send_deadline_us(const Send *s);
/* What to say of one that was not done at its deadline. */
void send_overdue(const Send *s, SendResult *ret);
