"""The training loop that recipes share: launch, budget, schedule, safe steps, logging."""
