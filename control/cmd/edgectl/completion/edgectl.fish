# Completion of edgectl for fish.
function __edgectl_complete
    set -l line (commandline -opc)
    set -l cur (commandline -ct)
    string match -q -- '-*' $cur; and set -a line $cur
    env EDGECTL_COMPLETE=fish $line --generate-bash-completion 2>/dev/null
end
complete -c edgectl -a '(__edgectl_complete)'
