# What a transport's stream brings, given to the protocol: bytes, the end of them, flow control.

cdef int feed(SocketTransport transport, char *data, Py_ssize_t size) except -1:
    cdef CoreLoop loop = transport._loop
    if loop.has_deferred:
        loop.run_deferred()
    PyContext_Enter(transport.context)
    try:
        if not transport.buffered:
            give(transport, PyBytes_FromStringAndSize(data, size))
        else:
            fill(transport, data, size)
    finally:
        PyContext_Exit(transport.context)
    return 0


cdef int give(SocketTransport transport, bytes data) except -1:
    try:
        transport._protocol.data_received(data)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        transport._fatal_error(exc, "Fatal error: protocol.data_received() call failed.")
    return 0


cdef int fill(SocketTransport transport, char *data, Py_ssize_t size) except -1:
    cdef Py_ssize_t n
    cdef Py_buffer view
    cdef object buffer
    while size > 0:
        if transport.stream.closing:
            return 0
        if not transport.stream.is_reading() or not transport.buffered:
            # Paused, or the protocol was replaced, half-way through.
            if transport.stream.is_reading():
                return give(transport, PyBytes_FromStringAndSize(data, size))
            if transport.stream.inbox is None:
                transport.stream.inbox = []
            transport.stream.inbox.insert(0, PyBytes_FromStringAndSize(data, size))
            return 0
        try:
            buffer = transport._protocol.get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            transport._fatal_error(exc, "Fatal error: protocol.get_buffer() call failed.")
            return 0
        n = view.len if view.len < size else size
        memcpy(view.buf, data, n)
        PyBuffer_Release(&view)
        buffer = None
        data += n
        size -= n
        try:
            transport._protocol.buffer_updated(n)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            transport._fatal_error(exc, "Fatal error: protocol.buffer_updated() call failed.")
            return 0
    return 0


cdef int feed_eof(SocketTransport transport) except -1:
    cdef object keep_open
    cdef CoreLoop loop = transport._loop
    if loop.has_deferred:
        loop.run_deferred()
    if loop._debug:
        logger.debug("%r received EOF", transport)
    PyContext_Enter(transport.context)
    try:
        keep_open = transport._protocol.eof_received()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        transport._fatal_error(exc, "Fatal error: protocol.eof_received() call failed.")
        return 0
    finally:
        PyContext_Exit(transport.context)
    if not keep_open:
        transport.close()
    return 0


cdef int flow(SocketTransport transport, str method) except -1:
    cdef CoreLoop loop = transport._loop
    if loop.has_deferred:
        loop.run_deferred()
    try:
        getattr(transport._protocol, method)()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        transport._loop.call_exception_handler({
            "message": f"protocol.{method}() failed",
            "exception": exc,
            "transport": transport,
            "protocol": transport._protocol,
        })
    return 0
