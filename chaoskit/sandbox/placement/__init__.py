"""Where a pod may run and where it runs best: the scheduler's judgement, pure functions over nodes and pods."""
