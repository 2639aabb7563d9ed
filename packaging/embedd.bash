# SPDX-License-Identifier: Apache-2.0
# Completion of embedd for bash; installed to share/bash-completion/completions.
# Flags are read from --help, so this file needs no change when there is a new one.

_embedd() {
  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} values=""
  case $previous in
    --model | --config | --tls-cert | --tls-key | --tls-client-ca | --token-file)
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      return
      ;;
    --device) values="auto mps cuda cpu" ;;
    --dtype) values="auto f32 f16 bf16 int8" ;;
    --towers) values="auto image text image,text" ;;
    --decode) values="exact fast" ;;
    --reflection) values="auto on off" ;;
    --release) values="watermark never idle always" ;;
    --log-level) values="debug info warn error" ;;
    --log-format) values="auto text json" ;;
    *) values=$("${COMP_WORDS[0]}" --help 2>/dev/null | sed -n 's/^  \(-h, \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p') ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
}
complete -o filenames -F _embedd embedd
