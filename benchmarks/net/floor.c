/* The floor: what an echo server costs that has nothing but the kernel under it. One thread, level-triggered epoll.
 *
 *     floor tcp | unix PATH | udp | http | tls CERTIFICATE KEY
 *
 * It prints {"address": TEXT} (a port that the kernel chose, or PATH), answers each line on stdin with the CPU time it has
 * used, and ends with its stdin. `http` answers every request with the same bytes and looks no closer than at the blank
 * line behind its head. `tls`, if built with WITH_TLS, is the echo over OpenSSL's memory BIOs: what has come is received
 * into one buffer and written to one of them, and what the other holds is sent in one piece.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
#endif

enum { SCRATCH_SIZE = 256 * 1024, BACKLOG = 1024, DATAGRAMS_PER_TURN = 64 };

static const char response[] = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\nHello, world!";

/* While something is left to be sent, nothing is received. */
struct connection {
    int fd;
    int matched; /* http: how much of the blank line was seen last */
    char *rest;  /* owned; what the kernel has not taken yet */
    size_t rest_size;
    size_t rest_sent;
#ifdef WITH_TLS
    SSL *tls; /* owned, and its two BIOs with it */
#endif
};

static char scratch[SCRATCH_SIZE];
static int epoll_fd;
static bool http;
#ifdef WITH_TLS
static SSL_CTX *tls_context; /* NULL: no TLS */
#endif
static char listener_tag, datagram_tag, control_tag; /* their addresses mark the descriptors without a connection */

static void
die(const char *what)
{
    printf("{\"error\": \"floor: %s: %s\"}\n", what, strerror(errno));
    fflush(stdout);
    exit(1);
}

static void
watch(int fd, void *data, uint32_t events, int operation)
{
    struct epoll_event event = { .events = events, .data.ptr = data };
    if (epoll_ctl(epoll_fd, operation, fd, &event) < 0) {
        die("epoll_ctl");
    }
}

static void
drop(struct connection *c)
{
#ifdef WITH_TLS
    SSL_free(c->tls);
#endif
    close(c->fd);
    free(c->rest);
    free(c);
}

/* Send `size` bytes and keep what does not fit. Return whether the connection is still there. */
static bool
send_or_keep(struct connection *c, const char *data, size_t size)
{
    ssize_t n = send(c->fd, data, size, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        drop(c);
        return false;
    }
    size_t sent = n > 0 ? (size_t)n : 0;
    if (sent < size) {
        c->rest_size = size - sent;
        c->rest_sent = 0;
        c->rest = malloc(c->rest_size);
        if (!c->rest) {
            die("malloc");
        }
        memcpy(c->rest, data + sent, c->rest_size);
        watch(c->fd, c, EPOLLOUT, EPOLL_CTL_MOD);
    }
    return true;
}

static void
send_rest(struct connection *c)
{
    ssize_t n = send(c->fd, c->rest + c->rest_sent, c->rest_size - c->rest_sent, MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN) {
            drop(c);
        }
        return;
    }
    c->rest_sent += (size_t)n;
    if (c->rest_sent == c->rest_size) {
        free(c->rest);
        c->rest = NULL;
        watch(c->fd, c, EPOLLIN, EPOLL_CTL_MOD);
    }
}

/* Answer each request that ends in the `size` bytes received. The load generators have one on its way, never more. */
static void
respond(struct connection *c, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        c->matched = scratch[i] == "\r\n\r\n"[c->matched] ? c->matched + 1 : scratch[i] == '\r';
        if (c->matched == 4) {
            c->matched = 0;
            send_or_keep(c, response, sizeof(response) - 1);
            return;
        }
    }
}

#ifdef WITH_TLS
static char plain[SCRATCH_SIZE];

