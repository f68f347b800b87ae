# bash completion for jobctl; made by `jobctl completions bash`.
# shellcheck shell=bash

_jobctl_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

_jobctl_ask() {
    mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" __complete "${config[@]}" "$1" "$cur" 2>/dev/null)
}

_jobctl_files() {
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    compopt -o filenames 2>/dev/null
}

_jobctl() {
    local cur prev verb i
    local -a config=()
    COMPREPLY=()
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}
    verb=
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            -c|--config)
                ((i + 1 < COMP_CWORD)) && config=(-c "${COMP_WORDS[i + 1]}")
                ((i++)) ;;
            -*) ;;
            *) [[ -n $verb ]] || verb=${COMP_WORDS[i]} ;;
        esac
    done
    if [[ $prev == -c || $prev == --config ]]; then
        _jobctl_files
        return
    fi
    if [[ -z $verb ]]; then
        _jobctl_words 'submit exec run status inspect list logs result wait revoke retry progress jobs next calendar schedule check init import export daemon reload drain stop doctor pool keys demo completions --config --version --help'
        return
    fi
    case $verb in
        submit)
            case $prev in
                --in|--at|--expires|--priority|--timeout|--retries|--id|--tag|--timeout-wait|--store-wait) return ;;
                --queue) _jobctl_ask queues; return ;;
                --args-json|--from-ndjson|--config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--in --at --expires --queue --priority --timeout --retries --id --tag --wait --timeout-wait --store-wait --spool --follow -f --args-json --from-ndjson --force --dry-run --config -c --json --quiet -q --help -h'
            else
                _jobctl_ask jobs
            fi ;;
        exec)
            case $prev in
                --in|--at|--expires|--priority|--timeout|--retries|--id|--tag|--timeout-wait|--store-wait) return ;;
                --queue) _jobctl_ask queues; return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--in --at --expires --queue --priority --timeout --retries --id --tag --wait --timeout-wait --store-wait --spool --follow -f --config -c --json --quiet -q --help -h'
            else
                :
            fi ;;
        run)
            case $prev in
                --timeout) return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--timeout --retries --dry-run -n --config -c --json --quiet -q --help -h'
            else
                _jobctl_ask jobs
            fi ;;
        status)
            case $prev in
                --every|--failed-since) return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--watch --every --failed-since --config -c --json --quiet -q --help -h'
            else
                _jobctl_ask runs
            fi ;;
        inspect)
            case $prev in
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--config -c --json --quiet -q --help -h'
            else
                _jobctl_ask runs
            fi ;;
        list)
            case $prev in
                --state) _jobctl_words 'scheduled queued parked waiting running retrying succeeded failed revoked expired skipped'; return ;;
                --job) _jobctl_ask jobs; return ;;
                --queue) _jobctl_ask queues; return ;;
                --since|--tag|--number|-n) return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--state --job --queue --since --tag --number -n --ids --config -c --json --quiet -q --help -h'
            else
                :
            fi ;;
        logs)
            case $prev in
                --lines|-n|--attempt) return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--follow -f --lines -n --attempt --config -c --json --quiet -q --help -h'
            else
                _jobctl_ask runs
            fi ;;
        result)
            case $prev in
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--raw --config -c --json --quiet -q --help -h'
            else
                _jobctl_ask runs
            fi ;;
        wait)
            case $prev in
                --timeout) return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--timeout --any --config -c --json --quiet -q --help -h'
            else
                _jobctl_ask runs
            fi ;;
        revoke)
            case $prev in
                --signal|--grace|--tag|--older) return ;;
                --job) _jobctl_ask jobs; return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--signal --grace --no-kill --all --job --tag --older --dry-run --yes -y --wait --config -c --json --quiet -q --help -h'
            else
                _jobctl_ask runs
            fi ;;
        retry)
            case $prev in
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--force --config -c --json --quiet -q --help -h'
            else
                _jobctl_ask runs
            fi ;;
        progress)
            case $prev in
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--config -c --json --quiet -q --help -h'
            else
                :
            fi ;;
        jobs)
            case $prev in
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--config -c --json --quiet -q --help -h'
            else
                :
            fi ;;
        next)
            case $prev in
                --number|-n|--from|--schedule|--timezone) return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--number -n --from --schedule --timezone --explain --config -c --json --quiet -q --help -h'
            else
                _jobctl_ask jobs
            fi ;;
        calendar)
            case $prev in
                --days|--from|--timezone) return ;;
                --job) _jobctl_ask jobs; return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--days --job --from --timezone --config -c --json --quiet -q --help -h'
            else
                :
            fi ;;
        schedule)
            case $prev in
                --number|-n|--until|--from|--to|--max|--schedule|--timezone|--jitter|--priority|--expires|--not-before|--not-after|--max-runs) return ;;
                --job) _jobctl_ask jobs; return ;;
                --missed) _jobctl_words 'skip once all'; return ;;
                --queue) _jobctl_ask queues; return ;;
                --args-json|--config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--number -n --until --once --all --force --from --to --max --dry-run --job --schedule --timezone --jitter --missed --queue --priority --expires --not-before --not-after --max-runs --args-json --config -c --json --quiet -q --help -h'
            else
                _jobctl_words 'list show next enable disable trigger skip-to backfill add set rm'
            fi ;;
        check)
            case $prev in
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--strict --no-import --config -c --json --quiet -q --help -h'
            else
                :
            fi ;;
        init)
            case $prev in
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--force --config -c --json --quiet -q --help -h'
            else
                :
            fi ;;
        import)
            case $prev in
                --owner) return ;;
                --interpreter|--output|-o|--config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--system --user --anacron --owner --native --expand-run-parts --interpreter --output -o --force --config -c --json --quiet -q --help -h'
            else
                _jobctl_words 'crontab systemd-timers celery-beat'
            fi ;;
        export)
            case $prev in
                --output|-o|--config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--system --user --output -o --force --config -c --json --quiet -q --help -h'
            else
                _jobctl_words 'crontab systemd'
            fi ;;
        daemon)
            case $prev in
                --log-level) _jobctl_words 'debug info warning error'; return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--burst --no-scheduler --log-level --config -c --json --quiet -q --help -h'
            else
                :
            fi ;;
        reload)
            case $prev in
                --host|--timeout) return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--exec --host --no-wait --timeout --config -c --json --quiet -q --help -h'
            else
                :
            fi ;;
        drain)
            case $prev in
                --host|--timeout) return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--host --no-wait --timeout --config -c --json --quiet -q --help -h'
            else
                :
            fi ;;
        stop)
            case $prev in
                --host|--timeout) return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--host --no-wait --timeout --config -c --json --quiet -q --help -h'
            else
                :
            fi ;;
        doctor)
            case $prev in
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--verify --repair --dry-run --yes -y --config -c --json --quiet -q --help -h'
            else
                :
            fi ;;
        pool)
            case $prev in
                --host) return ;;
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--host --config -c --json --quiet -q --help -h'
            else
                _jobctl_words 'list grow shrink restart'
            fi ;;
        keys)
            case $prev in
                --file|--config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--file --config -c --json --quiet -q --help -h'
            else
                _jobctl_words 'init list add use rotate retire'
            fi ;;
        demo)
            case $prev in
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--keep --config -c --json --quiet -q --help -h'
            else
                :
            fi ;;
        completions)
            case $prev in
                --config|-c) _jobctl_files; return ;;
            esac
            if [[ $cur == -* ]]; then
                _jobctl_words '--config -c --json --quiet -q --help -h'
            else
                _jobctl_words 'bash zsh fish'
            fi ;;
    esac
}

complete -o bashdefault -F _jobctl jobctl
