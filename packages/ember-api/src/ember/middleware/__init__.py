"""Middleware: what runs around handlers.

A middleware is one of

- `async def m(request, call_next)`, which gives a response; `await call_next(request)` gives that
  of what it is around
- an object with `before(request)` and/or `after(request, response)`, `def` (on the loop) or
  `async def`; what `before` returns, unless None, is the answer, and what `after` returns, unless
  None, takes the place of the response
- a callable with one parameter, which is a `before`

The order is that of the levels, whatever the order of registration: the application's, those of its
blueprints from the outermost, the route's; then the `BEFORE_ENDPOINT` hooks and the handler. Within
a level it is that of registration. What comes back passes in reverse.

An error becomes the response of its error handler where it happens. So `call_next` always gives a
response, and `after` sees every one, those of errors included. What it does not see is what the
connection answers itself: malformed requests, bodies over the limit and handlers over their time.

The application's middlewares are also around what has no route: 404, 405, the `OPTIONS` of a path,
redirects to the other slash, and `fallback`. Those of blueprints and the hooks are around routes
alone.

The body has not been read when a middleware runs: one that refuses spares it.
"""
