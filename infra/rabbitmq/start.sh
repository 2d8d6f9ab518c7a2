#!/bin/sh
# start.sh COMMAND [ARGUMENT...]: put the users' passwords into the definitions, then become the server.
#
# The passwords are files named rabbitmq_USER in $FACTORLINE_SECRETS (/run/secrets in a container).
# The definitions with them go to $FACTORLINE_DEFINITIONS, which rabbitmq.conf tells RabbitMQ to load:
# a password that was changed is in force after the next start.
set -eu
here=$(dirname "$0")
secrets=${FACTORLINE_SECRETS:-/run/secrets}
loaded=${FACTORLINE_DEFINITIONS:-/var/lib/rabbitmq/factorline.json}

script=
for user in gateway worker operator; do
    file=$secrets/rabbitmq_$user
    if ! password=$(cat "$file"); then
        echo "There is no password for RabbitMQ's user $user: run \`make secrets\`, which makes $file." >&2
        exit 1
    fi
    case $password in
    *[!A-Za-z0-9_-]*) unfit=yes ;;
    *) unfit= ;;
    esac
    if [ -n "$unfit" ] || [ "${#password}" -lt 20 ]; then
        echo "The password in $file has to be 20 letters, digits, - or _ at least: see \`make secrets\`." >&2
        exit 1
    fi
    script="$script
/\"name\": \"$user\"/s/\"password_hash\": \"\"/\"password\": \"$password\"/"
done

umask 077
sed "$script" "$here/definitions.json" >"$loaded"
exec "$@"
