/* The listener of the SSE part: one thread, epoll, many event streams, every event looked at.
 *
 * usage: streams PORT COUNT WARMUP_SECONDS SECONDS REQUEST_FILE TEXT [PID ...]
 *
 * Opens COUNT connections and sends the bytes of REQUEST_FILE on each. Every answer must be a chunked 200 of
 * type text/event-stream. In it an event must have an `id:` that is one more than the stream's event before, and one
 * line `data: {"n":ID,"at":NANOSECONDS,"text":"TEXT"}`, whatever the order of the fields and the ends of the lines
 * (WHATWG HTML section 9.2). AT is CLOCK_MONOTONIC when the event was published: how late it is goes into a histogram.
 * Comments and events without data are passed over. What is lost, repeated or out of order is counted, by stream.
 *
 * The window opens when every stream has had its first event and WARMUP has passed; CPU clocks of the PIDs are read
 * when it opens and closes.
 *
 * prints one line of JSON; exit status 1 when an answer was none, or a stream ended.
 */
#define _GNU_SOURCE
#include "../measure.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

enum { EVENTS = 1024, IN = 65536, LINE = 1024 };

struct stream {
    int fd;
    enum { HEAD, SIZE, DATA, DATA_END } state;
    long left;     /* bytes of the chunk still to come */
    size_t held;   /* bytes of an unfinished head, size or line of the event stream */
    char line[LINE * 4];
    size_t text_held;
    char text[LINE];
    long long id, data_n, last; /* -1: none */
    long long at;
    uint64_t got;
};

static struct histogram lateness;
static uint64_t events_seen, lost, disorder, wrong_data;
static const char *text;
static int epoll, measuring, started;
static int64_t now_ns;

/* An empty line: the event is whole. */
static void dispatch(struct stream *s) {
    if (s->data_n >= 0) {
        if (s->data_n != s->id) wrong_data++;
        if (s->last >= 0 && s->id <= s->last) disorder++;
        else if (s->last >= 0) lost += (uint64_t)(s->id - s->last - 1);
        if (s->last < 0) started++;
        s->last = s->id;
        s->got++;
        if (measuring) {
            events_seen++;
            record(&lateness, now_ns - s->at);
        }
    }
    s->id = s->data_n = -1;
}

static void field(struct stream *s, char *line, size_t size) {
    line[size] = 0;
    if (!size) {
        dispatch(s);
    } else if (!strncmp(line, "id: ", 4)) {
        s->id = atoll(line + 4);
    } else if (!strncmp(line, "data: {", 7)) {
        int length = 0;
        long long n = -1, at = 0;
        if (sscanf(line, "data: {\"n\":%lld,\"at\":%lld,\"text\":\"%n", &n, &at, &length) != 2 || !length) n = -2;
        size_t want = strlen(text);
        if (n >= 0 && (size != (size_t)length + want + 2 || memcmp(line + length, text, want) ||
                       memcmp(line + length + want, "\"}", 2)))
            n = -2;
        if (n < 0) wrong("wrong data", line, size);
        if (s->data_n >= 0) wrong("two lines of data in one event", line, size);
        s->data_n = n;
        s->at = at;
    } else if (line[0] != ':' && strncmp(line, "event:", 6) && strncmp(line, "retry:", 6)) {
        wrong("a field that was not expected", line, size);
    }
}

/* Bytes of the event stream, the chunks taken off. */
static void content(struct stream *s, const char *data, size_t size) {
    while (size) {
        const char *end = memchr(data, '\n', size);
        size_t take = end ? (size_t)(end - data) : size;
        if (s->text_held + take >= LINE) wrong("a line is too long", data, size);
        memcpy(s->text + s->text_held, data, take);
        s->text_held += take;
        if (!end) return;
        if (s->text_held && s->text[s->text_held - 1] == '\r') s->text_held--;
        field(s, s->text, s->text_held);
        s->text_held = 0;
        data += take + 1;
        size -= take + 1;
    }
}

