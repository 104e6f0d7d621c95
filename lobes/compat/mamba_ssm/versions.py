"""The versions that the packages give: the newest whose names are served, marked as those of Lobes."""

MAMBA_SSM = "2.3.2+lobes"
CAUSAL_CONV1D = "1.7.0+lobes"
