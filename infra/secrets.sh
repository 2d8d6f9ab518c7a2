#!/bin/sh
# secrets.sh FOLDER NAME...: make the passwords that are not there yet, each a file of its own.
#
# Compose mounts the files as they are, and the programs in the containers are not root: so everybody may
# read a file, but only its owner may enter the folder.
set -eu
folder=$1
shift
mkdir -p "$folder"
chmod 700 "$folder"
for name in "$@"; do
    [ -e "$folder/$name" ] && continue
    od -An -v -tx1 -N24 /dev/urandom | tr -d ' \n' >"$folder/$name.new"
    chmod 444 "$folder/$name.new"
    mv "$folder/$name.new" "$folder/$name"
done
