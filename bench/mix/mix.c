/* The generator for a mix of requests: one thread, epoll, keep-alive connections, one request in flight on each.
 *
 * usage: mix PORT CONNECTIONS WARMUP_SECONDS SECONDS SCRIPT_FILE [PID ...]
 *
 * SCRIPT_FILE holds entries one after another: five 32-bit numbers of this machine's order (kind, status, size of the
 * request, whether the body is compared, size of the body) and the bytes of request and body. Connections take the next
 * entry in turn and begin again at the end. An answer is right when it has the status, a Content-Length, and, where it is
 * compared, exactly this body.
 *
 * PID: processes whose CPU clocks are read when the measured window opens and closes.
 *
 * prints one line of JSON, with counts and latencies by kind (0 to 3); exit status 1 when an answer was wrong or the server
 * closed a connection.
 */
#define _GNU_SOURCE
#include "../measure.h"

#include <string.h>
#include <strings.h>

enum { EVENTS = 512, KINDS = 4, IN = 1 << 20 };

struct entry {
    uint32_t kind, status, request_size, compared, body_size;
    const char *request, *body;
};

struct connection {
    int fd;
    const struct entry *asked;
    size_t held;
    int64_t sent_at;
    char *in;
};

static struct entry *entries;
static size_t count_entries, next_entry;
static int epoll, measuring;
static uint64_t answers[KINDS], all_answers[KINDS];
static struct histogram latencies, by_kind[KINDS];

static void read_script(const char *path) {
    size_t size;
    char *data = read_file(path, &size), *at = data;
    entries = calloc(size / 20 + 1, sizeof *entries);
    if (!entries) die("malloc");
    while (at < data + size) {
        struct entry *e = &entries[count_entries++];
        memcpy(e, at, 20);
        e->request = at + 20;
        e->body = e->request + e->request_size;
        at += 20 + e->request_size + e->body_size;
        if (e->kind >= KINDS || at > data + size) wrong("the script is broken", "", 0);
    }
    if (!count_entries) wrong("the script is empty", "", 0);
}

static void ask(struct connection *c, int64_t now) {
    c->asked = &entries[next_entry++ % count_entries];
    c->sent_at = now;
    c->held = 0;
    /* Requests are small and the server has read the one before: they fit into the socket's buffer. */
    if (send(c->fd, c->asked->request, c->asked->request_size, MSG_NOSIGNAL) != (ssize_t)c->asked->request_size)
        die("send");
}

static void readable(struct connection *c) {
    ssize_t got = recv(c->fd, c->in + c->held, IN - 1 - c->held, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) wrong("the server closed a connection", c->in, c->held);
    c->held += (size_t)got;
    c->in[c->held] = 0;
    char *end = memmem(c->in, c->held, "\r\n\r\n", 4);
    if (!end) return;
    const struct entry *e = c->asked;
    char *body = end + 4, saved = *body;
    *body = 0; /* so that only the head is searched */
    const char *length = strcasestr(c->in, "\r\ncontent-length:");
    if (!length) wrong("no Content-Length", c->in, c->held);
    size_t size = strtoul(length + 17, NULL, 10);
    if (strncmp(c->in, "HTTP/1.1 ", 9) || strtoul(c->in + 9, NULL, 10) != e->status) {
        *body = saved;
        wrong("wrong status", c->in, c->held);
    }
    *body = saved;
    if ((size_t)(body - c->in) + size >= IN) wrong("an answer is too long", c->in, c->held);
    if (c->held < (size_t)(body - c->in) + size) return;
    if (c->held > (size_t)(body - c->in) + size) wrong("more than was asked for", body + size, c->held);
    if (e->compared && (size != e->body_size || memcmp(body, e->body, size))) wrong("wrong body", body, size);
    int64_t now = clock_ns(CLOCK_MONOTONIC);
    all_answers[e->kind]++;
    if (measuring) {
        answers[e->kind]++;
        record(&latencies, now - c->sent_at);
        record(&by_kind[e->kind], now - c->sent_at);
    }
    if (measuring < 2) ask(c, now);
    else c->asked = NULL;
}

/* Until `stop`, or with `waiting` until nothing is in flight. */
static void run_until(int64_t stop, struct connection *all, int count, int waiting) {
    static struct epoll_event events[EVENTS];
    int64_t quiet = clock_ns(CLOCK_MONOTONIC);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, 50);
        int64_t now = clock_ns(CLOCK_MONOTONIC);
        if (ready < 0 && errno != EINTR) die("epoll_wait");
        if (ready > 0) quiet = now;
        if (now - quiet > 20000000000LL) wrong("no answer for twenty seconds", "", 0);
        for (int i = 0; i < ready; i++) readable(events[i].data.ptr);
        if (!waiting && now >= stop) return;
        if (waiting) {
            int flying = 0;
            for (int i = 0; i < count; i++) flying += all[i].asked != NULL;
            if (!flying) return;
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 6) return fprintf(stderr, "usage: mix PORT CONNECTIONS WARMUP SECONDS SCRIPT [PID ...]\n"), 2;
    int count = atoi(argv[2]), pids = argc - 6;
    double warmup = atof(argv[3]), seconds = atof(argv[4]);
    read_script(argv[5]);
    struct connection *all = calloc((size_t)count, sizeof *all);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!all || count < 1 || epoll < 0) die("set-up");
    for (int i = 0; i < count; i++) {
        struct connection *c = &all[i];
        c->fd = connected(atoi(argv[1]));
        c->in = malloc(IN);
        if (!c->in) die("malloc");
        watch(epoll, c->fd, c);
    }
    int64_t start = clock_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) ask(&all[i], start);
    run_until(start + (int64_t)(warmup * 1e9), all, count, 0);
    int64_t cpu = cpu_of(pids, argv + 6);
    start = clock_ns(CLOCK_MONOTONIC);
    measuring = 1;
    run_until(start + (int64_t)(seconds * 1e9), all, count, 0);
    int64_t wall = clock_ns(CLOCK_MONOTONIC) - start;
    cpu = cpu_of(pids, argv + 6) - cpu;
    uint64_t sum = 0, counted[KINDS];
    for (int k = 0; k < KINDS; k++) sum += counted[k] = answers[k];
    double p50 = percentile(&latencies, .5) / 1000.0, p99 = percentile(&latencies, .99) / 1000.0, kinds[KINDS];
    for (int k = 0; k < KINDS; k++) kinds[k] = percentile(&by_kind[k], .5) / 1000.0;
    /* What is in flight is waited for, so that every request that was sent is known to have been answered. */
    measuring = 2;
    run_until(0, all, count, 1);
    printf("{\"answers\": %llu, \"seconds\": %.6f, \"server_cpu\": %.9f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"by_kind\": [%llu, %llu, %llu, %llu], \"sent_by_kind\": [%llu, %llu, %llu, %llu], "
           "\"p50_by_kind\": [%.1f, %.1f, %.1f, %.1f]}\n",
           (unsigned long long)sum, (double)wall / 1e9, (double)cpu / 1e9, p50, p99, (unsigned long long)counted[0],
           (unsigned long long)counted[1], (unsigned long long)counted[2], (unsigned long long)counted[3],
           (unsigned long long)all_answers[0], (unsigned long long)all_answers[1], (unsigned long long)all_answers[2],
           (unsigned long long)all_answers[3], kinds[0], kinds[1], kinds[2], kinds[3]);
    return 0;
}
