#!/bin/sh
# Install the programs that the tests and the local stack start, where that is possible without asking.
# What stays missing is not an error here: each test that needs it says so, and so does `make stack`.
set -u
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin:/opt/homebrew/sbin

missing() {
    for program in rabbitmq-server haproxy chromium; do
        command -v "$program" >/dev/null || printf '%s ' "$program"
    done
}

wanted=$(missing)
[ -n "$wanted" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $wanted..." >&2
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    apt-get update >"$log" 2>&1
    for program in $wanted; do # one by one: a release that lacks one has the others
        apt-get install -y --no-install-recommends "$program" >>"$log" 2>&1 || tail -n 5 "$log" >&2
    done
    rm -f "$log"
    wanted=$(missing)
    [ -n "$wanted" ] || exit 0
fi
echo "Not installed here: $wanted" >&2
echo "  Debian, Ubuntu:  apt-get update && apt-get install -y --no-install-recommends $wanted" >&2
echo "  macOS:           brew install $(echo "$wanted" | sed 's/rabbitmq-server/rabbitmq/')" >&2
