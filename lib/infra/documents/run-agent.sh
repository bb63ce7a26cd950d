#!/bin/bash
# The last step of both SSM documents: installs the agent once for each version, and starts it. Root runs it, on the
# database host, with nothing but bash, coreutils, tar and gzip. Values between @@ are filled in at synth. Without downloads,
# because the agent is installed, it starts in the SSM agent's own folder.
#
# Nothing here writes to standard output before the agent does: SSM keeps its first 24,000 bytes, and the agent's verdict
# stands first among them. Nothing is written to /tmp, which may be mounted noexec or give files a label that SELinux lets
# nobody run.
set -euo pipefail

version='@@VERSION@@'
sha256_x64='@@SHA256_X64@@'
sha256_arm64='@@SHA256_ARM64@@'
run_seconds='@@RUN_SECONDS@@'
kill_after_seconds='@@KILL_AFTER_SECONDS@@'
only='@@ONLY@@'
# SSM replaces this as plain text, wherever it stands: the document's allowedPattern is what makes it safe, not the quotes.
request='{{ @@PARAMETER@@ }}'

# Only a service's own environment can set the folder, never a request.
root=${LIFEBOAT_INSTALL_ROOT:-/opt/lifeboat}
downloads=$PWD

# SSM starts scripts without HOME and without a region. The agent's folders must be open to the user that it becomes.
export HOME="${HOME:-/root}"
export PATH="${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
export AWS_REGION='@@REGION@@' AWS_DEFAULT_REGION='@@REGION@@'
unset BASH_ENV ENV CDPATH
umask 022
exec </dev/null

main() {
  find_run_id
  local agent
  find_agent
  rm -f -- "$downloads"/lifeboat-agent-*.tar.gz
  # The downloads' folder is closed to everybody but root.
  cd /
  run_agent "$agent/bin/lifeboat"
}

