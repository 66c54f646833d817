#!/bin/bash
# Training by Open MPI, which starts ranks and nothing else: deploy/train-mpirun.sh HOSTFILE RANKS MESH RECIPE
# HOSTFILE has a line `node slots=8` for each node; its first node is where ranks meet.
set -euo pipefail

HOSTFILE=${1:?HOSTFILE RANKS MESH RECIPE} RANKS=${2:?RANKS} MESH=${3:?MESH} RECIPE=${4:?RECIPE}
MASTER_ADDR=${MASTER_ADDR:-$(awk 'NF && $1 !~ /^#/ { print $1; exit }' "$HOSTFILE")}
export MASTER_ADDR MASTER_PORT=${MASTER_PORT:-29500} MESH RECIPE

# shellcheck disable=SC2016
mpirun --hostfile "$HOSTFILE" -np "$RANKS" --map-by slot -x MASTER_ADDR -x MASTER_PORT -x MESH -x RECIPE \
  bash -c 'RANK=$OMPI_COMM_WORLD_RANK WORLD_SIZE=$OMPI_COMM_WORLD_SIZE \
    LOCAL_RANK=$OMPI_COMM_WORLD_LOCAL_RANK LOCAL_WORLD_SIZE=$OMPI_COMM_WORLD_LOCAL_SIZE \
    exec switchyard train "$RECIPE" --mesh "$MESH"'
