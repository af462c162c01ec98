"""The one way through: load, plan, run, judge, and undo. Knows no fault by name."""