# A failure of which the agent cannot tell: the same line that the agent prints, so that the message has a reason.
fail() { # exit status, code of errors.ts, message
  local message=${3//[^A-Za-z0-9 .,:;()\/_%=+-]/?}
  message=${message:0:400}
  printf 'lifeboat: %s\n' "$message" >&2
  if [[ -n $run_id ]]; then
    printf 'LIFEBOAT-VERDICT {"runId":"%s","succeeded":false,"exitStatus":%d,"code":"%s","message":"%s"}\n' \
      "$run_id" "$1" "$2" "$message"
  fi
  exit "$1"
}

run_id=''
find_run_id() {
  if [[ ${#request} -gt 8192 || ! $request =~ ^[A-Za-z0-9_-]+$ ]]; then
    fail 2 USAGE 'The request is no base64url text'
  fi
  local text=${request//-/+}
  text=${text//_//}
  while ((${#text} % 4 != 0)); do text+='='; done
  text=$(base64 -d <<<"$text" 2>/dev/null | tr -d '\0') || text=''
  # What is no request is for the agent to refuse.
  if [[ $text =~ \"runId\":\"([0-9]{8}T[0-9]{6}Z-[0-9a-f]{12})\" ]]; then run_id=${BASH_REMATCH[1]}; fi
}

# Sets `agent`, the folder of this version; installs it unless it is there. Its name holds the tarball's hash, so that a
# build without a new version number is installed too, and never over one that is running.
find_agent() {
  local architecture sha256
  case $(uname -m) in
    x86_64 | amd64) architecture=x64 sha256=$sha256_x64 ;;
    aarch64 | arm64) architecture=arm64 sha256=$sha256_arm64 ;;
    *) fail 3 PREFLIGHT_FAILED "The agent is built for x86-64 and arm64, not for $(uname -m)" ;;
  esac
  agent=$root/$version-${sha256:0:12}
  if [[ -x $agent/bin/lifeboat ]]; then
    # The newest two stay, and newest means last used: after a rollback an old version is the newest again.
    touch -c -- "$agent" || true # a clean-up too many or too few does not matter to this run
    return
  fi
  install_agent "$downloads/lifeboat-agent-$architecture.tar.gz" "$sha256"
  remove_old_versions
}

install_agent() { # tarball, its SHA-256
  local found problem
  [[ -f $1 ]] || fail 5 S3_FAILED 'The agent could not be fetched from S3: see the download steps of this command'
  found=$(sha256sum <"$1")
  [[ ${found%% *} == "$2" ]] || fail 7 CORRUPT "The agent that was fetched has SHA-256 ${found%% *}, not $2"
  problem=$(mkdir -p -- "$root" 2>&1) || fail 6 DISK_FAILED "$root cannot be made: $problem"
  [[ -O $root && -d $root && ! -L $root ]] || fail 3 PREFLIGHT_FAILED "$root must be a folder of root"

  remove_unfinished
  unpacked=$(mktemp -d "$root/.unfinished.$$.XXXXXX" 2>&1) || fail 6 DISK_FAILED "$root: $unpacked"
  problem=$(unpack "$1" 2>&1) || give_up "$problem"
  problem=$("$unpacked/bin/lifeboat" --version 2>&1) || give_up_start "$problem"
  touch -- "$unpacked"
  # A rename fails if another command has just installed the same version: then theirs is as good.
  if ! mv -T -- "$unpacked" "$agent" 2>/dev/null; then
    rm -rf -- "$unpacked"
    [[ -x $agent/bin/lifeboat ]] || fail 6 DISK_FAILED "$agent is in the way: remove it"
  fi
  # For people: /opt/lifeboat/current/bin/lifeboat. The documents never go through it.
  ln -sfn -- "${agent##*/}" "$root/.current.$$" && mv -fT -- "$root/.current.$$" "$root/current"
}

unpack() { # tarball; into $unpacked, and to the disk, so that no power cut leaves an empty file under the final name
  tar -xzf "$1" -C "$unpacked" --strip-components=1 --no-same-owner &&
    chmod -R u=rwX,go=rX -- "$unpacked" &&
    sync -- "$unpacked" "$unpacked"/* "$unpacked"/*/*
}

give_up() { # what tar said
  rm -rf -- "$unpacked"
  case $1 in
    *'No space left'* | *'quota exceeded'*) fail 6 DISK_FULL "No space for the agent (300 MB) in $root: $1" ;;
    *) fail 6 DISK_FAILED "The agent cannot be unpacked in $root: $1" ;;
  esac
}

give_up_start() { # what it said
  rm -rf -- "$unpacked"
  fail 3 PREFLIGHT_FAILED "The agent does not start here (it needs glibc 2.28 and $root without noexec): $1"
}

# Of installations that were killed; whoever is still at work is left alone.
remove_unfinished() {
  local folder owner
  for folder in "$root"/.unfinished.*; do
    owner=${folder##*/.unfinished.}
    owner=${owner%%.*}
    [[ $owner =~ ^[0-9]+$ ]] || continue
    kill -0 "$owner" 2>/dev/null || rm -rf -- "$folder" || true # the next installation tries again
  done
}

# The two that were used last stay, and whichever is running. What we did not install is not ours to remove.
remove_old_versions() {
  local folder kept=0 running
  running=$(readlink /proc/[0-9]*/exe 2>/dev/null || true)
  while IFS= read -r folder; do
    [[ ${folder##*/} =~ ^[0-9][0-9A-Za-z.+-]*-[0-9a-f]{12}$ && -d $folder && ! -L $folder ]] || continue
    kept=$((kept + 1))
    if ((kept <= 2)) || [[ $running == *"$folder/"* ]]; then continue; fi
    mv -T -- "$folder" "$root/.unfinished.$$.${folder##*/}" || continue # somebody else removes it
    rm -rf -- "$root/.unfinished.$$.${folder##*/}" || true # the next installation tries again
  done < <(ls -1dt -- "$root"/*-* 2>/dev/null)
}

# SSM ends a command by SIGKILL to the process group, without a warning: so the agent's time ends earlier, with a warning,
# and --foreground keeps it in our group, that SSM's signal reaches it. What the agent leaves running would keep SSM's pipes
# open and the command running to its time-out, hence the two `cat`: they alone hold the pipes.
run_agent() { # program
  local status=0 left=$((run_seconds - SECONDS)) out err
  ((left > 0)) || fail 143 RUN_ENDED "Installing the agent took all of the run's $run_seconds seconds"
  exec 7> >(exec cat)
  out=$!
  exec 8> >(exec cat >&2 7>&-)
  err=$!
  timeout --foreground -s TERM -k "$kill_after_seconds" "$left" \
    "$1" run --request "$request" --only "$only" >&7 2>&8 7>&- 8>&- || status=$?
  end_leftovers "$out" "$err"
  exec 7>&- 8>&-
  wait_for_output "$out" "$err"
  report "$status"
}

# SSM understands 137 as a time-out, 168 and 169 as "skip the rest" and 194 as "reboot this host": none may pass.
report() { # status of timeout(1)
  case $1 in
    [0-9] | 130 | 143) exit "$1" ;;
    125 | 126 | 127) fail 3 PREFLIGHT_FAILED "The agent could not be started (status $1)" ;;
  esac
  if [[ $1 == 124 ]] || ((SECONDS >= run_seconds)); then
    fail 143 RUN_ENDED "The run took longer than $run_seconds seconds and was ended"
  fi
  if [[ $1 == 137 ]]; then
    fail 143 RUN_KILLED 'The agent was killed (signal 9), perhaps for want of memory: see dmesg'
  fi
  fail 1 BUG "The agent ended with status $1"
}

# Kills what the agent left behind in our process group, if the group is ours alone: led by us or by the shell of SSM.
end_leftovers() { # processes to spare
  local group started leader='' pid parent others_group others_start file
  read_stat "$$" parent group started || return 0
  if ((group == PPID)); then IFS= read -r leader <"/proc/$PPID/comm" || true; fi
  if ((group != $$)) && [[ ! $leader =~ ^(sh|dash|bash)$ ]]; then return 0; fi
  for file in /proc/[0-9]*; do
    pid=${file#/proc/}
    read_stat "$pid" parent others_group others_start || continue
    ((others_group == group && others_start >= started)) || continue
    case " $$ $PPID $BASHPID $* " in *" $pid "*) continue ;; esac
    printf 'lifeboat: ends process %s, which the agent left behind\n' "$pid" >&2
    kill -KILL "$pid" 2>/dev/null || true # it has just ended
  done
}

read_stat() { # process, and the names of variables for its parent, its group and its start
  local stat=''
  { IFS= read -r -d '' stat <"/proc/$1/stat"; } 2>/dev/null || true
  [[ $stat == *') '* ]] || return 1
  local -a fields
  read -r -a fields <<<"${stat##*) }"
  printf -v "$2" %s "${fields[1]}"
  printf -v "$3" %s "${fields[2]}"
  printf -v "$4" %s "${fields[19]}"
}

# The output ends when the last writer does; one that left our process group is not waited for.
wait_for_output() {
  local pid tries=0
  for pid in "$@"; do
    while kill -0 "$pid" 2>/dev/null && ((tries < 50)); do
      sleep 0.1
      tries=$((tries + 1))
    done
    kill -KILL "$pid" 2>/dev/null || true # it has ended by itself
  done
}

trap 'rm -f -- "$downloads"/lifeboat-agent-*.tar.gz' EXIT
main
exit
