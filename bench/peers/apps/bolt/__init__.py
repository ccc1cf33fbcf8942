"""The smallest Django project that django-bolt serves."""
