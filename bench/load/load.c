/* The load generator: one thread, epoll, a fixed number of keep-alive connections, each with a fixed
 * number of requests in flight; every answer is compared with what it must be.
 *
 * usage: load PORT CONNECTIONS DEPTH WARMUP_SECONDS SECONDS REQUEST_FILE BODY_FILE [PID ...]
 *
 * REQUEST_FILE holds the bytes of one request, BODY_FILE the bytes that must follow the answer's head (the
 * body as it is framed on the wire). An answer is right when it starts with "HTTP/1.1 200 " and exactly these bytes
 * follow its head. DEPTH requests are sent at once and the next DEPTH only when all are answered.
 *
 * PID: processes whose CPU clocks are read when the measured window opens and closes, so that CPU time and
 * answers are counted over exactly the same time.
 *
 * prints one line of JSON; exit status 1 when an answer was wrong or the server closed a connection.
 */
#define _GNU_SOURCE
#include "../measure.h"

#include <string.h>

enum { EVENTS = 512 };

struct connection {
    int fd, waiting; /* answers still to come of the batch in flight */
    size_t held, unsent;
    int64_t sent_at;
    char *in;
};

static char *batch, *body;
static size_t batch_size, body_size, head_size, in_size;
static int epoll, depth;
static uint64_t answers;
static struct histogram latencies;
static int measuring;

static void send_rest(struct connection *c) {
    ssize_t n = send(c->fd, batch + batch_size - c->unsent, c->unsent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) die("send");
    if (n > 0) c->unsent -= (size_t)n;
    if (c->unsent || (n < 0)) { /* the server is slow to read: finish when there is room */
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
    }
}

static void send_batch(struct connection *c, int64_t now) {
    c->waiting = depth;
    c->sent_at = now;
    c->unsent = batch_size;
    send_rest(c);
}

/* Takes whole answers off the front of data; returns how many bytes they were. */
static size_t take(struct connection *c, const char *data, size_t size) {
    static const char ok[] = "HTTP/1.1 200 ";
    size_t at = 0;
    while (c->waiting && size - at > sizeof ok) {
        const char *head = data + at;
        size_t length = head_size;
        if (memcmp(head, ok, sizeof ok - 1)) wrong("not a 200", head, size - at);
        /* Heads nearly always have the length of the one before; look for the end only when not. */
        if (size - at < length || length < 4 || memcmp(head + length - 4, "\r\n\r\n", 4)) {
            const char *end = memmem(head, size - at, "\r\n\r\n", 4);
            if (!end) break;
            length = head_size = (size_t)(end - head) + 4;
        }
        if (size - at < length + body_size) break;
        if (memcmp(head + length, body, body_size)) wrong("wrong body", head, size - at);
        at += length + body_size;
        c->waiting--;
        answers++;
    }
    return at;
}

static void readable(struct connection *c) {
    ssize_t got = recv(c->fd, c->in + c->held, in_size - c->held, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) wrong("the server closed a connection", c->in, c->held);
    size_t size = c->held + (size_t)got, used = take(c, c->in, size);
    if (!c->waiting) {
        if (used != size) wrong("more than was asked for", c->in + used, size - used);
        int64_t now = clock_ns(CLOCK_MONOTONIC);
        if (measuring) record(&latencies, now - c->sent_at);
        c->held = 0;
        send_batch(c, now);
        return;
    }
    c->held = size - used;
    if (c->held == in_size) wrong("an answer is too long", c->in, size);
    if (used && c->held) memmove(c->in, c->in + used, c->held);
}

static void run_until(int64_t stop) {
    struct epoll_event events[EVENTS];
    int64_t quiet = clock_ns(CLOCK_MONOTONIC);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, 100);
        int64_t now = clock_ns(CLOCK_MONOTONIC);
        if (ready < 0 && errno != EINTR) die("epoll_wait");
        if (ready > 0) quiet = now;
        if (now - quiet > 10000000000LL) wrong("no answer for ten seconds", "", 0);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) {
                struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
                epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
                if (c->unsent) send_rest(c);
            }
            if (events[i].events & ~(uint32_t)EPOLLOUT) readable(c);
        }
        if (now >= stop) return;
    }
}

static double us(double share) { return percentile(&latencies, share) / 1000.0; }

int main(int argc, char **argv) {
    if (argc < 8) {
        fprintf(stderr, "usage: load PORT CONNECTIONS DEPTH WARMUP SECONDS REQUEST BODY [PID ...]\n");
        return 2;
    }
    int port = atoi(argv[1]), count = atoi(argv[2]);
    double warmup = atof(argv[4]), seconds = atof(argv[5]);
    depth = atoi(argv[3]);
    size_t request_size;
    char *request = read_file(argv[6], &request_size);
    body = read_file(argv[7], &body_size);
    if (count < 1 || depth < 1 || !request_size) return fprintf(stderr, "load: nothing to do\n"), 2;
    batch_size = request_size * (size_t)depth;
    batch = malloc(batch_size);
    in_size = (body_size + 16384) * (size_t)(depth < 16 ? depth : 16);
    struct connection *all = calloc((size_t)count, sizeof *all);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!batch || !all || epoll < 0) die("set-up");
    for (int i = 0; i < depth; i++) memcpy(batch + (size_t)i * request_size, request, request_size);

    for (int i = 0; i < count; i++) {
        struct connection *c = &all[i];
        c->fd = connected(port);
        c->in = malloc(in_size);
        if (!c->in) die("malloc");
        watch(epoll, c->fd, c);
    }
    int64_t start = clock_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) send_batch(&all[i], start);
    run_until(start + (int64_t)(warmup * 1e9));

    int pids = argc - 8;
    int64_t cpu = cpu_of(pids, argv + 8), own = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    start = clock_ns(CLOCK_MONOTONIC);
    answers = 0;
    measuring = 1;
    run_until(start + (int64_t)(seconds * 1e9));
    int64_t wall = clock_ns(CLOCK_MONOTONIC) - start;
    cpu = cpu_of(pids, argv + 8) - cpu;
    own = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
    printf("{\"answers\": %llu, \"seconds\": %.6f, \"server_cpu\": %.9f, \"own_cpu\": %.9f, \"p50_us\": %.1f, "
           "\"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
           (unsigned long long)answers, (double)wall / 1e9, (double)cpu / 1e9, (double)own / 1e9,
           us(.5), us(.9), us(.99), us(.999), us(1));
    return 0;
}
