"""Routing: routes, path converters, the route tree, hosts, and the dispatcher."""
