"""PolSESS: its variants, MM-IPC, curriculum, remixing, and a synthesiser of corpora in its format."""
