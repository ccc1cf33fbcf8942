"""Forms that were sent as multipart, and the files in them."""
