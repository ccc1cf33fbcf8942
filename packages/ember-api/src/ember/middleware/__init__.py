"""Middlewares: functions that run around handlers.

A middleware is one of

- `async def m(request, call_next)`, which returns a response; `await call_next(request)` gives the
  response of the next middleware or of the handler
- an object with `before(request)` and/or `after(request, response)`, `def` (on the loop) or
  `async def`; if `before` returns a value, it is the response; if `after` returns a value, it
  replaces the response
- a callable with one parameter, which is a `before`

The order does not depend on the order of registration: first the middlewares of the application,
then those of blueprints from the outermost, then those of the route, then the `BEFORE_ENDPOINT`
hooks and the handler. Middlewares of one level run in the order of registration. Responses pass
through them in reverse order.

An error becomes the response of its error handler where it happens. So `call_next` always gives a
response, and `after` sees all responses, also those of errors. They do not see the responses of the
connection itself: to malformed requests, bodies over the limit and handlers that took too long.

The middlewares of the application also run for requests without a route: 404, 405, the `OPTIONS` of
a path, redirects to the other slash, and `fallback`. Those of blueprints, and the hooks, run for
routes only.

When a middleware runs, the body has not been read: a middleware that refuses a request saves that.
"""
