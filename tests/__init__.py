"""Tests: one folder a part; `fake_cluster` and `virtual_time` serve those of the runner and the faults."""
