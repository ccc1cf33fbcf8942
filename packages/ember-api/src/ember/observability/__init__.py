"""What operators see of an application: health, metrics, access log, traces."""
