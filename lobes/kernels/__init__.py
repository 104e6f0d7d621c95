"""The vector layer of the CPU kernels: a SIMD type for numba, its math, threads, and the depthwise convolution."""
