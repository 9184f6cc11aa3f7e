/* The load generator: many connections in one thread, each with one request on its way, and a histogram of latencies.
 *
 *     loadgen MODE ADDRESS SIZE CONNECTIONS
 *
 * MODE      echo     send SIZE bytes, receive the same bytes, again
 *           tls      the same over TLS, if built with WITH_TLS
 *           handshake  connect, TLS handshake, echo SIZE bytes, close, again
 *           resume   the same, with the session of the connection before
 *           connect  connect, echo SIZE bytes, close, again: a request is a whole connection
 *           udp      the same as echo, a datagram each
 *           http     GET / on a kept-alive connection; SIZE is how long the body of the response must be
 *           https    the same over TLS
 * ADDRESS   a port of 127.0.0.1, or the path of a Unix socket
 *
 * It speaks lines of JSON. After some requests to warm up it says {"ready": true}. Then a line with a number on stdin
 * makes it load the server for so many milliseconds, and it answers with one line. The connections stay open between
 * two such windows, and it ends with its stdin, or with {"error": TEXT}.
 *
 * At the end of a window no request is begun, and those on their way are awaited: they count as "completed", by which the
 * caller divides the server's CPU time, but not as "requests" of the window.
 *
 * Every byte received is compared with the byte sent. Events are edge-triggered: a connection remembers that it is
 * readable or writable until the kernel says otherwise, so that a small echo costs one send, one receive and a share of
 * one epoll_wait, and the generator is not what is measured.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

enum mode { MODE_ECHO, MODE_TLS, MODE_HANDSHAKE, MODE_RESUME, MODE_CONNECT, MODE_UDP, MODE_HTTP, MODE_HTTPS };
static const char *const mode_names[] = { "echo", "tls", "handshake", "resume", "connect", "udp", "http", "https" };

enum {
    STALL_MS = 30000,       /* nothing arrives for so long: the server hangs */
    WARM_UP_REQUESTS = 300, /* over all connections, but at least a few each */
    WARM_UP_LEAST = 5,
    RESPONSE_MAX = 4096,
    SCRATCH_SIZE = 256 * 1024,
    SOURCES = 200, /* addresses of 127.0.1.0/24 that connections start from, see open_socket() */
};

struct connection {
    int fd;
    size_t sent;
    size_t received;
    size_t expected; /* how long the answer will be; 0 until the head of an HTTP response is complete */
    int64_t started_ns;
    bool active; /* a request is on its way */
    bool readable;
    bool writable;
    char *response; /* of RESPONSE_MAX bytes, HTTP only */
#ifdef WITH_TLS
    SSL *tls;
    SSL_SESSION *session; /* MODE_RESUME: of the connection before */
    bool resumes;         /* it was offered one */
#endif
};

static enum mode mode;
static bool tls;         /* the mode is one over TLS */
static bool http;        /* the mode is one of HTTP */
static bool reconnects;  /* a request is a whole connection */
static const char *address;
static size_t body_size; /* SIZE of the command line */
static const char *message;
static size_t message_size;
static struct connection *connections;
static int connection_count;
static int epoll_fd;
static char scratch[SCRATCH_SIZE];

/* What one window, or the warm-up, has seen. A request is begun as long as the quota lasts and the time is not over. */
static struct {
    int64_t start_ns;
    int64_t end_ns; /* moved to the first answer, if that comes later: a window is never empty */
    uint64_t quota;
    uint64_t begun;
    uint64_t requests;
    uint64_t completed;
    int active;
} window;

static void
fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char text[512];
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ') {
            *p = '\'';
        }
    }
    printf("{\"error\": \"load generator: %s\"}\n", text);
    fflush(stdout);
    exit(1);
}

static void *
allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory) {
        fail("out of memory");
    }
    return memory;
}

static int64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* ---- Histogram: buckets of a width of 1/128 of their value ---- */

enum { SUB_BITS = 7, SUB_COUNT = 1 << SUB_BITS };
static uint64_t histogram[(64 - SUB_BITS + 1) * SUB_COUNT];

static size_t
bucket_of(uint64_t value)
{
    if (value < SUB_COUNT) {
        return value;
    }
    int shift = 63 - __builtin_clzll(value) - SUB_BITS;
    return ((size_t)shift + 1) * SUB_COUNT + ((value >> shift) & (SUB_COUNT - 1));
}

