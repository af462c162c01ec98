"""Kubernetes' own rules over raw API objects: pure arithmetic, no I/O, no clock. Reads what an object says; never asks a cluster."""
