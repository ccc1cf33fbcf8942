"""`Ember` and `Blueprint`: what an application declares, and how it is compiled and run."""
