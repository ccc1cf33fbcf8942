/* The floor: the least that a single-threaded HTTP server on epoll can do and still be answered for.
 *
 * It accepts, reads, counts the ends of request heads (CR LF CR LF) and sends that many copies of one
 * fixed answer. No parsing, no headers, no clock, no limits. What it costs is what the kernel's TCP costs;
 * a real server is judged by how little it adds.
 *
 * usage: floor FILE PORT      serves the bytes of FILE on 127.0.0.1:PORT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, MAX_FD = 65536, IN = 65536, BATCH = 64 };

/* How much of CR LF CR LF the connection's last read ended with: a head may be split anywhere. */
static unsigned char matched[MAX_FD];
static char in[IN];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int listen_on(int port) {
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) die("bind");
    return fd;
}

static size_t count_heads(int fd, const char *data, size_t size) {
    static const char end[] = "\r\n\r\n";
    size_t heads = 0;
    const char *at = data, *stop = data + size;
    /* Finish what the last read began, byte by byte; then let memmem run. */
    while (matched[fd] && at < stop) {
        matched[fd] = *at == end[matched[fd]] ? matched[fd] + 1 : *at == '\r';
        at++;
        if (matched[fd] == 4) heads++, matched[fd] = 0;
    }
    for (const char *hit; (hit = memmem(at, stop - at, end, 4)); at = hit + 4) heads++;
    for (int k = stop - at < 3 ? (int)(stop - at) : 3; k > 0 && !matched[fd]; k--)
        if (!memcmp(stop - k, end, k)) matched[fd] = (unsigned char)k;
    return heads;
}

/* Answers are small against the socket's buffer; a peer that does not read is dropped, not waited for. */
static int answer(int fd, const char *answers, size_t size, size_t heads) {
    while (heads) {
        size_t n = heads < BATCH ? heads : BATCH;
        if (send(fd, answers, n * size, MSG_NOSIGNAL) != (ssize_t)(n * size)) return -1;
        heads -= n;
    }
    return 0;
}

int main(int argc, char **argv) {
    static char one[IN];
    struct epoll_event events[EVENTS];
    if (argc != 3) return fprintf(stderr, "usage: floor FILE PORT\n"), 2;
    FILE *file = fopen(argv[1], "rb");
    if (!file) die(argv[1]);
    size_t size = fread(one, 1, sizeof one, file);
    fclose(file);
    char *answers = malloc(size * BATCH + 1);
    if (!size || !answers) return fprintf(stderr, "floor: %s is empty\n", argv[1]), 1;
    for (int i = 0; i < BATCH; i++) memcpy(answers + i * size, one, size);

    int listener = listen_on(atoi(argv[2])), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event)) die("epoll");
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        if (ready < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int yes = 1;
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                    if (fd >= MAX_FD) { close(fd); continue; }
                    matched[fd] = 0;
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                    event.events = EPOLLIN;
                    event.data.fd = fd;
                    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) close(fd);
                }
                continue;
            }
            ssize_t got = recv(fd, in, sizeof in, 0);
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
            if (got <= 0 || answer(fd, answers, size, count_heads(fd, in, (size_t)got))) close(fd);
        }
    }
}
