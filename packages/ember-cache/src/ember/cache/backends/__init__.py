"""The stores outside this process, behind one seam: `ember.cache.backends.base.Backend`."""
