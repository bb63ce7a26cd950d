/**
 * What restore_command runs, a few milliseconds of sh for each file and no interpreter: takes the file that the agent has laid
 * ready, or asks for it and waits. It ends with 1 for what there is not, so that PostgreSQL looks into pg_wal, and with 200
 * when nobody will ever answer, which ends the recovery: the agent failed, or is gone, or the disk is full. (`: >` would not
 * do: sh itself ends with 2 where that cannot be written, which PostgreSQL takes for the end of the WAL.)
 *
 * $1 is the file's name (%f), $2 where it is to go (%p), relative to the data directory, where it runs.
 */
export const RESTORE_SCRIPT = `name=$1
target=$2
cd_of_work=\${0%/*}
case $name in
  *.history)
    [ -f "$cd_of_work/history/$name" ] || exit 1
    cp "$cd_of_work/history/$name" "$target" || exit 200
    exit 0
    ;;
esac
take() {
  [ -f "$cd_of_work/ready/$name" ] || return 1
  mv "$cd_of_work/ready/$name" "$target" || exit 200
  true > "$cd_of_work/want/$name.taken" || exit 200
  exit 0
}
take
true > "$cd_of_work/want/$name" || exit 200
read -r agent < "$cd_of_work/agent" || exit 200
while :; do
  take
  [ -e "$cd_of_work/absent/$name" ] && exit 1
  [ -e "$cd_of_work/ended" ] && exit 1
  [ -e "$cd_of_work/failed" ] && exit 200
  kill -0 "$agent" 2>/dev/null || [ -d "/proc/$agent" ] || exit 200
  sleep 0.02
done
`;
