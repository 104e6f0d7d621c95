"""The scan on CPUs: kernels compiled by numba, in vectors of their own."""
