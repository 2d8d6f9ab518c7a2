#!/bin/bash
# What MongoDB's image does the first time: a user root, and the scripts of docker-entrypoint-initdb.d.
set -euo pipefail
if [ ! -e /data/db/made ]; then
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
