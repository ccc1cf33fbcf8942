"""`cache=` on a route: whole responses, stored in a cache of `ember.cache`, by the rules of RFC
9111 for a shared cache.

`stored_response`: a response as it is stored. `check`: errors at registration. `compile`: puts
caches around endpoints. `route`: the endpoint of a cached route. `work`: one call of the handler,
for which other requests may wait. `wire`: the format in Redis and Memcached.
"""
