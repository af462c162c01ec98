"""The HTTP side of the cluster: routes, verbs, watches, relays. Decides nothing about objects; that is the registry's."""