/* The middle of a bucket. */
static uint64_t
bucket_value(size_t bucket)
{
    if (bucket < SUB_COUNT) {
        return bucket;
    }
    size_t shift = bucket / SUB_COUNT - 1;
    return ((SUB_COUNT + bucket % SUB_COUNT) << shift) + ((UINT64_C(1) << shift) >> 1);
}

/* The smallest latency that `share` of the requests did not exceed. */
static uint64_t
percentile(double share)
{
    uint64_t wanted = (uint64_t)(share * (double)window.requests + 0.5);
    uint64_t seen = 0;
    for (size_t i = 0; i < sizeof(histogram) / sizeof(histogram[0]); i++) {
        seen += histogram[i];
        if (histogram[i] && seen >= wanted) {
            return bucket_value(i);
        }
    }
    return 0;
}

/* ---- Sockets ---- */

/* A connection of its own each would use up the ports of one address, as a closed one keeps its port for a minute: so
   they start from many addresses, all of which are this machine. */
static void
bind_to_next_source(int fd)
{
    static uint32_t next;
    int on = 1;
    struct sockaddr_in source = { .sin_family = AF_INET };
    source.sin_addr.s_addr = htonl(0x7f000101 + next++ % SOURCES);
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0
        || bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0) {
        fail("bind: %s", strerror(errno));
    }
}

