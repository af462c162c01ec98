"""What can be read off one object: conditions, readiness, labels, times. Pure; shared by controllers and scheduler."""
