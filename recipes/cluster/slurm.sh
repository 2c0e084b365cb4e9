#!/usr/bin/env bash
# One worker per node, started by:  sbatch recipes/cluster/slurm.sh recipes/image_classifier.py FLAGS
# The working directory has to be on a file system that all nodes see: run directories are in it.
#SBATCH --job-name=kapps
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=INT@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=kapps-%j.log
set -euo pipefail

# A port of its own for each job: two jobs may share a node.
KAPPS_PORT=$((20000 + SLURM_JOB_ID % 20000))
KAPPS_WORKERS=$(scontrol show hostnames "$SLURM_JOB_NODELIST" |
  sed "s/.*/\"&:$KAPPS_PORT\"/" | paste -sd, -)
export KAPPS_WORKERS

# --kill-on-bad-exit: a worker that dies ends the others. --label puts its number before each line.
code=0
srun --kill-on-bad-exit=1 --label bash -c '
  export TF_CONFIG="{\"cluster\": {\"worker\": [$KAPPS_WORKERS]},
    \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
  exec python "$@"
' kapps "$@" || code=$?

# The job is queued again after a node has died or the time was up, and goes on from the last
# checkpoint; not after a mistake in the flags, which is exit code 2 of all workers.
[ "$code" = 0 ] || [ "$code" = 2 ] || scontrol requeue "$SLURM_JOB_ID"
exit "$code"
