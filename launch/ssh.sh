#!/bin/bash
# Starts a command on every machine of HOSTS by ssh, the first of them being this one; for launch.command in local.yaml:
#   launch: {config: launch/nodes-2x8.yaml, command: env HOSTS="node-a node-b" bash launch/ssh.sh, address: node-a}
# All see this checkout under one path. Ends with the first that fails, and takes the others down.
hosts=($HOSTS)
own=$(export -p | grep ' SCOPEFORMER_' | tr '\n' ';')
words=$(printf '%q ' "$@")
SCOPEFORMER_NODE=0 "$@" &
first=$!
stopped=
trap 'stopped=1; kill -TERM $first 2> /dev/null' TERM INT # its ranks tell the others' at the next step
for node in $(seq 1 $((${#hosts[@]} - 1))); do
    # -tt: the remote command ends with the connection
    ssh -tt -o BatchMode=yes "${hosts[node]}" "cd $(printf '%q' "$PWD"); $own SCOPEFORMER_NODE=$node $words" < /dev/null &
done
status=0
for _ in "${hosts[@]}"; do
    wait -n
    code=$?
    # The trap ended `wait`, or machine 0 is still saving; without a signal a status above 128 is a failure: ssh's 255, 137.
    while [ -n "$stopped" ] && [ $code -gt 128 ] && kill -0 $first 2> /dev/null; do
        wait -n
        code=$?
    done
    if [ $code -ne 0 ]; then
        status=$code
        break
    fi
done
kill $(jobs -p) 2> /dev/null
wait
exit $status
