"""`Ember` and `Blueprint`: applications declare routes and hooks; Ember compiles and runs them."""
