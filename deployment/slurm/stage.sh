#!/usr/bin/env bash
# One task of an array: builds its share of the partitions of some datasets, and what they need where it is missing.
#   stage.sh COUNT "DATASET DATASET …"
set -euo pipefail
# The same kernels of linear algebra on every node: digests do not tell on which CPU a model was trained.
export OPENBLAS_CORETYPE="${OPENBLAS_CORETYPE:-Haswell}"
count=$1
read -r -a datasets <<<"$2"
exec "${ENTROPICE:-entropice}" build ${datasets[@]+"${datasets[@]}"} \
  --partition-index "${SLURM_ARRAY_TASK_ID:-0}" --partition-count "$count"
