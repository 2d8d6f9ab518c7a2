#!/bin/bash
# What the start script of MongoDB's image does: the first time a user root, if one is asked for, and the
# scripts of docker-entrypoint-initdb.d; arguments alone are mongod's.
set -euo pipefail
[ "${1:0:1}" != - ] || set -- mongod --bind_ip_all "$@"
if [ -n "${MONGO_INITDB_ROOT_USERNAME:-}" ] && [ ! -e /data/db/made ]; then
    mongod &
    server=$!
    until mongosh --quiet --eval 'db.hello().ok' >/dev/null 2>&1; do sleep 0.2; done
    ROOT=$(cat "$MONGO_INITDB_ROOT_PASSWORD_FILE") mongosh --quiet admin --eval \
        'db.createUser({user: process.env.MONGO_INITDB_ROOT_USERNAME, pwd: process.env.ROOT, roles: ["root"]})'
    for script in /docker-entrypoint-initdb.d/*.js; do mongosh --quiet "$script"; done
    kill "$server"
    wait "$server" || true
    touch /data/db/made
fi
exec "$@"
