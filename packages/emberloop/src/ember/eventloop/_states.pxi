# What the loop and its streams consist of, and the states that they may be in.

# What user_data points at, in the low bits of the pointer.
cdef enum Tag:
    TAG_NONE = 0
    TAG_RECV = 1
    TAG_OUTBOX = 2
    TAG_ACCEPT = 3
    TAG_POLL = 4
    TAG_SEND = 5            # no pointer: arena in bit 3, span above
    TAG_WAKE = 6            # no pointer
    TAG_WATCH = 7
    TAG_MASK = 7

cdef enum:
    NO_CORE = 0
    RING_CORE = 1
    EPOLL_CORE = 2

    SQ_ENTRIES = 512
    ARENA_SIZE = 512 * 1024
    ARENA_SLACK = 64 * 1024         # where the spans of one stream are joined
    READ_SIZE = 256 * 1024          # epoll: one shared receive buffer
    PUSH_AT = 64 * 1024             # a stream that wrote this much in one turn sends at once
    BY_REFERENCE = 32 * 1024        # bytes objects from here on are held, not copied
    MAX_EVENTS = 1024
    ACCEPTS_PER_TURN = 256          # epoll

cdef struct Span:
    PyObject *stream                # NULL: dropped
    uint32_t at, size
    uint32_t next                   # index + 1 of the same stream's next span

cdef struct Arena:
    char *memory
    uint32_t used
    Span *spans
    uint32_t count, room

cdef struct Core:
    int kind
    long pid
    unsigned long thread
    ring ring
    int epoll
    epoll_event *events
    char *read_buffer
    Arena arenas[2]
    int current                     # the arena being filled
    bint sends_unseen               # the other arena's completions were not all looked at
    bint poll_armed
    int wake                        # an eventfd that other threads write to; never read
    long wake_pid                   # whose it is
    bint wake_armed
    bint selector_ready
    bint quiet                      # hand out nothing: keep it for the next turn
    PyObject **table                # streams and listeners by descriptor
    Py_ssize_t table_size
    ring_cqe *stash                 # completions taken aside to see those behind them
    size_t stash_count, stash_next, stash_room
    Py_ssize_t streams
    PyObject **past                 # unregistered in this turn; released when the next one begins
    size_t past_count, past_room
    bint burying                    # they are being released
    PyObject **todo                 # streams and listeners that want attention, each once
    size_t todo_at, todo_end, todo_room
    size_t todo_stop                # where the `apply_updates` that is at work stops
    PyObject *at                    # whose event is being handed out, NULL: nobody's
    int next_event                  # epoll: the place behind it

cdef enum StreamFlag:
    S_WANT_READ = 1 << 0
    S_ARMED = 1 << 1            # ring: a recv is armed
    S_CANCEL = 1 << 2           # ring: and its cancellation was submitted
    S_TODO = 1 << 3             # listed in loop.todo
    S_EOF = 1 << 4              # the peer ended its side
    S_EOF_HELD = 1 << 5         # and the owner has not been told, because reading is paused
    S_WEOF = 1 << 6             # write_eof() was asked for
    S_WEOF_DONE = 1 << 7
    S_OUT = 1 << 8              # ring: a send of the outbox is in flight
    S_OUT_CANCEL = 1 << 9
    S_PAUSED = 1 << 10          # the owner was told to pause writing
    S_RESUMES = 1 << 30         # and may go on: it is told in the next turn
    S_ABORT = 1 << 11
    S_LOST = 1 << 12            # on_lost was called
    S_WANTS_DRAIN = 1 << 13     # call on_drained once everything left
    S_EPOLL_IN = 1 << 14        # what epoll was asked for
    S_EPOLL_OUT = 1 << 15
    S_ATTACHED = 1 << 16
    S_OUT_FAILED = 1 << 28      # a send failed, with `error`: told when the rest has been read
    S_CORKED = 1 << 29          # nobody asked the socket yet whether it takes the outbox
    S_BORROWED = 1 << 19        # a Python socket owns the descriptor and closes it
    S_DRAINING = 1 << 18        # closed with unsent data: what a resumed owner adds still counts
    S_HELD = 1 << 17            # referenced until the last completion was read
    S_WATCHES = 1 << 20         # the owner is told when the peer leaves although nothing is read
    S_WATCHED = 1 << 21         # ring: a poll is armed for that
    S_WATCH_CANCEL = 1 << 22
    S_HANGUP = 1 << 23          # the peer's FIN was seen; bytes may lie before it
    S_HANGUP_TOLD = 1 << 24
    S_GONE = 1 << 25            # the peer's reset was seen
    S_EPOLL_RDHUP = 1 << 26
    S_EPOLL_HUP = 1 << 27       # asked for nothing: errors are told all the same
    S_EPOLL_ANY = S_EPOLL_IN | S_EPOLL_OUT | S_EPOLL_RDHUP | S_EPOLL_HUP
