/* Preloaded: calls that Ember's compiled modules make fail once, where `fault_arm` says.
 *
 * Counted are only calls that come from those modules' own code (what Python's socket module calls
 * is Python's), and what they ask of the ring: an entry that is to fail is submitted with a
 * descriptor that does not exist, and the error of its completion is changed to the one wanted.
 * Python's allocations (`fault_python`) are counted in one thread, whoever makes them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MODULES = 64, ENTER = 426, SETUP = 425, REGISTER = 427, PWAIT2 = 441 };

static struct { uintptr_t from, to; } modules[MODULES];
static int module_count;

/* What fails: the calls number `nth` to `nth + times - 1` of `call`. */
static struct {
    char call[24];
    long nth, times, seen, failed;
    int error; /* 0: the call does a part of what it was asked for */
    int on;
    pid_t thread; /* Python's allocations: only in this one */
} armed;

static int note_module(struct dl_phdr_info *info, size_t size, void *unused)
{
    int i;
    (void)size;
    (void)unused;
    if (!strstr(info->dlpi_name, "/ember/") || !strstr(info->dlpi_name, ".so")) return 0;
    for (i = 0; i < info->dlpi_phnum && module_count < MODULES; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
        modules[module_count].from = info->dlpi_addr + part->p_vaddr;
        modules[module_count++].to = info->dlpi_addr + part->p_vaddr + part->p_memsz;
    }
    return 0;
}

/* Finds the modules; returns how many there are. Again after more were imported. */
int fault_watch(void)
{
    module_count = 0;
    dl_iterate_phdr(note_module, NULL);
    return module_count;
}

void fault_arm(const char *call, long nth, long times, int error)
{
    armed.on = 0;
    strncpy(armed.call, call, sizeof armed.call - 1);
    armed.nth = nth;
    armed.times = times;
    armed.error = error;
    armed.seen = armed.failed = 0;
    armed.on = 1;
}

/* Ends it; returns how many calls failed. */
long fault_disarm(void)
{
    armed.on = 0;
    return armed.failed;
}

long fault_seen(void) { return armed.seen; }

void fault_thread(int thread) { armed.thread = thread; }

/* Whether this call of `name` is to fail. */
static int due(const char *name)
{
    if (strcmp(armed.call, name) != 0) return 0;
    armed.seen++;
    if (armed.seen < armed.nth || armed.seen >= armed.nth + armed.times) return 0;
    armed.failed++;
    return 1;
}

static int from_ember(void *caller)
{
    uintptr_t at = (uintptr_t)caller;
    int i;
    for (i = 0; i < module_count; i++)
        if (at >= modules[i].from && at < modules[i].to) return 1;
    return 0;
}

#define FAILS(name) (armed.on && from_ember(__builtin_return_address(0)) && due(name))
#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)
#define FAIL(result) do { errno = armed.error; return result; } while (0)

/* ---- the ring ---------------------------------------------------------------------------- */

struct sqe { uint8_t opcode, flags; uint16_t ioprio; int32_t fd; uint64_t a, b; uint32_t len, op; uint64_t user_data; uint64_t rest[3]; };
struct cqe { uint64_t user_data; int32_t res; uint32_t flags; };
struct sq_offsets { uint32_t head, tail, mask, entries, flags, dropped, array, r; uint64_t u; };
struct cq_offsets { uint32_t head, tail, mask, entries, overflow, cqes, flags, r; uint64_t u; };
struct params { uint32_t sq, cq, flags, cpu, idle, features, wq, resv[3]; struct sq_offsets s; struct cq_offsets c; };

static struct { int fd; struct params p; char *base; struct sqe *sqes; } ring = {.fd = -1};
static struct { uint64_t user_data; int error; } broken[64];
static int broken_count;

#define AT(offset) ((uint32_t *)(ring.base + (offset)))

static const char *entry_name(int opcode)
{
    switch (opcode) {
    case 6: return "ring poll";
    case 13: return "ring accept";
    case 26: return "ring send";
    case 27: return "ring recv";
    }
    return NULL;
}

