#!/bin/sh
# Bring .venv in line with a lock: `infra/venv.sh requirements.lock` or `infra/venv.sh requirements-dev.lock`.
#
# A copy of the lock inside .venv says what is installed, so an unchanged lock costs one comparison.
# The development lock holds everything of the other one at the same versions: what satisfies it also runs.
# An environment that `uv sync` made is left to uv.
set -eu
cd "$(dirname "$0")/.."
lock=$1

has() {
    cmp -s "$1" ".venv/$1"
}

python() {
    for candidate in "${PYTHON:-python3}" python3 python3.13 python3.12 python3.11 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Factorline needs Python 3.11 or newer, and none was found in PATH." >&2
    echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13)" >&2
    echo "or name it: make run PYTHON=/path/to/python3" >&2
    return 1
}

# The command `factorline`: the script finds its own way from wherever it is linked.
link_command() {
    ln -sf ../../factorline/factorline .venv/bin/factorline
}

if grep -qs '^uv = ' .venv/pyvenv.cfg && [ -e .venv/bin/factorline ]; then
    exit 0
fi

if has "$lock" && .venv/bin/python -c '' 2>/dev/null; then
    link_command
    exit 0
fi

found=$(python)
if ! has requirements.lock || [ -e .venv/requirements-dev.lock ] || ! .venv/bin/python -c '' 2>/dev/null; then
    # Something may have to go, not only to come: begin anew.
    rm -rf .venv
    if ! "$found" -m venv .venv; then
        rm -rf .venv
        echo "$found cannot make a virtual environment (Debian, Ubuntu: apt-get install python3-venv)." >&2
        exit 1
    fi
fi
echo "Installing $lock into .venv and compiling the sieve, once (about a minute) ..." >&2
# --no-deps: the lock is complete, and it leaves out what nobody needs (see [tool.uv] in pyproject.toml).
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$lock"
cp requirements.lock .venv/
if [ "$lock" != requirements.lock ]; then
    cp "$lock" .venv/
fi
# Kernels are never compiled inside a unit; a worker that finds them stale does it before its first one.
.venv/bin/python -m factor_worker.engine.siqs.warm
link_command
