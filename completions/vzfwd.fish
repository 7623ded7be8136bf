# SPDX-License-Identifier: MIT
#
# fish completion for vzfwd: asks the program itself.

function __vzfwd_complete
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l word (commandline --current-token --cut-at-cursor)
    # Of --NAME=PATH, the path alone is completed.
    set -l option (string match --regex '^--[^=]*=' -- "$word")
    set -l path (string replace --regex '^--[^=]*=' '' -- "$word")
    for line in (command vzfwd __complete $words[2..-1] "$word" 2>/dev/null)
        switch $line
            case :nospace
                # fish adds no blank behind : and / by itself.
            case :files
                __fish_complete_path "$path" | string replace --regex '^' -- "$option"
            case :dirs
                __fish_complete_directories "$path" '' | string replace --regex '^' -- "$option"
            case :programs
                complete --do-complete "$word"
            case '*'
                echo $line
        end
    end
end

complete --command vzfwd --no-files --arguments '(__vzfwd_complete)'
