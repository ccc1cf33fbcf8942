/* io_uring by raw system calls: only what the loop uses, nothing of liburing.
 *
 * The kernel's own header is not included: distributions ship one that is older than the kernel
 * that runs (Debian 12: 6.1), and the ABI is stable. Names follow the kernel's.
 */
#ifndef EMBER_RING_H
#define EMBER_RING_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __NR_io_uring_setup
#define __NR_io_uring_setup 425
#define __NR_io_uring_enter 426
#define __NR_io_uring_register 427
#endif

struct ring_sqe {
    uint8_t opcode, flags;
    uint16_t ioprio;
    int32_t fd;
    uint64_t off, addr;
    uint32_t len, op_flags;
    uint64_t user_data;
    uint16_t buf_group, personality;
    int32_t file_index;
    uint64_t addr3, pad;
};

struct ring_cqe {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
};

struct ring_sq_offsets {
    uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, resv1;
    uint64_t user_addr;
};

struct ring_cq_offsets {
    uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1;
    uint64_t user_addr;
};

struct ring_params {
    uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd;
    uint32_t resv[3];
    struct ring_sq_offsets sq_off;
    struct ring_cq_offsets cq_off;
};

struct ring_buf {
    uint64_t addr;
    uint32_t len;
    uint16_t bid, tail; /* `tail` is the ring's tail in entry 0 and reserved elsewhere */
};

struct ring_buf_reg {
    uint64_t ring_addr;
    uint32_t ring_entries;
    uint16_t bgid, flags;
    uint64_t resv[3];
};

struct ring_getevents {
    uint64_t sigmask;
    uint32_t sigmask_sz, pad;
    uint64_t ts;
};

struct ring_rsrc_update {
    uint32_t offset, resv;
    uint64_t data;
};

struct ring_timespec {
    int64_t sec, nsec;
};

enum {
    RING_SETUP_CQSIZE = 1u << 3,
    RING_SETUP_CLAMP = 1u << 4,
    RING_SETUP_SUBMIT_ALL = 1u << 7,
    RING_SETUP_COOP_TASKRUN = 1u << 8,
    RING_SETUP_TASKRUN_FLAG = 1u << 9,
    RING_SETUP_SINGLE_ISSUER = 1u << 12,
    RING_SETUP_DEFER_TASKRUN = 1u << 13,
    RING_SETUP_NO_SQARRAY = 1u << 16, /* Linux 6.6 */

    RING_FEAT_SINGLE_MMAP = 1u << 0,
    RING_FEAT_NODROP = 1u << 1,
    RING_FEAT_SUBMIT_STABLE = 1u << 2,
    RING_FEAT_EXT_ARG = 1u << 8,
    RING_FEAT_CQE_SKIP = 1u << 11,

    RING_ENTER_GETEVENTS = 1u << 0,
    RING_ENTER_EXT_ARG = 1u << 3,
    RING_ENTER_REGISTERED_RING = 1u << 4,

    RING_REGISTER_RING_FDS = 20,
    RING_REGISTER_PBUF_RING = 22,

    RING_SQ_CQ_OVERFLOW = 1u << 1,
    RING_SQ_TASKRUN = 1u << 2,

    RING_OP_NOP = 0,
    RING_OP_POLL_ADD = 6,
    RING_OP_ACCEPT = 13,
    RING_OP_ASYNC_CANCEL = 14,
    RING_OP_SEND = 26,
    RING_OP_RECV = 27,

    RING_SQE_BUFFER_SELECT = 1u << 5,
    RING_SQE_CQE_SKIP_SUCCESS = 1u << 6,

    RING_RECV_MULTISHOT = 1u << 1,   /* in ioprio */
    RING_ACCEPT_MULTISHOT = 1u << 0, /* in ioprio */
    RING_POLL_MULTISHOT = 1u << 0,   /* in len */
    RING_CANCEL_ALL = 1u << 0,
    RING_CANCEL_ANY = 1u << 2,

    RING_CQE_F_BUFFER = 1u << 0,
    RING_CQE_F_MORE = 1u << 1,
    RING_CQE_BUFFER_SHIFT = 16,
};

#define RING_OFF_SQES 0x10000000ULL

struct ring {
    int fd, enter_fd;
    uint32_t enter_flags, setup_flags, features;
    /* submission */
    uint32_t *sq_head, *sq_tail, *sq_flags;
    uint32_t sq_mask, sq_entries, sq_local;
    struct ring_sqe *sqes;
    /* completion */
    uint32_t *cq_head, *cq_tail;
    uint32_t cq_mask;
    struct ring_cqe *cqes;
    void *rings;
    size_t rings_size, sqes_size;
    /* provided buffers */
    struct ring_buf *buf_ring;
    uint16_t buf_tail;
    uint32_t buf_count, buf_given, buf_size;
    char *bufs;
};

