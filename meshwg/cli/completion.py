"""``meshwg completion``: what a shell needs to complete commands and names of peers."""

import click

SCRIPTS = {
    "bash": """\
_meshwg_completion() {
    local IFS=$'\\n'
    COMPREPLY=()
    local line
    for line in $(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
            _MESHWG_COMPLETE=bash_complete "$1"); do
        case "${line%%,*}" in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            *) COMPREPLY+=("${line#*,}") ;;
        esac
    done
}
complete -o nosort -F _meshwg_completion meshwg
""",
    "zsh": """\
#compdef meshwg

_meshwg() {
    local -a answer plain described
    local kind word help
    answer=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) \\
        _MESHWG_COMPLETE=zsh_complete "${words[1]}")}")
    for kind word help in $answer; do
        case $kind in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain) [[ $help == _ ]] && plain+=("$word") || described+=("$word:$help") ;;
        esac
    done
    if (( $#described )); then _describe -V unsorted described -U; fi
    if (( $#plain )); then compadd -U -V unsorted -a plain; fi
}

if [[ $funcstack[1] == _meshwg ]]; then
    _meshwg "$@"
else
    compdef _meshwg meshwg
fi
""",
}
"""Scripts that differ from click's: for bash it would start a bash to see whether its
version will do; its script for zsh, loaded from $fpath, answers nothing the second time
that it is asked."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script with which SHELL completes commands.

    It completes options and the names of peers, too.

    \b
    bash: meshwg completion bash > /etc/bash_completion.d/meshwg
    zsh:  meshwg completion zsh > "${fpath[1]}/_meshwg"
    fish: meshwg completion fish > ~/.config/fish/completions/meshwg.fish
    """
    if shell in SCRIPTS:
        click.echo(SCRIPTS[shell], nl=False)
        return
    from click.shell_completion import get_completion_class

    program = ctx.find_root().command
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(program, {}, "meshwg", "_MESHWG_COMPLETE").source())
