"""Settings with nothing in them that costs a request anything."""

SECRET_KEY = "only for the benchmark, on the loopback"
DEBUG = False
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["django_bolt"]
ROOT_URLCONF = "bench.peers.apps.bolt.api"
BOLT_API = ["bench.peers.apps.bolt.api:api"]
DATABASES: dict[str, object] = {}
LOGGING_CONFIG = None
USE_TZ = True
