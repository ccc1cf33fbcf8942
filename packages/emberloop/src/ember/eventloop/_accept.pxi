# What BaseEventLoop's Server accepts with: a listener that makes a transport of each connection.

cdef class AcceptListener(Listener):
    """A listening socket of BaseEventLoop's Server."""
    cdef object factory, server, context, ssl_options

    def __init__(self, loop, sock, factory, server, ssl_options):
        self.factory = factory
        self.server = server
        self.ssl_options = ssl_options
        self.context = PyContext_CopyCurrent()

    def __repr__(self):
        return f"<AcceptListener fd={self.fd} sock={self.sock!r}>"

    def begin(self):
        self.start()

    def end(self):
        self.close()

    cdef int adopt(self, int fd) except -1:
        cdef object conn
        try:
            conn = socket.socket(self.sock.family, self.sock.type, self.sock.proto, fileno=fd)
        except BaseException:
            os.close(fd)
            raise
        cdef CoreLoop loop = self.loop
        if loop.has_deferred:
            loop.run_deferred()
        conn.setblocking(False)
        self.context.copy().run(self._connected, conn)
        return 0

    def _connected(self, conn):
        loop = self.loop
        protocol = None
        try:
            extra = {"peername": conn.getpeername()}
        except OSError:
            extra = {"peername": None}
        if loop._debug:
            logger.debug("%r got a new connection from %r: %r", self.server, extra["peername"],
                         conn)
        if self.ssl_options is not None:
            context, handshake, shutdown = self.ssl_options
            loop.create_task(loop._accept_connection2(
                self.factory, conn, extra, context, self.server, handshake, shutdown
            ))
            return
        try:
            protocol = self.factory()
            SocketTransport(loop, conn, protocol, None, extra, self.server)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            conn.close()
            if loop._debug:
                loop.call_exception_handler({
                    "message": "Error on transport creation for incoming connection",
                    "exception": exc,
                    **({} if protocol is None else {"protocol": protocol}),
                })