/* Only the thread's last state matters to the kernel; the memory orders are those of the ABI. */
#define ring_load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define ring_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

static int ring_setup_call(uint32_t entries, struct ring_params *p)
{
    int fd = (int)syscall(__NR_io_uring_setup, entries, p);
    return fd < 0 ? -errno : fd;
}

static int ring_register(int fd, unsigned op, void *arg, unsigned n)
{
    int r = (int)syscall(__NR_io_uring_register, fd, op, arg, n);
    return r < 0 ? -errno : r;
}

/* The mappings are made for this process and thread alone; `inherited` is true in a child of
 * fork(), where they were never copied (MADV_DONTFORK) and must not be unmapped: another mapping
 * may have taken their place. */
static void ring_close(struct ring *r, int inherited)
{
    if (!inherited) {
        if (r->sqes) munmap(r->sqes, r->sqes_size);
        if (r->rings) munmap(r->rings, r->rings_size);
        if (r->buf_ring) munmap(r->buf_ring, r->buf_count * sizeof(struct ring_buf));
        if (r->bufs) munmap(r->bufs, (size_t)r->buf_count * r->buf_size);
    }
    if (r->fd >= 0) close(r->fd);
    memset(r, 0, sizeof *r);
    r->fd = r->enter_fd = -1;
}

/* Make up to `upto` of the receive buffers known to the kernel. */
static void ring_give(struct ring *r, uint32_t bid)
{
    struct ring_buf *b = &r->buf_ring[r->buf_tail & (r->buf_count - 1)];
    b->addr = (uint64_t)(uintptr_t)(r->bufs + (size_t)bid * r->buf_size);
    b->len = r->buf_size;
    b->bid = (uint16_t)bid;
    r->buf_tail++;
    ring_store(&r->buf_ring[0].tail, r->buf_tail);
}

/* Gives the kernel more of the buffers: they are handed out gradually, because it goes round all
 * that it has, and each one touched is resident memory. Returns 0 when it has all already. */
static int ring_give_more(struct ring *r)
{
    uint32_t upto = r->buf_given ? r->buf_given * 2 : 32;
    if (r->buf_given == r->buf_count) return 0;
    if (upto > r->buf_count) upto = r->buf_count;
    while (r->buf_given < upto) ring_give(r, r->buf_given++);
    return 1;
}

static int ring_map(struct ring *r, struct ring_params *p)
{
    size_t sq = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
    size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct ring_cqe);
    char *base;
    if (p->flags & RING_SETUP_NO_SQARRAY) sq = 0;
    r->rings_size = sq > cq ? sq : cq;
    base = mmap(NULL, r->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, 0);
    if (base == MAP_FAILED) return -errno;
    r->rings = base;
    r->sqes_size = p->sq_entries * sizeof(struct ring_sqe);
    r->sqes = mmap(NULL, r->sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd,
                   RING_OFF_SQES);
    if (r->sqes == MAP_FAILED) {
        r->sqes = NULL;
        return -errno;
    }
    madvise(r->rings, r->rings_size, MADV_DONTFORK);
    madvise(r->sqes, r->sqes_size, MADV_DONTFORK);
    r->sq_head = (uint32_t *)(base + p->sq_off.head);
    r->sq_tail = (uint32_t *)(base + p->sq_off.tail);
    r->sq_flags = (uint32_t *)(base + p->sq_off.flags);
    r->sq_mask = *(uint32_t *)(base + p->sq_off.ring_mask);
    r->sq_entries = p->sq_entries;
    r->cq_head = (uint32_t *)(base + p->cq_off.head);
    r->cq_tail = (uint32_t *)(base + p->cq_off.tail);
    r->cq_mask = *(uint32_t *)(base + p->cq_off.ring_mask);
    r->cqes = (struct ring_cqe *)(base + p->cq_off.cqes);
    if (!(p->flags & RING_SETUP_NO_SQARRAY)) {
        uint32_t *array = (uint32_t *)(base + p->sq_off.array), i;
        for (i = 0; i < p->sq_entries; i++) array[i] = i;
    }
    return 0;
}

static int ring_make_buffers(struct ring *r, uint32_t count, uint32_t size)
{
    struct ring_buf_reg reg;
    void *m;
    int err;
    m = mmap(NULL, count * sizeof(struct ring_buf), PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) return -errno;
    r->buf_ring = m;
    r->buf_count = count;
    r->buf_size = size;
    m = mmap(NULL, (size_t)count * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
             0);
    if (m == MAP_FAILED) {
        return -errno;
    }
    r->bufs = m;
    /* Without this a fork would move the pages that the kernel writes to away from us. */
    madvise(r->buf_ring, count * sizeof(struct ring_buf), MADV_DONTFORK);
    madvise(r->bufs, (size_t)count * size, MADV_DONTFORK);
    memset(&reg, 0, sizeof reg);
    reg.ring_addr = (uint64_t)(uintptr_t)r->buf_ring;
    reg.ring_entries = count;
    err = ring_register(r->fd, RING_REGISTER_PBUF_RING, &reg, 1);
    if (err < 0) return err;
    ring_give_more(r);
    return 0;
}

