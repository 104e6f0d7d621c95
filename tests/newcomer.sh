#!/usr/bin/env bash
# What a newcomer does: in an empty folder, with an empty environment, the commands of README.md and docs/start.md, cut out of the
# pages, and after them those of all other pages. tests/page_blocks.py says which blocks are left out: those that are marked
# as needing data, a GPU, a network or many minutes.
#
# > bash tests/newcomer.sh [--minutes] [--fetch]
#
# --minutes also runs what is marked so: `make demo` and the tests, `make test`.
# --fetch lets pip fetch what the wheel wants into its empty environment (3 GB). Without it this environment finds the packages that
# the first `make` has installed from requirements.lock, and pip installs the wheel alone.
# The first `make` is what it always is: it installs everything anew, from the package registry or uv's cache.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
also=none fetch=
for option in "$@"; do
    case $option in
        --minutes) also=minutes ;;
        --fetch) fetch=1 ;;
        *) echo "newcomer.sh: unknown option $option; there are --minutes and --fetch" >&2; exit 2 ;;
    esac
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV MAKEFLAGS MAKELEVEL MFLAGS
python=${PYTHON:-python3}

# The script of a page goes to a bash of its own, which shows each command before it runs, and ends at the first that fails.
run() { # FOLDER, PATH, and what page_blocks.py takes
    local place=$1 path=$2 script
    shift 2
    script=$("$python" "$checkout/tests/page_blocks.py" "$@")
    [ -n "$script" ] || return 0
    echo "==== $*"
    (cd "$place" && PATH=$path bash -euxo pipefail -c "$script" < /dev/null)
}

# ---- a fresh checkout: the files that git holds or would hold
mkdir "$folder/lobes" "$folder/elsewhere"
git -C "$checkout" ls-files -z --cached --others --exclude-standard |
    tar -C "$checkout" --null --ignore-failed-read -T - -cf - | tar -C "$folder/lobes" -xf -
cd "$folder/lobes"
for section in "First minute" "Separate files" "Train"; do
    run "$folder/lobes" "$PATH" README.md "$section" --also "$also"
done

# ---- the wheel, in an environment without Lobes
"$folder/lobes/.venv/bin/python" -m venv "$folder/env"
if [ -z "$fetch" ]; then
    site=$("$folder/env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    mkdir "$folder/packages"
    for package in "$folder"/lobes/.venv/lib/python*/site-packages/*; do
        case ${package##*/} in
            *lobes* | pip | pip-* | *.pth) ;;
            *) ln -s "$package" "$folder/packages/" ;;
        esac
    done
    echo "$folder/packages" > "$site/packages.pth"
    export PIP_NO_INDEX=1
fi
run "$folder/lobes" "$folder/env/bin:$PATH" README.md "Without a checkout" --also network
"$folder/env/bin/python" -I -c 'import lobes, sys; sys.exit(not lobes.__file__.startswith(sys.prefix))'
unset PIP_NO_INDEX
run "$folder/elsewhere" "$folder/env/bin:$PATH" docs/start.md --also "$also"

# ---- every other page, in the checkout
for page in *.md docs/*.md docs/*/*.md recipes/*/*.md; do
    case $page in
        README.md | docs/start.md) ;;
        *) run "$folder/lobes" "$folder/lobes/.venv/bin:$PATH" "$page" --shell ;;
    esac
done
echo "newcomer: all commands of the pages ran"
