"""Parts of networks: Mamba, its bidirectional block, the STFT pair, norms, attention."""
