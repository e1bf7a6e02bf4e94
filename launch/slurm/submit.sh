#!/bin/bash
# What is stale, a job each, after the jobs of the stages that it reads from; then one job that lets DVC know.
#   CPU="--cpus-per-task 32" GPU="--gres gpu:8 --cpus-per-task 64" bash launch/slurm/submit.sh
# A stage that `dvc commit` has not recorded yet counts as stale; it ends in seconds, from its state under work/.
set -euo pipefail
export PATH="$PWD/.venv/bin:$PATH"
mkdir -p work # the logs go there
stale=" $(python pipeline.py plan | sed -n 's/^\([a-z0-9@-]*\): .*/\1/p' | tr '\n' ' ')"
edges=$(dvc dag --dot | sed -n 's/^"\(.*\)" -> "\(.*\)";$/\1 \2/p')
declare -A job
for stage in $(tsort <<< "$edges"); do
    [[ $stale == *" $stage "* ]] || continue
    case ${stage%%@*} in
        phantom-ct | prepare-ct | split-ct | prepare-photos | floors | report) options=${CPU:-} ;;
        *) options=${GPU:-} ;;
    esac
    after=
    for before in $(awk -v stage="$stage" '$2 == stage {print $1}' <<< "$edges"); do
        after+=${job[$before]:+:${job[$before]:-}}
    done
    job[$stage]=$(sbatch --parsable --job-name "$stage" $options ${after:+--dependency=afterok$after} \
        --kill-on-invalid-dep=yes launch/slurm/stage.sbatch "$stage")
    echo "${job[$stage]} $stage${after:+ after$after}"
done
[ ${#job[@]} -gt 0 ] || exit 0
all=$(printf ':%s' "${job[@]}")
sbatch --job-name commit --dependency=afterok"$all" --kill-on-invalid-dep=yes --output=work/slurm-%x-%j.log ${CPU:-} \
    --wrap 'PATH="$PWD/.venv/bin:$PATH" dvc commit -f'
