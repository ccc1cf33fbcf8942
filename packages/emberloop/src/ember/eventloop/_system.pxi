# What the loop asks of the system, besides csrc/ring.h.

cdef extern from "Python.h":
    object PyContext_CopyCurrent()
    unsigned long PyThread_get_thread_ident()

cdef extern from "<errno.h>" nogil:
    int errno
    enum:
        EAGAIN, EBUSY, ECANCELED, ECONNABORTED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, EINTR, EMFILE
        ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS, ENOENT, ENOMEM, ENONET, ENOPROTOOPT, ENOSYS
        ENOTCONN, EOPNOTSUPP, EPERM, EPIPE, EPROTO, ETIME, ETIMEDOUT

cdef extern from "<sys/socket.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t sys_send "send"(int, const void *, size_t, int)
    ssize_t sys_recv "recv"(int, void *, size_t, int)
    ssize_t sendmsg(int, const msghdr *, int)
    int sys_shutdown "shutdown"(int, int)
    int MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL, MSG_PEEK, MSG_WAITALL
    int SHUT_WR, SOCK_NONBLOCK, SOCK_CLOEXEC

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/socket.h>
    #include <sys/epoll.h>
    #include <sys/eventfd.h>
    #include <sys/syscall.h>
    #include <sys/uio.h>
    #include <time.h>
    #include <unistd.h>

    static int ember_accept(int fd)
    {
        extern int accept4(int, struct sockaddr *, socklen_t *, int);
        return accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }

    static double ember_clock(void)
    {
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
    }

    /* epoll_pwait2 (Linux 5.11) knows nanoseconds; without it a wait is rounded up to a
     * millisecond, as the standard library's selector does. */
    static int ember_epoll_wait(int fd, struct epoll_event *events, int room, int64_t ns)
    {
        static int has_pwait2 = 1;
        if (ns == 0) return epoll_wait(fd, events, room, 0);
        if (ns < 0) return epoll_wait(fd, events, room, -1);
    #ifdef SYS_epoll_pwait2
        if (has_pwait2) {
            struct { int64_t sec, nsec; } ts = { ns / 1000000000, ns % 1000000000 };
            int n = (int)syscall(SYS_epoll_pwait2, fd, events, room, &ts, NULL, 8);
            if (n >= 0 || (errno != ENOSYS && errno != EPERM)) return n;
            has_pwait2 = 0;
        }
    #else
        (void)has_pwait2;
    #endif
        ns = (ns + 999999) / 1000000;
        return epoll_wait(fd, events, room, ns > 86400000 ? 86400000 : (int)ns);
    }

    static int ember_wake(int fd)
    {
        const uint64_t one = 1;
        return write(fd, &one, sizeof one) == sizeof one ? 0 : -1;
    }

    static int ember_epoll_set(int fd, int op, int target, uint32_t events, void *what)
    {
        struct epoll_event event;
        event.events = events;
        event.data.ptr = what;
        return epoll_ctl(fd, op, target, &event);
    }
    """
    struct epoll_event:
        uint32_t events
        void *data_ptr "data.ptr"
    int ember_accept(int) nogil
    int ember_wake(int) nogil
    int eventfd(unsigned int, int) nogil
    double ember_clock() nogil
    int ember_epoll_wait(int, epoll_event *, int, int64_t) nogil
    int ember_epoll_set(int, int, int, uint32_t, void *) nogil
    int epoll_create1(int) nogil
    int sys_close "close"(int) nogil
    enum:
        EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLRDHUP, EPOLLEXCLUSIVE, EPOLLET, EPOLL_CLOEXEC
        EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EFD_CLOEXEC, EFD_NONBLOCK

cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *, size_t, int, int, int, long)
    int munmap(void *, size_t)
    void *MAP_FAILED
    int PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS

cdef extern from "ring.h" nogil:
    struct ring_sqe:
        unsigned char opcode, flags
        uint16_t ioprio, buf_group
        int32_t fd
        uint64_t off, addr, user_data
        uint32_t len, op_flags
    struct ring_cqe:
        uint64_t user_data
        int32_t res
        uint32_t flags
    struct ring:
        int fd
        uint32_t setup_flags, features
        uint32_t buf_size
        char *bufs
    int ring_open(ring *, uint32_t, uint32_t, uint32_t)
    void ring_close(ring *, int)
    void ring_give(ring *, uint32_t)
    int ring_give_more(ring *)
    uint32_t ring_unsubmitted(ring *)
    ring_sqe *ring_sqe_get "ring_sqe"(ring *)
    ring_sqe *ring_unsubmitted_sqe(ring *, uint32_t)
    int ring_enter(ring *, int, int64_t)
    int ring_owes(ring *)
    uint32_t ring_ready(ring *)
    ring_cqe *ring_peek(ring *, uint32_t)
    void ring_advance(ring *)
    enum:
        RING_OP_NOP, RING_OP_POLL_ADD, RING_OP_ACCEPT, RING_OP_ASYNC_CANCEL, RING_OP_SEND
        RING_OP_RECV
        RING_SQE_BUFFER_SELECT, RING_SQE_CQE_SKIP_SUCCESS, RING_RECV_MULTISHOT, RING_POLL_MULTISHOT
        RING_ACCEPT_MULTISHOT, RING_CANCEL_ALL, RING_CANCEL_ANY
        RING_CQE_F_BUFFER, RING_CQE_F_MORE, RING_CQE_BUFFER_SHIFT
        RING_SETUP_NO_SQARRAY
