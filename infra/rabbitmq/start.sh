#!/bin/sh
# start.sh COMMAND [ARGUMENT...]: put the users' passwords into the definitions, then exec the server.
#
# The passwords are files named rabbitmq_USER in $FACTORLINE_SECRETS (/run/secrets in a container).
# The result is written to $FACTORLINE_DEFINITIONS, which RabbitMQ loads whenever it starts, so that a
# changed password takes effect at the next start.
set -eu
here=$(dirname "$0")
secrets=${FACTORLINE_SECRETS:-/run/secrets}
loaded=${FACTORLINE_DEFINITIONS:-/var/lib/rabbitmq/factorline.json}

script=
for user in gateway worker operator; do
    file=$secrets/rabbitmq_$user
    if ! password=$(cat "$file"); then
        echo "RabbitMQ's user $user has no password: $file is missing. Run \`make secrets\` to make it." >&2
        exit 1
    fi
    case $password in
    *[!A-Za-z0-9_-]*) unfit=yes ;;
    *) unfit= ;;
    esac
    if [ -n "$unfit" ] || [ "${#password}" -lt 20 ]; then
        echo "The password in $file must be at least 20 characters, all of them letters, digits, - or _. Delete the file and run \`make secrets\` to make a new one." >&2
        exit 1
    fi
    script="$script
/\"name\": \"$user\"/s/\"password_hash\": \"\"/\"password\": \"$password\"/"
done

umask 077
# Not as an argument, which `ps` would show.
printf '%s\n' "$script" | sed -f /dev/stdin "$here/definitions.json" >"$loaded"
exec "$@"
