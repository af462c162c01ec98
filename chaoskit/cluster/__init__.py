"""The only door to the Kubernetes API: `live.connect` opens it, `operations` alone changes anything behind it."""
