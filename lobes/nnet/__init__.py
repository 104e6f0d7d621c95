"""Parts of networks: Mamba, its bidirectional block, other sequence mixers, the STFT pair, norms, attention."""
