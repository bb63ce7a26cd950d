#!/bin/sh
# Starts the agent of this checkout: the built one (npm run build) unless the sources are newer, else the sources.

self=$0
while [ -L "$self" ]; do
  link=$(readlink -- "$self") || exit 1
  case $link in /*) self=$link ;; *) self=${self%/*}/$link ;; esac
done
case $self in */*) here=${self%/*} ;; *) here=. ;; esac
top=$(CDPATH='' cd -- "$here/.." && pwd -P) || exit 1

case $(uname -m) in
  x86_64 | amd64) arch=x64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) arch=unknown ;;
esac
built=$top/dist/agent/linux-$arch
node=$top/node_modules/.bin/node

is_current() {
  [ ! -x "$node" ] || [ -z "$(find "$top/lib" "$top/scripts/agent" -name '*.ts' -newer "$built/VERSION" | head -n 1)" ]
}

if [ -x "$built/bin/lifeboat" ] && is_current; then exec "$built/bin/lifeboat" "$@"; fi
if [ -x "$node" ]; then exec "$node" "$top/scripts/agent/main.ts" "$@"; fi
echo "No agent here: run npm install (or npm run build) in $top." >&2
exit 2
