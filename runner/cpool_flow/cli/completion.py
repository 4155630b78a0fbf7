"""`completion`: the script by which a shell asks this program how a command line can go on."""

from __future__ import annotations

import click

BASH = """\
# cpool-flow in bash 4.4 or newer: source <(cpool-flow completion bash)
_cpool_flow() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done < <(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" _CPOOL_FLOW_COMPLETE=bash_complete "$1" 2>/dev/null)
    # A folder and the name of an argument go on.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=] ]]; then compopt -o nospace; fi
}
complete -o nosort -F _cpool_flow cpool-flow
"""

ZSH = """\
#compdef cpool-flow
# cpool-flow in zsh: source <(cpool-flow completion zsh), or this text as `_cpool-flow` in a folder of $fpath
_cpool_flow() {
    local type value about
    local -a plain about_plain going_on
    while IFS= read -r type && IFS= read -r value && IFS= read -r about; do
        case $type in
            plain)
                if [[ $value == *[/=] ]]; then going_on+=("$value")
                elif [[ $about == _ ]]; then plain+=("$value")
                else about_plain+=("$value:$about")
                fi ;;
            file) _path_files -f ;;
            dir) _path_files -/ ;;
        esac
    done < <(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) _CPOOL_FLOW_COMPLETE=zsh_complete ${words[1]} 2>/dev/null)
    (( ${#about_plain} )) && _describe -V cpool-flow about_plain
    (( ${#plain} )) && compadd -V plain -a plain
    (( ${#going_on} )) && compadd -V going-on -S '' -a going_on
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _cpool_flow "$@"; else compdef _cpool_flow cpool-flow; fi
"""

FISH = """\
# cpool-flow in fish: cpool-flow completion fish | source
function _cpool_flow
    for line in (env _CPOOL_FLOW_COMPLETE=fish_complete COMP_WORDS=(commandline -cp) COMP_CWORD=(commandline -t) cpool-flow 2>/dev/null)
        set -l parts (string split --max 1 , -- $line)
        switch $parts[1]
            case plain
                echo $parts[2]
            case file
                __fish_complete_path $parts[2]
            case dir
                __fish_complete_directories $parts[2]
        end
    end
end
complete --no-files --command cpool-flow --arguments '(_cpool_flow)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@click.command("completion", short_help="Print the script that completes commands in a shell.")
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
def completion_command(shell: str) -> int:
    """Print the script by which a shell completes commands, options, workflows, runs and steps.

    \b
    source <(cpool-flow completion bash)      in ~/.bashrc
    source <(cpool-flow completion zsh)       in ~/.zshrc, after compinit
    cpool-flow completion fish | source       in ~/.config/fish/config.fish
    """
    print(SCRIPTS[shell], end="")
    return 0
