"""What an operations handbook would hold: launch, budget, schedule, safe steps, logging."""
