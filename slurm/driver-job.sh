# shellcheck shell=bash disable=SC2154  # its settings stand above it in FOLDER/driver/job.sh, which `materia submit` writes
# A campaign's driver as a Slurm job that submits its own successor, before anything else. The successor waits by
# the dependency "singleton" (one job of this name and user at a time), so it starts however this job ends: in
# order, killed, or with its node. A job counts itself as failed when it starts and takes that back when it leaves in
# order, so one that is killed has counted too: after three in a row no further job comes.
# driver.log says what happened; the files finished, stopped and no-successor say why there is no further job.
cd "$folder" || exit 1
exec >>driver.log 2>&1
next=

say() { printf '%s job %s: %s\n' "$(date '+%F %T')" "$SLURM_JOB_ID" "$*"; }
write() { printf '%s\n' "$2" >"$1.new" && mv -f "$1.new" "$1"; }
queued() { squeue -h -u "$UID" -t pending -n "$name" -o %A | grep -vx "$SLURM_JOB_ID" | head -n 1; }
submit() ( # without this job's variables, which would decide what the next one gets
  conf=${SLURM_CONF-}
  unset "${!SLURM_@}" "${!SBATCH_@}"
  if [ -n "$conf" ]; then export SLURM_CONF="$conf"; fi
  "${request[@]}"
)
succeed() { # PAUSE...: make sure that a job waits for this one to end; tries as often as there are pauses
  local pause
  for pause in "$@"; do
    sleep "$pause"
    next=$(queued)
    if [ -z "$next" ]; then
      next=$(submit)
      next=${next%%;*}
    fi
    if [ -n "$next" ]; then
      rm -f no-successor
      return 0
    fi
  done
  write no-successor "no successor of job $SLURM_JOB_ID could be submitted: see $folder/driver.log"
  return 1
}
end() { # FILE WORDS: no further job, and why
  write "$1" "$2"
  say "$2"
  next=$(queued)
  if [ -n "$next" ]; then scancel "$next"; fi
}

for reason in finished stopped; do
  if [ -e "$reason" ]; then
    say "$(cat "$reason")"
    exit 0
  fi
done
failures=$(cat failures 2>/dev/null)
failures=${failures:-0}
if [ "${SLURM_RESTART_COUNT:-0}" -eq 0 ]; then # a job that Slurm requeued has counted itself already
  if [ "$failures" -ge "$most_failures" ]; then
    end stopped "the last $failures driver jobs failed or were killed: see $folder/driver.log"
    exit 1
  fi
  failures=$((failures + 1))
  write failures "$failures"
fi
if succeed 0 10 60; then say "started; job $next follows"; else say "started; no successor yet"; fi

environment
code=75
while left=$((run_s - SECONDS)) && [ "$left" -gt 0 ]; do
  "${driver[@]}" --seconds "$left"
  code=$?
  if [ "$code" -ne 75 ] || [ "$SECONDS" -ge "$run_s" ]; then break; fi
  sleep "$wait_s" # another driver holds the campaign, or one that was killed still seems to
done

case $code in
0)
  rm -f failures
  end finished "the campaign is finished"
  ;;
75) # not finished: in order
  write failures 0
  say "left before the walltime"
  if [ -z "$next" ]; then until succeed 30; do :; done; fi
  ;;
*)
  say "the driver ended with code $code"
  if [ "$failures" -ge "$most_failures" ]; then
    end stopped "the last $failures driver jobs failed, this one with code $code: see $folder/driver.log"
  else
    if [ -z "$next" ]; then until succeed 30; do :; done; fi
    scontrol update JobId="$next" StartTime="now+$((retry_s * failures * failures))"
  fi
  ;;
esac
exit "$code"
