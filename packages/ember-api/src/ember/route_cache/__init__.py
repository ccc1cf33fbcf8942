"""`cache=` on a route: whole answers, kept by a cache of `ember.cache`, given as RFC 9111 asks of a
shared one.

`answer`: an answer as it is kept. `check`: what is said at registration. `counters`: statistics.
`work`: the one call of the handler that others may wait for. `route`: what stands in the place of
the endpoint. `wire`: how an answer goes into Redis and Memcached.
"""
