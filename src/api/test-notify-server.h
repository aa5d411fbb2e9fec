/* Servers that really listen, each in a thread: a receiver of HTTP and a small mail server. They
 * keep what arrived, and behave as badly as they are told. */
#pragma once

#include "api/test-store.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <strings.h>
#include <sys/socket.h>

#include "basic/macro.h"

#define REQUESTS_MAX 64
#define TEXT_SIZE    8192

typedef enum Manner {
    REPLY,   /* as `status` says */
    SILENT,  /* takes the request and closes: nobody knows whether it arrived */
    FLOOD,   /* 200 and a body without end */
    NONSENSE /* bytes that are no HTTP */
} Manner;

typedef struct Server {
    int fd;
    uint16_t port;
    bool is_mail;
    pthread_t thread;
    int stop[2];
    pthread_mutex_t lock; /* guards what follows */
    Manner manner;
    int status;   /* of HTTP; of the mail server's answer to RCPT */
    int bad_once; /* the first so many get 400 */
    size_t auths; /* how often somebody began to log in */
    size_t n;
    char requests[REQUESTS_MAX][TEXT_SIZE];
} Server;

UNUSED static void keep(Server *s, const char *text)
{
    pthread_mutex_lock(&s->lock);
    if (s->n < REQUESTS_MAX)
        snprintf(s->requests[s->n++], TEXT_SIZE, "%s", text);
    pthread_mutex_unlock(&s->lock);
}

UNUSED static size_t count(Server *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->n;
    pthread_mutex_unlock(&s->lock);
    return n;
}

UNUSED static void behave(Server *s, Manner manner, int status)
{
    pthread_mutex_lock(&s->lock);
    s->manner = manner;
    s->status = status;
    pthread_mutex_unlock(&s->lock);
}

UNUSED static void say(int fd, const char *text)
{
    send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* Until the head and as much of the body as it promises are there. */
UNUSED static bool read_request(int fd, char *text)
{
    size_t len = 0;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&p, 1, 5000) > 0 ? recv(fd, text + len, TEXT_SIZE - 1 - len, 0) : -1;
        if (n <= 0)
            return false;
        len += (size_t)n;
        text[len] = '\0';
        const char *body = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "Content-Length:");
        size_t wanted = length ? strtoul(length + 15, NULL, 10) : 0;
        if (body && strlen(body + 4) >= wanted)
            return true;
    }
}

UNUSED static void reply_http(Server *s, int fd)
{
    char reply[256];

    pthread_mutex_lock(&s->lock);
    Manner manner = s->manner;
    int status = s->bad_once > 0 ? 400 : s->status;
    s->bad_once -= s->bad_once > 0;
    pthread_mutex_unlock(&s->lock);
    snprintf(reply, sizeof reply,
             "HTTP/1.1 %d Word\r\nLocation: http://127.0.0.1:%u/elsewhere\r\n"
             "Content-Length: 0\r\n\r\n",
             status, s->port);
    if (manner == REPLY)
        say(fd, reply);
    else if (manner == NONSENSE)
        say(fd, "\x01\x02\x03 nonsense\r\n\r\n");
    else if (manner == FLOOD) {
        say(fd, "HTTP/1.1 200 OK\r\n\r\n");
        char block[4096];
        memset(block, 'x', sizeof block);
        while (send(fd, block, sizeof block, MSG_NOSIGNAL) > 0)
            ;
    }
}

UNUSED static void serve_http(Server *s, int fd)
{
    char text[TEXT_SIZE];

    if (read_request(fd, text)) {
        keep(s, text);
        reply_http(s, fd);
    }
}

UNUSED static void serve_mail_line(Server *s, int fd, const char *line)
{
    char reply[64];

    pthread_mutex_lock(&s->lock);
    int status = s->status;
    s->auths += strncasecmp(line, "AUTH", 4) == 0;
    pthread_mutex_unlock(&s->lock);
    if (strncasecmp(line, "EHLO", 4) == 0)
        say(fd, "250-here\r\n250 AUTH PLAIN\r\n");
    else if (strncasecmp(line, "AUTH", 4) == 0)
        say(fd, "334 \r\n"); /* the secret is on a line of its own */
    else if (strncmp(line, "AG1l", 4) == 0)
        say(fd, "235 yes\r\n");
    else if (strncasecmp(line, "RCPT", 4) == 0) {
        snprintf(reply, sizeof reply, "%d word\r\n", status);
        say(fd, reply);
    } else if (strncasecmp(line, "DATA", 4) == 0)
        say(fd, "354 go on\r\n");
    else if (strncasecmp(line, "QUIT", 4) == 0)
        say(fd, "221 bye\r\n");
    else
        say(fd, "250 ok\r\n");
}

UNUSED static void serve_mail(Server *s, int fd)
{
    FILE *f = fdopen(dup(fd), "r");
    char line[2048], text[TEXT_SIZE] = "";
    bool data = false;

    say(fd, "220 here\r\n");
    while (f && fgets(line, sizeof line, f)) {
        strncat(text, line, sizeof text - strlen(text) - 1);
        bool end = data && strcmp(line, ".\r\n") == 0;
        if (end)
            keep(s, text);
        if (!data || end)
            serve_mail_line(s, fd, line);
        if (strncasecmp(line, "QUIT", 4) == 0)
            break;
        data = (data || strcmp(line, "DATA\r\n") == 0) && !end;
    }
    if (f)
        fclose(f);
}

UNUSED static void *server_main(void *arg)
{
    Server *s = arg;

    for (;;) {
        struct pollfd p[] = {{.fd = s->fd, .events = POLLIN}, {.fd = s->stop[0], .events = POLLIN}};
        if (poll(p, 2, -1) < 0 || p[1].revents)
            return NULL;
        int fd = accept(s->fd, NULL, NULL);
        struct timeval limit = {.tv_sec = 2};
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        if (s->is_mail)
            serve_mail(s, fd);
        else
            serve_http(s, fd);
        close(fd);
    }
}

/* port 0: any; otherwise the one that a server had before. */
UNUSED static Server *server_start(bool is_mail, uint16_t port)
{
    Server *s = calloc(1, sizeof *s);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    socklen_t len = sizeof a;
    int one = 1;

    assert_non_null(s);
    s->is_mail = is_mail;
    s->status = is_mail ? 250 : 200;
    pthread_mutex_init(&s->lock, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(s->fd, 16), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &len), 0);
    s->port = ntohs(a.sin_port);
    assert_int_equal(pipe(s->stop), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
    return s;
}

UNUSED static uint16_t server_stop(Server *s)
{
    uint16_t port = s->port;

    close(s->stop[1]);
    pthread_join(s->thread, NULL);
    close(s->stop[0]);
    close(s->fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return port;
}
