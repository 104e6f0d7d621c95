"""A folder for `sys.path`, with the names that `lobes.compat` serves: processes that Python starts inherit that path.

Only `lobes.compat.mamba_ssm.install` puts it there.
"""
