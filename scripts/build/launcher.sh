#!/bin/sh
# Starts the agent with the Node that lies beside it. Only the shell's own commands, so that it is quick and needs no PATH.

self=$0
case $self in */*) ;; *) self=./$self ;; esac
case $self in /*) LIFEBOAT_LAUNCHER=$self ;; *) LIFEBOAT_LAUNCHER=$PWD/$self ;; esac
export LIFEBOAT_LAUNCHER
while [ -L "$self" ]; do
  link=$(command -p readlink -- "$self") || exit 1
  case $link in /*) self=$link ;; *) self=${self%/*}/$link ;; esac
done
top=${self%/*}/..

# Meant for someone else's Node: they would load what this host's agent has not.
unset NODE_OPTIONS NODE_PATH

exec "$top/runtime/node" "$top/bundle/main.mjs" "$@"
