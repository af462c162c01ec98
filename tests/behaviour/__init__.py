"""Behaviour of a Kubernetes API, told through a kubeconfig only: on the sandbox, or with `--chaos-context` on a real cluster."""
