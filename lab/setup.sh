#!/usr/bin/env bash
# Install what a fresh Debian 12 machine lacks: Debian packages and the virtual environment.
# Says first what it will install; the second time it finds nothing to do. Needs root (make takes sudo).
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
    mmdebstrap systemd-container vde2 nftables iproute2 socat netcat-openbsd # the lab's machines and network
    postgresql-15 postgresql-client-15                    # a throw-away server for the application's tests
    libpq-dev python3-dev gcc python3-venv                # psycopg2 is built against Debian's libpq
    openssh-client curl ca-certificates git make sudo
)

if [ "$(id -u)" != 0 ]; then
    echo "ERROR [002]: make setup installs packages and needs root" >&2
    echo "HINT: run it as root, or through sudo" >&2
    exit 3
fi
if [ "$(. /etc/os-release && echo "${ID:-}${VERSION_ID:-}")" != debian12 ]; then
    echo "ERROR [003]: this is no Debian 12; the lab's machines and packages are made for it" >&2
    echo "HINT: use a Debian 12 machine or virtual machine" >&2
    exit 3
fi

missing=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done
wanted=$(cat pyproject.toml requirements.lock requirements-dev.lock | sha256sum | cut -d' ' -f1)
stamp=.venv/hanbat-installed
have=$(cat "$stamp" 2>/dev/null || true)

if [ ${#missing[@]} = 0 ] && [ "$have" = "$wanted" ]; then
    echo "setup: nothing to do"
    exit 0
fi
[ ${#missing[@]} = 0 ] || echo "setup: will install the Debian packages: ${missing[*]}"
[ "$have" = "$wanted" ] || echo "setup: will make .venv with the Python packages of requirements-dev.lock"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Runs a command with its words kept aside; they are shown only when it fails.
quietly() {
    if ! "$@" > "$log" 2>&1; then
        tail -n 30 "$log" >&2
        echo "ERROR [003]: failed: $*" >&2
        echo "HINT: the lines above say why; make setup goes on where it stopped" >&2
        exit 1
    fi
}

if [ ${#missing[@]} != 0 ]; then
    # The test server is started by the tests; Debian's own cluster is not wanted.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common
        echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
    fi
    echo "setup: apt-get update"
    quietly apt-get -q update
    echo "setup: apt-get install"
    quietly env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
        -o Dpkg::Options::=--force-confold install "${missing[@]}"
fi
if [ "$have" != "$wanted" ]; then
    # Debian's own Python: services and tests of other users must be able to read it.
    [ -x .venv/bin/python ] || quietly /usr/bin/python3 -m venv .venv
    pip=(.venv/bin/python -m pip install -q --disable-pip-version-check)
    echo "setup: Python packages"
    quietly "${pip[@]}" --upgrade pip setuptools wheel
    quietly "${pip[@]}" -r requirements-dev.lock
    quietly "${pip[@]}" --no-deps --no-build-isolation -e .
    echo "$wanted" > "$stamp"
fi
echo "setup: done"