static void break_entries(unsigned count)
{
    uint32_t head, i;
    if (!ring.base || !ring.sqes) return;
    head = *AT(ring.p.s.head);
    for (i = 0; i < count; i++) {
        struct sqe *entry = &ring.sqes[(head + i) & *AT(ring.p.s.mask)];
        const char *name = entry_name(entry->opcode);
        if (!name || entry->fd < 0 || broken_count == 64 || !due(name)) continue;
        broken[broken_count].user_data = entry->user_data;
        broken[broken_count++].error = armed.error;
        entry->fd = -1;
    }
}

static void mend_completions(void)
{
    uint32_t at, end;
    if (!broken_count || !ring.base) return;
    end = __atomic_load_n(AT(ring.p.c.tail), __ATOMIC_ACQUIRE);
    for (at = *AT(ring.p.c.head); at != end; at++) {
        struct cqe *c = (struct cqe *)(ring.base + ring.p.c.cqes) + (at & *AT(ring.p.c.mask));
        int i;
        for (i = 0; i < broken_count; i++)
            if (c->user_data == broken[i].user_data && c->res == -EBADF) {
                c->res = -broken[i].error;
                broken[i] = broken[--broken_count];
                break;
            }
    }
}

long syscall(long number, ...)
{
    long a[6], result;
    va_list list;
    int i, ours;
    REAL(long, "syscall", long, ...);
    va_start(list, number);
    for (i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    ours = from_ember(__builtin_return_address(0));
    if (ours && armed.on) {
        if (number == SETUP && due("io_uring_setup")) FAIL(-1);
        if (number == REGISTER && due("io_uring_register")) FAIL(-1);
        if (number == ENTER && due("io_uring_enter")) FAIL(-1);
        if (number == PWAIT2 && due("epoll_pwait2")) FAIL(-1);
        if (number == ENTER) break_entries((unsigned)a[1]);
    }
    result = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (ours && number == SETUP && result >= 0) {
        ring.fd = (int)result;
        memcpy(&ring.p, (void *)a[1], sizeof ring.p);
        ring.base = NULL;
        ring.sqes = NULL;
        broken_count = 0;
    }
    if (ours && number == ENTER) {
        int kept = errno;
        mend_completions();
        errno = kept;
    }
    return result;
}

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    void *result;
    REAL(void *, "mmap", void *, size_t, int, int, int, off_t);
    if (FAILS("mmap")) FAIL(MAP_FAILED);
    result = real(at, size, prot, flags, fd, offset);
    if (fd >= 0 && fd == ring.fd && result != MAP_FAILED) {
        if (offset == 0) ring.base = result;
        else ring.sqes = result;
    }
    return result;
}

/* The same calls by the name that they have where offsets are said to have 64 bits. */
void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));

int munmap(void *at, size_t size)
{
    REAL(int, "munmap", void *, size_t);
    if (at == ring.base) ring.base = NULL;
    if (at == (void *)ring.sqes) ring.sqes = NULL;
    return real(at, size);
}

/* ---- system calls ------------------------------------------------------------------------ */

