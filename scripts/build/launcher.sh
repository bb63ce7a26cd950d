#!/bin/sh
# Starts the agent with the Node that lies beside it. Only the shell's own commands, so that it is quick and needs no PATH.

# archive_command, with the data directory as the working directory: a file that went to S3 along with an earlier one is marked,
# and needs no interpreter. A mark counts for that very file alone, see wal-files.ts.
if [ "$1" = wal ] && [ "$2" = push ] && [ -f "lifeboat_pushed/${3##*/}" ]; then
  IFS= read -r mark <"lifeboat_pushed/${3##*/}"
  if [ -n "$mark" ] && [ "$mark" = "$(command -p stat -c '%i %s %.9Y %.9Z' -- "$3")" ]; then exit 0; fi
fi

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
