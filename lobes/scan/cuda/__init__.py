"""The scan on GPUs: Triton kernels, and the mamba_ssm package where it is installed."""