/* Return a socket that is connected, or is about to be if it must not block. */
static int
open_socket(bool blocking)
{
    struct sockaddr_un unix_address = { .sun_family = AF_UNIX };
    struct sockaddr_in inet_address = { .sin_family = AF_INET };
    struct sockaddr *to = (struct sockaddr *)&inet_address;
    socklen_t length = sizeof(inet_address);
    bool is_path = strchr(address, '/') != NULL;
    if (is_path) {
        if (strlen(address) >= sizeof(unix_address.sun_path)) {
            fail("the path of the Unix socket is too long");
        }
        strcpy(unix_address.sun_path, address);
        to = (struct sockaddr *)&unix_address;
        length = sizeof(unix_address);
    }
    else {
        inet_address.sin_port = htons((uint16_t)atoi(address));
        inet_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    int type = (mode == MODE_UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK);
    int fd = socket(to->sa_family, type, 0);
    if (fd < 0) {
        fail("socket: %s", strerror(errno));
    }
    int on = 1;
    if (!is_path && mode != MODE_UDP) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (reconnects && !is_path) {
        bind_to_next_source(fd);
    }
    if (connect(fd, to, length) < 0 && errno != EINPROGRESS) {
        fail("connect: %s", strerror(errno));
    }
    return fd;
}

#ifdef WITH_TLS
static void
start_tls(struct connection *c)
{
    static SSL_CTX *context;
    if (!context) {
        context = SSL_CTX_new(TLS_client_method());
        if (!context) {
            fail("SSL_CTX_new");
        }
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    c->tls = SSL_new(context);
    if (!c->tls || SSL_set_fd(c->tls, c->fd) != 1) {
        fail("SSL_new");
    }
    SSL_set_connect_state(c->tls);
    c->resumes = c->session != NULL;
    if (c->resumes) {
        SSL_set_session(c->tls, c->session);
        SSL_SESSION_free(c->session);
        c->session = NULL;
    }
    if (!reconnects && SSL_connect(c->tls) != 1) { /* else it is a part of the first SSL_write() */
        fail("TLS handshake: %s", ERR_error_string(ERR_get_error(), NULL));
    }
}

/* The end of a connection that was a request. */
static void
end_tls(struct connection *c)
{
    if (mode == MODE_RESUME) {
        if (c->resumes && !SSL_session_reused(c->tls)) {
            fail("the session was not resumed");
        }
        c->session = SSL_get1_session(c->tls);
    }
    SSL_shutdown(c->tls);
    SSL_free(c->tls);
    c->tls = NULL;
}

/* Turn the result of SSL_read and SSL_write into that of recv and send. */
static ssize_t
tls_result(struct connection *c, int result)
{
    if (result > 0) {
        return result;
    }
    switch (SSL_get_error(c->tls, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        errno = EPROTO;
        return -1;
    }
}
#endif

static ssize_t
read_some(struct connection *c, char *buffer, size_t size)
{
#ifdef WITH_TLS
    if (c->tls) {
        ERR_clear_error();
        return tls_result(c, SSL_read(c->tls, buffer, (int)size));
    }
#endif
    return recv(c->fd, buffer, size, 0);
}

static ssize_t
write_some(struct connection *c, const char *data, size_t size)
{
#ifdef WITH_TLS
    if (c->tls) {
        ERR_clear_error();
        return tls_result(c, SSL_write(c->tls, data, (int)size));
    }
#endif
    return send(c->fd, data, size, MSG_NOSIGNAL);
}

/* A handshake is done before the connection is watched, and blocks; the connections that are measured do not. */
static void
open_connection(struct connection *c)
{
    c->fd = open_socket(tls && !reconnects);
    c->readable = c->writable = false;
#ifdef WITH_TLS
    if (tls) {
        start_tls(c);
        fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
    }
#endif
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c };
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0) {
        fail("epoll_ctl: %s", strerror(errno));
    }
}

/* ---- Requests ---- */

static void
begin(struct connection *c, int64_t now)
{
    if (window.begun >= window.quota || now >= window.end_ns) {
        return;
    }
    window.begun++;
    window.active++;
    c->active = true;
    c->sent = c->received = 0;
    c->expected = http ? 0 : message_size;
    c->started_ns = now;
    if (c->fd < 0) {
        open_connection(c);
    }
}

static void
complete(struct connection *c)
{
    int64_t now = now_ns();
    c->active = false;
    /* The answer is complete, so the peer has nothing more to say: without this, each request would pay for a receive that
       only finds that out. */
    c->readable = false;
    window.active--;
    window.completed++;
    if (now < window.end_ns || !window.requests) {
        window.end_ns = now > window.end_ns ? now : window.end_ns;
        window.requests++;
        histogram[bucket_of((uint64_t)(now - c->started_ns))]++;
    }
    if (reconnects) {
#ifdef WITH_TLS
        if (c->tls) {
            end_tls(c);
        }
#endif
        close(c->fd);
        c->fd = -1;
    }
    begin(c, now);
}

/* Note how long the response is, once its head is there. Raises a failure for anything but a 200 of the wanted length. */
static void
parse_response(struct connection *c)
{
    c->response[c->received] = 0;
    const char *end = strstr(c->response, "\r\n\r\n");
    if (!end) {
        if (c->received >= RESPONSE_MAX - 1) {
            fail("the head of the response is too long");
        }
        return;
    }
    if (strncmp(c->response, "HTTP/1.1 200", 12) != 0) {
        fail("the response is %.40s", c->response);
    }
    const char *field = strcasestr(c->response, "\r\ncontent-length:");
    if (!field || field > end || strtoul(field + 17, NULL, 10) != body_size) {
        fail("the response has not a Content-Length of %zu", body_size);
    }
    c->expected = (size_t)(end + 4 - c->response) + body_size;
    if (c->expected >= RESPONSE_MAX) {
        fail("the response is too long");
    }
}

static void
receive(struct connection *c)
{
    size_t room = http ? RESPONSE_MAX - 1 - c->received : c->expected - c->received;
    size_t size = room < SCRATCH_SIZE ? room : SCRATCH_SIZE;
    char *into = http ? c->response + c->received : scratch;
    ssize_t n = read_some(c, into, size);
    if (n <= 0) {
        c->readable = false;
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        fail("%s after %zu bytes of an answer", n < 0 ? strerror(errno) : "end of stream", c->received);
    }
    if (!http && memcmp(scratch, message + c->received, (size_t)n) != 0) {
        fail("the bytes received are not the bytes sent");
    }
    c->received += (size_t)n;
    if (http && !c->expected) {
        parse_response(c);
    }
    if (c->expected && c->received > c->expected) {
        fail("%zu bytes more than the response has", c->received - c->expected);
    }
    if (mode == MODE_UDP && c->received != c->expected) {
        fail("a datagram of %zu bytes instead of %zu", c->received, c->expected);
    }
    if (c->received == c->expected) {
        complete(c);
    }
}

static void
transmit(struct connection *c)
{
    ssize_t n = write_some(c, message + c->sent, message_size - c->sent);
    if (n < 0) {
        c->writable = false;
        if (errno != EAGAIN && errno != EINTR) {
            fail("send: %s", strerror(errno));
        }
        return;
    }
    c->sent += (size_t)n;
}

/* Do what the connection can do without waiting. */
static void
pump(struct connection *c)
{
    while (c->active) {
        if (c->writable && c->sent < message_size) {
            transmit(c);
        }
        else if (c->readable) {
            receive(c);
        }
        else {
            break;
        }
    }
}

/* Begin a request on every connection and run until none is on its way. */
static void
run(uint64_t quota, int64_t duration_ns)
{
    memset(histogram, 0, sizeof(histogram));
    memset(&window, 0, sizeof(window));
    window.quota = quota;
    window.start_ns = now_ns();
    window.end_ns = duration_ns ? window.start_ns + duration_ns : INT64_MAX;
    for (int i = 0; i < connection_count; i++) {
        begin(&connections[i], now_ns());
        pump(&connections[i]);
    }
    struct epoll_event events[128];
    while (window.active) {
        int n = epoll_wait(epoll_fd, events, 128, STALL_MS);
        if (n == 0) {
            fail("no answer for %d s to %d requests", STALL_MS / 1000, window.active);
        }
        if (n < 0 && errno != EINTR) {
            fail("epoll_wait: %s", strerror(errno));
        }
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            c->readable |= (events[i].events & ~(uint32_t)EPOLLOUT) != 0;
            /* A write may have waited for a part of a handshake. */
            c->writable |= (events[i].events & ~(uint32_t)EPOLLIN) != 0 || (tls && reconnects);
            pump(c);
        }
    }
}

