#!/bin/sh
# secrets.sh FOLDER NAME...: make the passwords that do not exist yet, each in a file of its own. One that is named
# first_key is an API key.
#
# Compose mounts the files with their permissions, and the programs in the containers are not root. So the files
# are readable by everybody, and the folder can be entered by its owner only.
set -eu
folder=$1
shift
mkdir -p "$folder"
chmod 700 "$folder"
for name in "$@"; do
    [ -e "$folder/$name" ] && continue
    if [ "$name" = first_key ]; then
        printf 'fl_%s' "$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n')" >"$folder/$name.new"
    else
        od -An -v -tx1 -N24 /dev/urandom | tr -d ' \n' >"$folder/$name.new"
    fi
    chmod 444 "$folder/$name.new"
    mv "$folder/$name.new" "$folder/$name"
done