/* Returns 0 or -errno: -EPERM and -ENOSYS are normal life (containers), -EINVAL an old kernel. */
static int ring_open(struct ring *r, uint32_t entries, uint32_t buffers, uint32_t buffer_size)
{
    const uint32_t base = RING_SETUP_CQSIZE | RING_SETUP_CLAMP | RING_SETUP_SUBMIT_ALL |
                          RING_SETUP_SINGLE_ISSUER | RING_SETUP_DEFER_TASKRUN |
                          RING_SETUP_COOP_TASKRUN | RING_SETUP_TASKRUN_FLAG;
    const uint32_t needed =
        RING_FEAT_SINGLE_MMAP | RING_FEAT_NODROP | RING_FEAT_SUBMIT_STABLE | RING_FEAT_EXT_ARG | RING_FEAT_CQE_SKIP;
    struct ring_params p;
    struct ring_rsrc_update reg;
    uint32_t extra = RING_SETUP_NO_SQARRAY;
    int err;

    memset(r, 0, sizeof *r);
    r->fd = r->enter_fd = -1;
    for (;;) {
        memset(&p, 0, sizeof p);
        p.flags = base | extra;
        p.cq_entries = entries * 8;
        err = ring_setup_call(entries, &p); /* always close-on-exec */
        if (err == -EINVAL && extra) {
            extra = 0;
            continue;
        }
        break;
    }
    if (err < 0) return err;
    r->fd = r->enter_fd = err;
    r->setup_flags = p.flags;
    r->features = p.features;
    err = (p.features & needed) == needed ? ring_map(r, &p) : -EINVAL;
    if (err == 0) err = ring_make_buffers(r, buffers, buffer_size);
    if (err < 0) {
        ring_close(r, 0);
        return err;
    }
    reg.offset = UINT32_MAX;
    reg.resv = 0;
    reg.data = (uint64_t)r->fd;
    if (ring_register(r->fd, RING_REGISTER_RING_FDS, &reg, 1) == 1) {
        r->enter_fd = (int)reg.offset;
        r->enter_flags = RING_ENTER_REGISTERED_RING;
    }
    return 0;
}

static uint32_t ring_unsubmitted(struct ring *r)
{
    return r->sq_local - ring_load(r->sq_head);
}

/* An entry that was made and not yet submitted, `ahead` of the oldest: still ours to change. */
static struct ring_sqe *ring_unsubmitted_sqe(struct ring *r, uint32_t ahead)
{
    return &r->sqes[(ring_load(r->sq_head) + ahead) & r->sq_mask];
}

/* A zeroed submission entry, or NULL when the queue is full: submit first. */
static struct ring_sqe *ring_sqe(struct ring *r)
{
    struct ring_sqe *sqe;
    if (r->sq_local - ring_load(r->sq_head) >= r->sq_entries) return NULL;
    sqe = &r->sqes[r->sq_local & r->sq_mask];
    r->sq_local++;
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

/* Submits everything and asks for completions; waits for one when `wait` (timeout in ns, negative:
 * for ever). Returns what was submitted or -errno; -ETIME and -EINTR are no errors. */
static int ring_enter(struct ring *r, int wait, int64_t timeout_ns)
{
    struct ring_getevents arg;
    struct ring_timespec ts;
    uint32_t n = ring_unsubmitted(r);
    int res;
    ring_store(r->sq_tail, r->sq_local);
    memset(&arg, 0, sizeof arg);
    arg.sigmask_sz = 8;
    if (wait && timeout_ns >= 0) {
        ts.sec = timeout_ns / 1000000000;
        ts.nsec = timeout_ns % 1000000000;
        arg.ts = (uint64_t)(uintptr_t)&ts;
    }
    res = (int)syscall(__NR_io_uring_enter, r->enter_fd, n, wait ? 1 : 0,
                       RING_ENTER_GETEVENTS | RING_ENTER_EXT_ARG | r->enter_flags, &arg,
                       sizeof arg);
    return res < 0 ? -errno : res;
}

/* Completions lie in the kernel and need an enter to become visible. */
static int ring_owes(struct ring *r)
{
    return (ring_load(r->sq_flags) & (RING_SQ_CQ_OVERFLOW | RING_SQ_TASKRUN)) != 0;
}

static uint32_t ring_ready(struct ring *r)
{
    return ring_load(r->cq_tail) - *r->cq_head;
}

static struct ring_cqe *ring_peek(struct ring *r, uint32_t ahead)
{
    return &r->cqes[(*r->cq_head + ahead) & r->cq_mask];
}

static void ring_advance(struct ring *r)
{
    ring_store(r->cq_head, *r->cq_head + 1);
}

#endif