/* ---- The command line ---- */

/* Printable bytes that repeat only after a long while, and one newline, at the end: also readline() can echo them. */
static void
make_message(void)
{
    if (http) {
        message = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        message_size = strlen(message);
        return;
    }
    char *bytes = allocate(1, body_size);
    uint32_t random = 12345;
    for (size_t i = 0; i < body_size; i++) {
        random = random * 1664525 + 1013904223;
        bytes[i] = (char)('0' + (random >> 16) % 64);
    }
    bytes[body_size - 1] = '\n';
    message = bytes;
    message_size = body_size;
}

static void
read_arguments(int argc, char **argv)
{
    if (argc != 5) {
        fail("usage: loadgen MODE ADDRESS SIZE CONNECTIONS");
    }
    const size_t modes = sizeof(mode_names) / sizeof(mode_names[0]);
    size_t found = 0;
    while (found < modes && strcmp(argv[1], mode_names[found]) != 0) {
        found++;
    }
    if (found == modes) {
        fail("unknown mode %s", argv[1]);
    }
    mode = (enum mode)found;
    tls = mode == MODE_TLS || mode == MODE_HANDSHAKE || mode == MODE_RESUME || mode == MODE_HTTPS;
    http = mode == MODE_HTTP || mode == MODE_HTTPS;
    reconnects = mode == MODE_CONNECT || mode == MODE_HANDSHAKE || mode == MODE_RESUME;
#ifndef WITH_TLS
    if (tls) {
        fail("built without TLS");
    }
#endif
    address = argv[2];
    body_size = strtoul(argv[3], NULL, 10);
    connection_count = atoi(argv[4]);
    if (body_size < 1 || connection_count < 1) {
        fail("SIZE and CONNECTIONS must be at least 1");
    }
}

int
main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    read_arguments(argc, argv);
    make_message();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    connections = allocate((size_t)connection_count, sizeof(*connections));
    for (int i = 0; i < connection_count; i++) {
        struct connection *c = &connections[i];
        c->response = http ? allocate(1, RESPONSE_MAX) : NULL;
        c->fd = -1;
        if (!reconnects) {
            open_connection(c);
        }
    }
    uint64_t least = (uint64_t)connection_count * WARM_UP_LEAST;
    run(least > WARM_UP_REQUESTS ? least : WARM_UP_REQUESTS, 0);
    printf("{\"ready\": true}\n");
    fflush(stdout);
    char line[64];
    while (fgets(line, sizeof(line), stdin)) {
        int64_t duration_ns = strtol(line, NULL, 10) * INT64_C(1000000);
        if (duration_ns <= 0) {
            fail("the length of a window must be positive");
        }
        run(UINT64_MAX, duration_ns);
        printf("{\"requests\": %" PRIu64 ", \"completed\": %" PRIu64 ", \"window_ns\": %" PRId64, window.requests,
               window.completed, window.end_ns - window.start_ns);
        printf(", \"p50_ns\": %" PRIu64 ", \"p99_ns\": %" PRIu64 "}\n", percentile(0.50), percentile(0.99));
        fflush(stdout);
    }
    return 0;
}
