#!/bin/sh
# Install the programs that the tests and the local stack start, where that is possible without asking.
# What stays missing is not an error here: each test that needs it says so, and so does `make stack`.
set -u
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin:/opt/homebrew/sbin

missing() {
    for program in rabbitmq-server haproxy chromium promtool; do
        command -v "$program" >/dev/null || printf '%s ' "$program"
    done
}

# Prometheus's package would start a server that listens everywhere, and only its checker is wanted; some
# releases have that in a package of its own.
install_promtool() (
    folder=$(mktemp -d) && cd "$folder" || exit 1
    trap 'rm -rf "$folder"' EXIT
    chmod 755 . && { apt-get download promtool || apt-get download prometheus; } &&
        dpkg-deb -x prom*.deb . && install usr/bin/promtool /usr/local/bin/
)

wanted=$(missing)
[ -n "$wanted" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $wanted..." >&2
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    apt-get update >"$log" 2>&1
    for program in $wanted; do # one by one: a release that lacks one has the others
        if [ "$program" = promtool ]; then
            install_promtool >>"$log" 2>&1 || tail -n 5 "$log" >&2
        else
            apt-get install -y --no-install-recommends "$program" >>"$log" 2>&1 || tail -n 5 "$log" >&2
        fi
    done
    rm -f "$log"
    wanted=$(missing)
    [ -n "$wanted" ] || exit 0
fi
echo "Not installed here: $wanted" >&2
echo "  Debian, Ubuntu:  apt-get update && apt-get install -y --no-install-recommends $(echo "$wanted" | sed 's/promtool/prometheus/')" >&2
echo "  macOS:           brew install $(echo "$wanted" | sed 's/rabbitmq-server/rabbitmq/; s/promtool/prometheus/')" >&2
