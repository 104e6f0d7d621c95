"""Code written for the packages mamba_ssm and causal_conv1d, run by Lobes: on any machine, with any device.

> python -m lobes.compat.mamba_ssm their_train.py ARGUMENTS ...

or `lobes.compat.mamba_ssm.install()` before the first import of `mamba_ssm`. docs/mamba_ssm.md says what is offered.
"""

from lobes.compat.mamba_ssm.installation import install

__all__ = ["install"]
