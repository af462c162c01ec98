"""Tests of the sample application: its processes and its manifests."""
