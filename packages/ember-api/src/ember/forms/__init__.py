"""Multipart forms, and the uploaded files in them."""