#define CALL(type, name, error_result, parameters, arguments) \
    type name parameters \
    { \
        static type (*real) parameters; \
        if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
        if (FAILS(#name)) FAIL(error_result); \
        return real arguments; \
    }

CALL(int, epoll_create1, -1, (int flags), (flags))
CALL(int, epoll_ctl, -1, (int fd, int op, int of, struct epoll_event *event), (fd, op, of, event))
CALL(int, epoll_wait, -1, (int fd, struct epoll_event *events, int n, int ms), (fd, events, n, ms))
CALL(int, eventfd, -1, (unsigned value, int flags), (value, flags))
CALL(int, accept4, -1, (int fd, struct sockaddr *at, socklen_t *n, int flags), (fd, at, n, flags))
CALL(int, shutdown, -1, (int fd, int how), (fd, how))
CALL(int, madvise, -1, (void *at, size_t size, int advice), (at, size, advice))
CALL(ssize_t, recv, -1, (int fd, void *at, size_t size, int flags), (fd, at, size, flags))
CALL(ssize_t, write, -1, (int fd, const void *at, size_t size), (fd, at, size))
CALL(void *, calloc, NULL, (size_t n, size_t size), (n, size))
CALL(void *, realloc, NULL, (void *at, size_t size), (at, size))
CALL(void *, malloc, NULL, (size_t size), (size))

ssize_t send(int fd, const void *at, size_t size, int flags)
{
    REAL(ssize_t, "send", int, const void *, size_t, int);
    if (FAILS("send")) {
        if (armed.error) FAIL(-1);
        size = (size + 1) / 2;
    }
    return real(fd, at, size, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL(ssize_t, "sendmsg", int, const struct msghdr *, int);
    if (FAILS("sendmsg")) {
        struct msghdr less = *message;
        struct iovec first;
        if (armed.error) FAIL(-1);
        first = message->msg_iov[0];
        first.iov_len = (first.iov_len + 1) / 2;
        less.msg_iov = &first;
        less.msg_iovlen = 1;
        return real(fd, &less, flags);
    }
    return real(fd, message, flags);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t size)
{
    REAL(ssize_t, "sendfile", int, int, off_t *, size_t);
    if (FAILS("sendfile")) {
        if (armed.error) FAIL(-1);
        size = (size + 1) / 2;
    }
    return real(to, from, offset, size);
}

ssize_t sendfile64(int, int, off_t *, size_t) __attribute__((alias("sendfile")));

/* It is closed all the same, as Linux does. */
int close(int fd)
{
    int fails, result;
    REAL(int, "close", int);
    fails = FAILS("close");
    result = real(fd);
    if (fails) FAIL(-1);
    return result;
}

/* ---- Python's allocations ---------------------------------------------------------------- */

struct allocator {
    void *ctx;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *);
};

static struct allocator before[3];

/* Python 3.12 and 3.13 crash when there is no memory for a function (a lambda, the code of a
 * generator expression): PyFunction_NewWithQualName gives back what it has not taken. */
static int for_function(void)
{
    void *frames[8];
    Dl_info info;
    int i, count = backtrace(frames, 8);
    for (i = 0; i < count; i++)
        if (dladdr(frames[i], &info) && info.dli_sname
            && strncmp(info.dli_sname, "PyFunction_New", 14) == 0)
            return 1;
    return 0;
}

/* FAULT_TRACE=1: also says where Python was. */
static int python_due(void)
{
    void (*dump)(int, void *);
    void *(*state)(void);
    if (!armed.on || armed.thread != gettid() || !due("python")) return 0;
    if (for_function()) {
        armed.failed--;
        return 0;
    }
    if (getenv("FAULT_TRACE")) {
        dump = (void (*)(int, void *))dlsym(RTLD_DEFAULT, "_Py_DumpTraceback");
        state = (void *(*)(void))dlsym(RTLD_DEFAULT, "PyGILState_GetThisThreadState");
        if (dump && state) dump(2, state());
    }
    return 1;
}

static void *python_malloc(void *ctx, size_t n)
{
    struct allocator *a = ctx;
    return python_due() ? NULL : a->malloc(a->ctx, n);
}

static void *python_calloc(void *ctx, size_t n, size_t size)
{
    struct allocator *a = ctx;
    return python_due() ? NULL : a->calloc(a->ctx, n, size);
}

static void *python_realloc(void *ctx, void *at, size_t n)
{
    struct allocator *a = ctx;
    return python_due() ? NULL : a->realloc(a->ctx, at, n);
}

static void python_free(void *ctx, void *at)
{
    struct allocator *a = ctx;
    a->free(a->ctx, at);
}

/* From now on Python's allocations are counted too; never undone. */
void fault_python(void)
{
    void (*get)(int, struct allocator *) = dlsym(RTLD_DEFAULT, "PyMem_GetAllocator");
    void (*set)(int, struct allocator *) = dlsym(RTLD_DEFAULT, "PyMem_SetAllocator");
    int domain;
    for (domain = 1; domain < 3; domain++) { /* objects and memory under the GIL; 0 is raw */
        struct allocator ours = {&before[domain], python_malloc, python_calloc, python_realloc,
                                 python_free};
        get(domain, &before[domain]);
        set(domain, &ours);
    }
}
