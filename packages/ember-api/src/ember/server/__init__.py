"""`app.run`: options, certificates, workers and their supervisor."""
