#compdef edgectl
# Completion of edgectl for zsh.
_edgectl() {
	local -a line found
	line=(${words[1,CURRENT-1]})
	[[ ${words[CURRENT]} == -* ]] && line+=(${words[CURRENT]})
	found=("${(@f)$(EDGECTL_COMPLETE=zsh ${line} --generate-bash-completion 2>/dev/null)}")
	if [[ -n ${found[1]} ]]; then
		_describe 'edgectl' found
	else
		_files
	fi
}
compdef _edgectl edgectl
