/* What the generators share: ending with a reason, clocks, latencies, files, connections. */
#ifndef EMBER_BENCH_MEASURE_H
#define EMBER_BENCH_MEASURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

/* The machine does not do what it should: exit status 2. */
static void die(const char *what) {
    perror(what);
    exit(2);
}

/* The server does not: exit status 1, with the first bytes of what it sent. */
static void wrong(const char *why, const char *data, size_t size) {
    fprintf(stderr, "%s: %s: %.*s\n", program_invocation_short_name, why, (int)(size < 300 ? size : 300), data);
    exit(1);
}

static int64_t clock_ns(clockid_t id) {
    struct timespec t;
    if (clock_gettime(id, &t)) return -1;
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Nanoseconds of CPU that the processes have used. */
static int64_t cpu_of(int count, char **pids) {
    int64_t sum = 0;
    for (int i = 0; i < count; i++) {
        clockid_t id;
        if (clock_getcpuclockid(atoi(pids[i]), &id)) die("clock_getcpuclockid: a server process is gone");
        sum += clock_ns(id);
    }
    return sum;
}

/* Latencies in slots that are within 1/64 of their value. */
enum { SLOTS = 64 * 64 };
struct histogram {
    uint64_t slots[SLOTS];
};

static void record(struct histogram *h, int64_t ns) {
    uint64_t value = ns < 0 ? 0 : (uint64_t)ns;
    int shift = value < 128 ? 0 : 57 - __builtin_clzll(value);
    size_t slot = (size_t)shift * 64 + (value >> shift);
    h->slots[slot < SLOTS ? slot : SLOTS - 1]++;
}

/* In nanoseconds; 0 where nothing was recorded. */
static double percentile(const struct histogram *h, double share) {
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < SLOTS; i++) total += h->slots[i];
    for (size_t i = 0; i < SLOTS; i++) {
        seen += h->slots[i];
        if (seen && (double)seen >= share * (double)total) {
            /* Inverse of record(): from slot 128 on, the value keeps seven bits and was shifted. */
            int shift = i < 128 ? 0 : (int)(i / 64) - 1;
            return (double)((uint64_t)(i - (size_t)shift * 64) << shift);
        }
    }
    return 0;
}

/* The whole file; a zero byte follows it. */
static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) die(path);
    long length = ftell(file);
    char *data = malloc((size_t)length + 1);
    if (length < 0 || !data || fseek(file, 0, SEEK_SET)) die(path);
    *size = fread(data, 1, (size_t)length, file);
    if (*size != (size_t)length) die(path);
    data[length] = 0;
    fclose(file);
    return data;
}

/* A blocking connection to the port of this machine, which sends at once what it is given. */
static int connected(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return fd;
}

/* From now on `epoll` tells when `fd` can be read; `owner` comes with it. */
static void watch(int epoll, int fd, void *owner) {
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = owner};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e)) die("epoll_ctl");
}

#endif
