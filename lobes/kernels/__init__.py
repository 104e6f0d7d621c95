"""The vector layer of the CPU kernels (type, arithmetic, threads) and the depthwise convolution written in it."""
