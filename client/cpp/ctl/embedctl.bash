# Completion of embedctl for bash; installed to share/bash-completion/completions.
# Flags are read from --help, so this file needs no change when a command gets a new one.

_embedctl() {
  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command="" program=${COMP_WORDS[0]} i
  case $previous in
    --npy | --out | --reference | --texts | --tls-ca | --cert | --key | --token-file)
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      return
      ;;
    --target | --text) return ;;
  esac
  local commands
  commands=$("$program" --help 2>/dev/null | sed -n '/^Subcommands:/,/^$/s/^  \([a-z][a-z]*\) .*/\1/p')
  for ((i = 1; i < COMP_CWORD; i++)); do
    if grep -qxF -- "${COMP_WORDS[i]}" <<<"$commands"; then
      command=${COMP_WORDS[i]}
      break
    fi
  done
  if [[ $word == -* ]]; then
    local flags
    flags=$({ "$program" --help; [[ -n $command ]] && "$program" "$command" --help; } 2>/dev/null |
      sed -n 's/^  \(-h,\)\{0,1\}\(--[a-z0-9-]*\).*/\2/p')
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$word")
  elif [[ -z $command ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  fi
}
complete -o filenames -F _embedctl embedctl
