"""`lobes doctor`: what may be wrong with a machine, with data or with a recipe, found before a training finds it.

Nothing here imports PyTorch when it is imported itself: an environment in which PyTorch cannot be loaded is one of the
faults. What needs it runs in a process of its own (`lobes.doctor.child`), whose end, however it comes, is a finding.
"""
