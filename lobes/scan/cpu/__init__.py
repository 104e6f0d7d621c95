"""The scan on CPUs: kernels compiled by numba, with vector registers or without."""