static void take(struct stream *s, const char *data, size_t size) {
    while (size) {
        if (s->state == DATA) {
            size_t n = size < (size_t)s->left ? size : (size_t)s->left;
            content(s, data, n);
            data += n, size -= n, s->left -= (long)n;
            if (!s->left) s->state = DATA_END, s->held = 0;
            continue;
        }
        /* Byte by byte: heads come once, sizes are short. */
        if (s->held + 1 >= sizeof s->line) wrong("too long", s->line, s->held);
        s->line[s->held++] = *data++;
        s->line[s->held] = 0;
        size--;
        if (s->state == HEAD && s->held >= 4 && !memcmp(s->line + s->held - 4, "\r\n\r\n", 4)) {
            if (strncmp(s->line, "HTTP/1.1 200 ", 13)) wrong("not a 200", s->line, s->held);
            if (!strcasestr(s->line, "transfer-encoding: chunked") ||
                !strcasestr(s->line, "content-type: text/event-stream"))
                wrong("not a chunked event stream", s->line, s->held);
            s->state = SIZE, s->held = 0;
        } else if (s->state == SIZE && s->line[s->held - 1] == '\n') {
            char *end;
            s->left = strtol(s->line, &end, 16);
            if (end == s->line || s->left < 0) wrong("not the size of a chunk", s->line, s->held);
            if (!s->left) wrong("a stream ended", "", 0);
            s->state = DATA, s->held = 0;
        } else if (s->state == DATA_END && s->held == 2) {
            if (memcmp(s->line, "\r\n", 2)) wrong("a chunk does not end", s->line, 2);
            s->state = SIZE, s->held = 0;
        }
    }
}

static void run_until(int64_t stop, int want) {
    static struct epoll_event ready[EVENTS];
    static char in[IN];
    int64_t quiet = clock_ns(CLOCK_MONOTONIC);
    for (;;) {
        int count = epoll_wait(epoll, ready, EVENTS, 50);
        now_ns = clock_ns(CLOCK_MONOTONIC);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        if (count > 0) quiet = now_ns;
        if (now_ns - quiet > 20000000000LL) wrong("no event for twenty seconds", "", 0);
        for (int i = 0; i < count; i++) {
            struct stream *s = ready[i].data.ptr;
            ssize_t got = recv(s->fd, in, sizeof in, 0);
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
            if (got <= 0) wrong("the server closed a connection", "", 0);
            take(s, in, (size_t)got);
        }
        if (want ? started >= want : now_ns >= stop) return;
        if (want && now_ns >= stop) wrong("not every stream had an event in time", "", 0);
    }
}

static double ms(double share) { return percentile(&lateness, share) / 1e6; }

int main(int argc, char **argv) {
    if (argc < 7) return fprintf(stderr, "usage: streams PORT COUNT WARMUP SECONDS REQUEST TEXT [PID ...]\n"), 2;
    int count = atoi(argv[2]);
    double warmup = atof(argv[3]), seconds = atof(argv[4]);
    size_t size;
    char *request = read_file(argv[5], &size);
    text = argv[6];
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct stream *all = calloc((size_t)count, sizeof *all);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!all || count < 1 || epoll < 0) die("set-up");
    for (int i = 0; i < count; i++) {
        struct stream *s = &all[i];
        s->id = s->data_n = s->last = -1;
        s->fd = connected(atoi(argv[1]));
        if (send(s->fd, request, size, MSG_NOSIGNAL) != (ssize_t)size) die("send");
        fcntl(s->fd, F_SETFL, O_NONBLOCK);
        watch(epoll, s->fd, s);
    }
    run_until(clock_ns(CLOCK_MONOTONIC) + 180000000000LL, count);
    run_until(clock_ns(CLOCK_MONOTONIC) + (int64_t)(warmup * 1e9), 0);
    int pids = argc - 7;
    int64_t cpu = cpu_of(pids, argv + 7), start = clock_ns(CLOCK_MONOTONIC);
    measuring = 1;
    run_until(start + (int64_t)(seconds * 1e9), 0);
    int64_t wall = clock_ns(CLOCK_MONOTONIC) - start;
    cpu = cpu_of(pids, argv + 7) - cpu;
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < count; i++) {
        if (all[i].got < least) least = all[i].got;
        if (all[i].got > most) most = all[i].got;
    }
    printf("{\"streams\": %d, \"events\": %llu, \"seconds\": %.6f, \"server_cpu\": %.9f, \"lost\": %llu, "
           "\"disorder\": %llu, \"wrong\": %llu, \"least\": %llu, \"most\": %llu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"max_ms\": %.3f}\n",
           count, (unsigned long long)events_seen, (double)wall / 1e9, (double)cpu / 1e9, (unsigned long long)lost,
           (unsigned long long)disorder, (unsigned long long)wrong_data, (unsigned long long)least,
           (unsigned long long)most, ms(.5), ms(.99), ms(1));
    return 0;
}
