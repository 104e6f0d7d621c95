"""`mamba_ssm` in a process that was started by one with the stand-in: the stand-in is put here, too."""

from lobes.compat.mamba_ssm import install

if __name__ == "mamba_ssm":  # not under its path in Lobes, by which tools may import it
    install()
