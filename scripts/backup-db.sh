#!/bin/sh
# `lifeboat backup`, under its old name: works from any folder and through symbolic links.

self=$0
while [ -L "$self" ]; do
  link=$(command -p readlink -- "$self") || exit 1
  case $link in /*) self=$link ;; *) self=${self%/*}/$link ;; esac
done
case $self in */*) here=${self%/*} ;; *) here=. ;; esac

# An installed agent has `lifeboat` beside this file, the checkout has lifeboat.sh.
if [ -x "$here/lifeboat" ]; then exec "$here/lifeboat" backup "$@"; fi
exec "$here/lifeboat.sh" backup "$@"
