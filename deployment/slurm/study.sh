#!/usr/bin/env bash
# Build a whole study on a Slurm cluster, without Dagster: one array of jobs for each stage, each stage after the one
# before it. Every job may be killed and submitted again in any order; what is published stays, the digests are those of
# a run on one machine. All nodes must see the folders of ENTROPICE_HOME and ENTROPICE_DATA.
#
#   ENTROPICE_STUDY=my_study.toml ENTROPICE_HOME=/shared/store ENTROPICE_DATA=/shared/data deployment/slurm/study.sh
#
# JOBS: how many jobs an array has (default 16). SBATCH_OPTIONS: for every job, such as "--partition=normal --account=x".
# GPU_OPTIONS: for training, such as "--gres=gpu:1". DRY_RUN=1 only prints what would be submitted.
set -euo pipefail
: "${ENTROPICE_STUDY:?name a preset or a study TOML}" "${ENTROPICE_HOME:?name the folder of the store}"
jobs=${JOBS:-16}
here=$(cd "$(dirname "$0")" && pwd)
export ENTROPICE_STUDY ENTROPICE_HOME ENTROPICE_DATA="${ENTROPICE_DATA:-}"

# name | datasets | jobs | memory | options. A stage that is split by nothing, or by few grids, needs few jobs.
stages=(
  "prepare|cells inventory|1|8G|"
  "columns|labels features|$jobs|8G|"
  "tables|training_set|4|16G|"
  "models|model|4|32G|${GPU_OPTIONS:-}"
  "maps|prediction map|$jobs|8G|"
  "rest||1|16G|"                # whatever else the study has: comparisons, priorities, the report
)

after=""
for stage in "${stages[@]}"; do
  IFS='|' read -r name datasets count memory options <<<"$stage"
  command=(sbatch --parsable --job-name="entropice-$name" --array="0-$((count - 1))" --mem="$memory" --cpus-per-task=2
           --output="$ENTROPICE_HOME/slurm-%x-%A_%a.log" --requeue)
  # shellcheck disable=SC2206  # options are words
  command+=(${SBATCH_OPTIONS:-} $options)
  [ -n "$after" ] && command+=(--dependency="afterok:$after")
  command+=("$here/stage.sh" "$count" "$datasets")
  if [ -n "${DRY_RUN:-}" ]; then
    printf '%q ' "${command[@]}"; echo; after="JOB_OF_${name}"
  else
    after=$("${command[@]}"); echo "$name: job $after, $count tasks"
  fi
done
