#!/bin/sh
# Install the programs that the tests and the local stack start, if we are root on a system with apt.
# A program that is still missing is not an error here: each test that needs it is skipped and says so, and
# `make stack` stops with a message.
set -u
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin:/opt/homebrew/sbin

missing() {
    for program in rabbitmq-server haproxy chromium promtool; do
        command -v "$program" >/dev/null || printf '%s ' "$program"
    done
}

# Only the checker promtool is wanted: Prometheus's package would also start a server that listens on all
# addresses. Some releases have promtool in a package of its own.
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
    for program in $wanted; do # one by one, because some releases lack one of them
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
echo "These programs are not installed, and what needs them will not run: $wanted" >&2
echo "  Debian, Ubuntu:  apt-get update && apt-get install -y --no-install-recommends $(echo "$wanted" | sed 's/promtool/prometheus/')" >&2
echo "  macOS:           brew install $(echo "$wanted" | sed 's/rabbitmq-server/rabbitmq/; s/promtool/prometheus/')" >&2
