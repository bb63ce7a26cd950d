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

# Compiling on other threads may leave the process waiting for itself for ever when it ends: such a thread asks the main one
# for a garbage collection, the main one waits for the thread (nodejs/node#54918). One in twenty interrupted backups hung so.
# V8 heeds these two only here, on the command line.
exec "$top/runtime/node" --no-concurrent-recompilation --no-concurrent-sparkplug "$top/bundle/main.mjs" "$@"
