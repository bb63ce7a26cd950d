#!/bin/bash
# systemctl(1), as far as the agent asks for it, on a host whose /etc and /run are folders of a test's. What a unit says is
# done: its command, as its user, with its EnvironmentFile alone, in a session of its own. What systemd adds besides
# (restarts, hardening) is not. /run/systemd/test-folder says where it remembers what runs.
set -euo pipefail
state=$(cat /run/systemd/test-folder)
units=/etc/systemd/system
printf '%s\n' "$*" >>"$state/calls"

value() { sed -n "s/^$2=//p" "$units/$1"; }
main_pid() { cat "$state/$1.pid" 2>/dev/null || true; }
# A zombie that nobody has waited for yet does not run.
alive() { local stat=''; { read -r -d '' stat <"/proc/$1/stat"; } 2>/dev/null || true; [[ $stat == *') '[!Z]* ]]; }
runs() { local pid; pid=$(main_pid "$1"); [[ -n $pid ]] && alive "$pid"; }

stop() {
  local pid
  pid=$(main_pid "$1")
  rm -f "$state/$1.pid"
  [[ -n $pid ]] || return 0
  kill -TERM "$pid" 2>/dev/null || return 0
  for _ in {1..150}; do alive "$pid" || return 0; sleep 0.1; done
  kill -KILL "$pid" 2>/dev/null || true
}

start() {
  local user
  user=$(value "$1" User)
  (
    unset "${!AWS_@}" "${!LIFEBOAT_@}"
    set -a
    # The instance's own credentials, which a real host asks its metadata for.
    . "$state/role.env"
    . "$(value "$1" EnvironmentFile)"
    set +a
    # shellcheck disable=SC2046
    exec setsid setpriv --reuid "$user" --regid "$user" --init-groups --inh-caps=-all \
      $(value "$1" ExecStart) </dev/null >>"$state/$1.log" 2>&1
  ) &
  printf '%s\n' $! >"$state/$1.pid"
}

case $1 in
  daemon-reload) ;;
  enable) [[ -f $units/$2 ]] ;;
  restart) stop "$2"; start "$2" ;;
  disable) stop "$3" ;;
  show)
    if runs "$3"; then echo ActiveState=active; echo SubState=running; echo Result=success
    elif [[ -n $(main_pid "$3") ]]; then echo ActiveState=failed; echo SubState=failed; echo Result=signal; echo ExecMainStatus=9
    else echo ActiveState=inactive; echo SubState=dead; echo Result=success; fi
    ;;
  *) echo "systemctl: no $1 here" >&2; exit 1 ;;
esac
