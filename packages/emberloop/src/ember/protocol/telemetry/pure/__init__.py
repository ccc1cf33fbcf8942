"""The stand-ins where nothing was compiled."""
