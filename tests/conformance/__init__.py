"""The corpus: what Ember answers to which bytes, as documents in `cases/`."""
