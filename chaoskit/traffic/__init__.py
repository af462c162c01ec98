"""Who keeps using the application meanwhile. This package imports nothing: the child process imports it before Locust patches the world."""
