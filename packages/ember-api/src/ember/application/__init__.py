"""`Ember` and `Blueprint`: applications declare routes and hooks; Ember compiles and runs them."""

from ember.application.late_ssl import install as _install

# Before anything here imports asyncio.
_install()
