#!/bin/sh
# run.sh [PYTEST ARGUMENT...]: bring up docker-compose.yml in containers, and use it.
#
# With a Docker engine, the images are pulled. Without one, root on Debian or Ubuntu gets an engine out of
# Debian's packages, and stand-ins for the images (Dockerfile beside this): everything in one folder, nothing
# installed but debootstrap, no port but those that Compose publishes on loopback.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
compose=.venv/bin/docker-compose

root=${FACTORLINE_CONTAINERS:-/var/tmp/factorline-containers}
mirror=http://deb.debian.org/debian
release=forky # the first with RabbitMQ 4.3 and HAProxy 3.2

# A small Debian, kept as base.tar, and the same with an engine in it.
make_root() {
    [ ! -e "$root/complete" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "No Docker engine answers. Start one, or be root on Debian or Ubuntu to have one made." >&2
        exit 1
    fi
    echo "Making a Docker engine from Debian's packages in $root (a few minutes) ..." >&2
    command -v debootstrap >/dev/null ||
        { apt-get update && apt-get install -y --no-install-recommends debootstrap; } >/dev/null
    rm -rf "$root" && mkdir -p "$root/engine"
    debootstrap --variant=minbase --include=ca-certificates "$release" "$root/engine" "$mirror" \
        /usr/share/debootstrap/scripts/sid >"$root/log"
    # A base has to trust whom this machine trusts, and a mirror that stands still is good enough.
    cp /etc/ssl/certs/ca-certificates.crt "$root/engine/etc/ssl/certs/"
    printf 'Acquire::Check-Valid-Until "false";\nAPT::Install-Recommends "false";\n' \
        >"$root/engine/etc/apt/apt.conf.d/90factorline"
    printf '#!/bin/sh\nexit 101\n' >"$root/engine/usr/sbin/policy-rc.d" # packages start nothing
    chmod 755 "$root/engine/usr/sbin/policy-rc.d"
    tar -C "$root/engine" --exclude='./dev/*' --exclude='./var/cache/apt/archives/*.deb' -cf "$root/base.tar" .
    cp /etc/resolv.conf "$root/engine/etc/"
    DEBIAN_FRONTEND=noninteractive chroot "$root/engine" apt-get install -y \
        docker.io docker-cli docker-buildx iptables >>"$root/log" 2>&1
    touch "$root/complete"
}

# Become the engine: Debian's, in a mount namespace where its folder is the root.
become_engine() {
    cp /etc/resolv.conf "$root/engine/etc/"
    mkdir -p "$root/engine$PWD"
    exec unshare --mount --propagation private sh -euc '
        root=$1/engine
        mount --bind "$root" "$root"
        for folder in sys dev proc; do mount --rbind "/$folder" "$root/$folder"; done
        mount --bind "$PWD" "$root$PWD"
        cd "$root"
        pivot_root . mnt
        exec chroot . sh -c "umount -l /mnt && exec dockerd --log-level warn"
    ' -- "$root"
}

make_standins() {
    sed 's/@sha256:[0-9a-f]*//' docker-compose.yml >"$root/docker-compose.yml"
    export FACTORLINE_COMPOSE_FILE="$root/docker-compose.yml"
    compose="$compose -f $FACTORLINE_COMPOSE_FILE --project-directory ."
    docker image inspect factorline-base >/dev/null 2>&1 ||
        docker import --change 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' \
            "$root/base.tar" factorline-base >/dev/null
    for image in python:3.13-slim-bookworm $($compose config --images | grep -v '^factorline$') \
        "$($compose --profile observe config --images | grep prometheus)"; do
        target=${image%%:*}
        echo "Making a stand-in for $image ..." >&2
        docker buildx build --quiet --target "${target##*/}" --tag "$image" \
            --build-context lock=. --file "$here/Dockerfile" "$here" >/dev/null
    done
}

if docker info >/dev/null 2>&1; then
    "$compose" --profile observe pull --ignore-buildable
else
    make_root
    (become_engine) >"$root/engine.log" 2>&1 &
    engine=$!
    trap 'kill "$engine" && wait "$engine" || true' EXIT
    PATH=$PATH:$root/engine/usr/bin
    export DOCKER_HOST="unix://$root/engine/run/docker.sock" DOCKER_CONFIG="$root/config"
    mkdir -p "$DOCKER_CONFIG/cli-plugins"
    ln -sf "$root/engine/usr/libexec/docker/cli-plugins/docker-buildx" "$DOCKER_CONFIG/cli-plugins/"
    until docker info >/dev/null 2>&1; do
        kill -0 "$engine" || { tail -n 20 "$root/engine.log" >&2; exit 1; }
        sleep 0.5
    done
    make_standins
fi
# The contract of the broker is tested against the image, too: `tests.servers` prefers it to what is installed.
.venv/bin/python -m pytest -n0 tests/containers tests/contract/test_broker.py tests/contract/test_rabbit.py "$@"
