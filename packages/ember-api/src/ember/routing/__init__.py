"""Which handler a request goes to: routes, converters, the tree, hosts."""
