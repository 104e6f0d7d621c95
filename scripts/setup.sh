#!/bin/sh
# Makes .venv exactly as requirements.lock says, or returns at once when it already is.
# PYTHON names the interpreter to use; LOBES_SETUP_PIP=1 installs without uv.
# POSIX shell, so that a missing or unfit Python can be reported in one clear line.
set -eu
cd "$(dirname "$0")/.."
VENV=.venv
STAMP=$VENV/lobes-setup.stamp   # folder, hash of the lock, hash of setup.py: each line once its step is complete

die() { echo "setup: $*" >&2; exit 1; }
say() { echo "setup: $*"; }

hash_of() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum "$@" | cut -d' ' -f1
    else shasum -a 256 "$@" | cut -d' ' -f1; fi
}

stamp_line() { sed -n "${1}p" "$STAMP" 2>/dev/null || true; }

# Prints the first Python 3.10-3.12 that runs (a pyenv shim may exist and still not run).
find_python() {
    for name in ${PYTHON:-python3.12 python3.11 python3.10 python3 python}; do
        if "$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; then
            echo "$name"; return
        fi
    done
    found=$({ "${PYTHON:-python3}" --version || echo none; } 2>/dev/null)
    die "Lobes needs Python 3.10, 3.11 or 3.12, found ${found}. Install one of them, or name it: make PYTHON=/path/to/python3.11"
}

# PESQ is built from source: it needs the compiler that this Python calls, and Python's headers.
check_compiler() {
    wanted=${CC:-$("$1" -c 'import sysconfig; print((sysconfig.get_config_var("CC") or "cc").split()[0])')}
    for name in "${wanted%% *}" cc gcc clang; do
        if command -v "$name" >/dev/null 2>&1; then
            [ "$name" = "${wanted%% *}" ] || export CC="$name"
            break
        fi
        [ "$name" != clang ] || die "a C compiler is needed to build the PESQ metric, and none was found (Debian, Ubuntu: apt install gcc; macOS: xcode-select --install)"
    done
    "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
        die "the headers of $("$1" --version) are needed to build the PESQ metric (Debian, Ubuntu: apt install python3-dev)"
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        die "$("$1" --version) cannot make virtual environments (Debian, Ubuntu: apt install python3-venv)"
}

# Progress is for eyes; a log gets only the errors.
install_lock() {
    if [ -t 2 ]; then uv_quiet='' pip_quiet=''; else uv_quiet=--quiet pip_quiet=-qq; fi
    if [ "${LOBES_SETUP_PIP:-}" != 1 ] && "$VENV/bin/python" -m pip install --quiet uv >/dev/null 2>&1; then
        say "installing with uv"
        "$VENV/bin/uv" pip install $uv_quiet --compile-bytecode --python "$VENV/bin/python" --require-hashes -r requirements.lock && return
        say "uv could not; trying pip"
    fi
    say "installing with pip"
    "$VENV/bin/python" -m pip install $pip_quiet --disable-pip-version-check --require-hashes -r requirements.lock
}

install_lobes() {
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
}

lock_hash=$(hash_of requirements.lock)
setup_hash=$(hash_of setup.py)
if [ -x "$VENV/bin/python" ] && [ "$(stamp_line 1)" = "$PWD" ] && [ "$(stamp_line 2)" = "$lock_hash" ]; then
    [ "$(stamp_line 3)" != "$setup_hash" ] || exit 0
    say "installing lobes again, as setup.py says (seconds)"
else
    python=$(find_python)
    check_compiler "$python"
    say "making $VENV with $("$python" --version): downloads about 3 GB (mostly PyTorch and its CUDA libraries),"
    say "takes about 5.5 GB of disk and 1-4 minutes; the next call starts at once"
    rm -rf "$VENV"               # also what an interrupted installation left
    "$python" -m venv "$VENV"
    install_lock || die "the installation failed (see above); run the same command again to retry"
    printf '%s\n%s\n' "$PWD" "$lock_hash" > "$STAMP"
fi
install_lobes || die "installing lobes failed (see above)"
printf '%s\n%s\n%s\n' "$PWD" "$lock_hash" "$setup_hash" > "$STAMP"
say "done"
