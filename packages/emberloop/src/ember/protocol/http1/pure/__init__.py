"""The stand-in where nothing was compiled."""
