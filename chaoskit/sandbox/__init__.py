"""The embedded cluster: a Kubernetes API, controllers and nodes in a handful of local processes.

It is met over HTTP only: nothing here imports the rest of the package, and nothing here is imported by the runner.
"""