static void
open_tls(const char *certificate, const char *key)
{
    tls_context = SSL_CTX_new(TLS_server_method());
    if (!tls_context || SSL_CTX_use_certificate_chain_file(tls_context, certificate) != 1
        || SSL_CTX_use_PrivateKey_file(tls_context, key, SSL_FILETYPE_PEM) != 1) {
        die("the certificate");
    }
    /* As CPython's contexts have it. */
    SSL_CTX_set_mode(tls_context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_id_context(tls_context, (const unsigned char *)"floor", 5);
}

static void
start_tls(struct connection *c)
{
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    c->tls = SSL_new(tls_context);
    if (!c->tls || !in || !out) {
        die("SSL_new");
    }
    BIO_set_mem_eof_return(in, -1);
    BIO_set_mem_eof_return(out, -1);
    SSL_set_bio(c->tls, in, out);
    SSL_set_accept_state(c->tls);
}

/* Echo what the `size` bytes received hold, be it nothing: a part of a record, or of a handshake. */
static void
serve_tls(struct connection *c, size_t size)
{
    BIO_write(SSL_get_rbio(c->tls), scratch, (int)size);
    size_t count = 0;
    int n;
    while (count < SCRATCH_SIZE && (n = SSL_read(c->tls, plain + count, (int)(SCRATCH_SIZE - count))) > 0) {
        count += (size_t)n;
    }
    int error = count < SCRATCH_SIZE ? SSL_get_error(c->tls, n) : SSL_ERROR_WANT_READ;
    if (count > 0 && SSL_write(c->tls, plain, (int)count) <= 0) {
        die("SSL_write");
    }
    bool ended = error != SSL_ERROR_WANT_READ;
    if (error == SSL_ERROR_ZERO_RETURN) {
        SSL_shutdown(c->tls);
    }
    char *output;
    long length = BIO_get_mem_data(SSL_get_wbio(c->tls), &output);
    if (length > 0) {
        if (!send_or_keep(c, output, (size_t)length)) {
            return;
        }
        (void)BIO_reset(SSL_get_wbio(c->tls));
    }
    if (ended) {
        drop(c);
    }
}
#endif

static void
serve(struct connection *c)
{
    if (c->rest) {
        send_rest(c);
        return;
    }
    ssize_t n = recv(c->fd, scratch, SCRATCH_SIZE, 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        drop(c);
    }
#ifdef WITH_TLS
    else if (c->tls) {
        serve_tls(c, (size_t)n);
    }
#endif
    else if (http) {
        respond(c, (size_t)n);
    }
    else {
        send_or_keep(c, scratch, (size_t)n);
    }
}

static void
accept_all(int listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = calloc(1, sizeof(*c));
        if (!c) {
            die("calloc");
        }
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* fails on a Unix socket, which needs none */
        watch(fd, c, EPOLLIN, EPOLL_CTL_ADD);
#ifdef WITH_TLS
        if (tls_context) {
            start_tls(c);
        }
#endif
    }
}

static void
echo_datagrams(int fd)
{
    for (int i = 0; i < DATAGRAMS_PER_TURN; i++) {
        struct sockaddr_in from;
        socklen_t length = sizeof(from);
        ssize_t n = recvfrom(fd, scratch, SCRATCH_SIZE, 0, (struct sockaddr *)&from, &length);
        if (n < 0) {
            return;
        }
        sendto(fd, scratch, (size_t)n, 0, (struct sockaddr *)&from, length);
    }
}

static void
answer_control(void)
{
    ssize_t n = read(0, scratch, SCRATCH_SIZE);
    if (n <= 0) {
        exit(0);
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"user_ns\": %" PRId64 ", \"system_ns\": %" PRId64 "}\n",
           (usage.ru_utime.tv_sec * INT64_C(1000000) + usage.ru_utime.tv_usec) * 1000,
           (usage.ru_stime.tv_sec * INT64_C(1000000) + usage.ru_stime.tv_usec) * 1000);
    fflush(stdout);
}

/* Bind to a port of 127.0.0.1 that the kernel chooses, or to `path`; print the address. */
static int
open_server(const char *kind, const char *path)
{
    struct sockaddr_un unix_address = { .sun_family = AF_UNIX };
    struct sockaddr_in inet_address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    bool is_unix = strcmp(kind, "unix") == 0, udp = strcmp(kind, "udp") == 0;
    struct sockaddr *to = is_unix ? (struct sockaddr *)&unix_address : (struct sockaddr *)&inet_address;
    socklen_t length = is_unix ? sizeof(unix_address) : sizeof(inet_address);
    if (is_unix) {
        unlink(path); /* of a floor that was ended by force */
        strncpy(unix_address.sun_path, path, sizeof(unix_address.sun_path) - 1);
    }
    int type = (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = socket(to->sa_family, type, 0);
    if (fd < 0 || bind(fd, to, length) < 0 || (!udp && listen(fd, BACKLOG) < 0)) {
        die("bind");
    }
    if (is_unix) {
        printf("{\"address\": \"%s\"}\n", path);
    }
    else {
        getsockname(fd, to, &length);
        printf("{\"address\": \"%d\"}\n", ntohs(inet_address.sin_port));
    }
    fflush(stdout);
    watch(fd, udp ? &datagram_tag : &listener_tag, EPOLLIN, EPOLL_CTL_ADD);
    return fd;
}

int
main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "";
    bool known = !strcmp(kind, "tcp") || !strcmp(kind, "udp") || !strcmp(kind, "http");
#ifdef WITH_TLS
    if (!strcmp(kind, "tls") && argc == 4) {
        open_tls(argv[2], argv[3]);
        known = true;
    }
#endif
    if (!known && (strcmp(kind, "unix") != 0 || argc < 3)) {
        fprintf(stderr, "usage: floor tcp | unix PATH | udp | http | tls CERTIFICATE KEY\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    http = strcmp(kind, "http") == 0;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    watch(0, &control_tag, EPOLLIN, EPOLL_CTL_ADD);
    int server = open_server(kind, argc > 2 ? argv[2] : NULL);
    struct epoll_event events[128];
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 128, -1);
        for (int i = 0; i < n; i++) {
            void *data = events[i].data.ptr;
            if (data == &control_tag) {
                answer_control();
            }
            else if (data == &listener_tag) {
                accept_all(server);
            }
            else if (data == &datagram_tag) {
                echo_datagrams(server);
            }
            else {
                serve(data);
            }
        }
    }
}
