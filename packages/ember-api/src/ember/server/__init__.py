"""What `app.run` does: options, certificates, workers and their supervisor."""
