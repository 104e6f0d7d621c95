"""Audio files, manifests, MM-IPC and dynamic mixing, the miniature corpus. Imports only `lobes.errors`."""
