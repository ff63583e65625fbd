# How each suite of tools/test is run and counted.

# run_suite NAME : runs suite_NAME, shows its output as it comes, and adds up its last line of the
# form "N passed, N failed, N skipped". A suite without such a line, or one that counts no test, has
# failed.
run_suite() {
    local suite=$1 log=$logs/suite-$1.log began line status
    began=$(now_ms)
    echo
    echo "=== $suite"
    prepare_"$suite"
    status=0
    (set +e +o pipefail; suite_"$suite") 2>&1 | tee "$log" || status=${PIPESTATUS[0]}
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
    if [ -z "$line" ]; then
        failures+=("$suite: ended without a count (status $status); its output is $log" "$(tail -n 40 "$log")")
        failed=$((failed + 1))
    else
        set -- $line
        passed=$((passed + $1)) failed=$((failed + $3)) skipped=$((skipped + $5))
        [ "$3" = 0 ] || failures+=("$suite: $3 failed; its output is $log" "$(failures_in "$log")")
        [ "$1" != 0 ] || { failures+=("$suite: no test ran"); failed=$((failed + 1)); }
        if [ "$3" = 0 ] && [ "$status" != 0 ]; then
            failures+=("$suite: status $status although no test failed; its output is $log" "$(tail -n 40 "$log")")
            failed=$((failed + 1))
        fi
    fi
    echo "--- $suite: ${line:-no count} ($((($(now_ms) - began) / 1000)) s)"
}

# What a suite's output says of its failures, to be said again at the end: who reads only the last page of
# a long log shall know what broke.
failures_in() { # LOG
    grep -aE -A 24 '^  (failure|error): |^not ok |^\[  (ERROR|FAILED) |^program failed|^failed: | failed:$|^==[0-9]+==ERROR|runtime error:' \
        "$1" | head -n 160
}

# Suites that want neither our stores nor our site run beside the others, behind them in priority: the
# others wait most of their time for streams. What they say comes in one piece when they have ended.
beside=''
run_beside() { # SUITE…
    local suite
    rm -f "$logs/beside.counts"
    set -m # a process group of its own, which cleanup can end
    (
        set +m
        open_environments=() passed=0 failed=0 skipped=0 failures=()
        trap 'code=$?; cleanup; exit $code' EXIT
        trap 'exit 143' TERM
        renice -n 10 -p "$BASHPID" > /dev/null
        for suite in "$@"; do run_suite "$suite"; done
        printf '%s\n' "$passed" "$failed" "$skipped" "${failures[@]}" > "$logs/beside.counts"
    ) > "$logs/beside.log" 2>&1 < /dev/null &
    beside=$!
    set +m
}
join_beside() {
    [ -n "$beside" ] || return 0
    local status=0 said
    wait "$beside" || status=$?
    beside=''
    cat "$logs/beside.log"
    if [ -e "$logs/beside.counts" ]; then
        mapfile -t said < "$logs/beside.counts"
        passed=$((passed + said[0])) failed=$((failed + said[1])) skipped=$((skipped + said[2]))
        failures+=("${said[@]:3}")
    else
        failed=$((failed + 1))
        failures+=("the suites beside the others ended early (status $status)" "$(tail -n 20 "$logs/beside.log")")
    fi
}

# --- environments ---------------------------------------------------------------------------------

# Stores only: MariaDB and both Redis under var/test, for suites that run inside the runtime.
stores_ready=''
need_stores() {
    choose_var "$root/var/test"
    choose_ports "${FOOTLIGHT_TEST_PORT_BASE:-18080}"
    rtmp_suffix=:$port_rtmp
    site_file=$var/conf/site.lua
    export build_preset=debug
    [ -z "$stores_ready" ] || return 0
    stop_all
    # All of it: a ledger without its Redis is what reconciliation warns of. Mails are named by ids,
    # which begin again.
    rm -rf "${var:?}/data" "$var/mail"
    choose_var "$root/var/test"
    open_environments+=("$var")
    make_secrets
    write_site_settings test
    printf test > "$var/run/rtmp.boot"
    give_to_service
    start_stores
    footlight migrate > "$var/log/migrate.log" 2>&1 || fail "a migration failed" "$var/log/migrate.log"
    stores_ready=yes
}

# The whole site under var/test-site, for suites that use it from outside.
site_is_ready=''
need_site() {
    choose_var "$root/var/${site_folder:-test-site}"
    choose_ports $((${FOOTLIGHT_TEST_PORT_BASE:-18080} + ${site_offset:-20}))
    rtmp_suffix=:$port_rtmp
    site_file=$var/conf/site.lua
    export build_preset=${site_preset:-debug}
    export FOOTLIGHT_URL=$site_url FOOTLIGHT_SITE=$site_file
    [ -z "$site_is_ready" ] || return 0
    stop_all
    rm -rf "${var:?}"/data "$var"/mail "$var"/media "$var"/deploy "$var"/log
    choose_var "$root/var/${site_folder:-test-site}"
    open_environments+=("$var")
    make_secrets
    write_site_settings development
    [ -z "${site_hosts:-}" ] || write_second_host
    tools/assets "$var" > "$var/log/assets.log" 2>&1 || fail "assets" "$var/log/assets.log"
    give_to_service
    start_stores
    footlight migrate > "$var/log/migrate.log" 2>&1 || fail "a migration failed" "$var/log/migrate.log"
    require_ports
    start_nginx
    FOOTLIGHT_TEST_ENDPOINTS=1 start_footlight
    wait_until 30 site site_ready || fail "the test site is not ready" "$var/log/footlight.log"
    [ -z "${site_hosts:-}" ] || start_second_host
    [ "${site_demo:-yes}" = no ] || tools/lib/demo "$var" > "$var/log/demo.log" 2>&1 ||
        fail "the demo data could not be made" "$var/log/demo.log"
    site_is_ready=yes
}

in_runtime() { footlight test "tests/$1" --jobs 2; }

# --- suites ---------------------------------------------------------------------------------------

prepare_check() { :; }
suite_check() {
    local good=0 bad=0
    for check in "tools/check" "$(binary) --root . check"; do
        if $check; then good=$((good + 1)); else bad=$((bad + 1)); echo "failed: $check"; fi
    done
    echo "$good passed, $bad failed, 0 skipped"
    [ $bad = 0 ]
}

# add_counts N : passes the output of N runs on, and adds their last lines up into one.
add_counts() {
    awk -v runs="$1" '/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { n++; p += $1; f += $3; s += $5 }
         { print; fflush() }
         END { f += runs - n; printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 }'
}

# cmocka programs print "[  PASSED  ] N test(s)." and "[  FAILED  ] N test(s)".
count_cmocka() {
    awk '/^\[  PASSED  \] [0-9]+ test/ { p += $4 } /^\[  FAILED  \] [0-9]+ test/ { f += $4 }
         /^program failed: / || /^\[  FAILED  \] GROUP (SETUP|TEARDOWN)/ { f++ } { print }
         END { printf "%d passed, %d failed, 0 skipped\n", p, f; exit f > 0 }'
}
run_unit_program() { # PROGRAM
    local status=0 output
    # The last line has no end. A status past 100 is no count of failed tests, but a crash.
    output=$(timeout 300 "$1" 2>&1) || status=$?
    printf '%s\n' "$output" | grep -avE '^\[ (RUN|      OK) |^\[=+\]|^\{"time"' || true
    [ "$status" -le 100 ] || echo "program failed: $1"
}
run_unit_programs() { # BUILD-FOLDER
    local program
    export -f run_unit_program
    for program in tests/unit/*_test.c; do echo "$1/$(basename "$program" .c)"; done |
        xargs -P 2 -I{} bash -c 'text=$(run_unit_program {}); printf "%s\n" "$text"'
}
prepare_unit() { :; }
suite_unit() { run_unit_programs build/debug | count_cmocka; }

prepare_runtime() { need_stores; }
suite_runtime() { in_runtime runtime; }
prepare_billing() { need_stores; }
suite_billing() { in_runtime billing; }
prepare_realtime() { need_stores; }
# Its scripts start services of their own beside the stores that they find.
suite_realtime() { footlight test tests/realtime; }
prepare_site() { need_stores; }
suite_site() { in_runtime site; }
# Streams take their time and little else; those that restart what all share run by themselves.
prepare_streaming() { need_site; }
suite_streaming() {
    local alone=tests/streaming/faults_spec.lua together=() file
    for file in tests/streaming/*_spec.lua; do [ "$file" = $alone ] || together+=("$file"); done
    {
        footlight test "${together[@]}" --jobs 4 --shared
        footlight test $alone
    } | add_counts 2
}

# Two hosts with an nginx-rtmp each, in a site of their own under var/test-hosts.
prepare_hosts() {
    site_is_ready=''
    site_folder=test-hosts site_offset=80 site_demo=no site_hosts=yes
    need_site
    site_is_ready=''
    unset site_folder site_offset site_demo site_hosts
}
suite_hosts() { FOOTLIGHT_SECOND_HOST=$((port_http + 10)) footlight test tests/hosts; }
prepare_browser() { need_site; }
suite_browser() {
    # node's runner in TAP form, counted into our own last line. Node.js 18 tries one address of localhost
    # only, which may be ::1, where nothing listens.
    FOOTLIGHT_VAR=$var node --dns-result-order=ipv4first --test --test-reporter=tap tests/browser/ 2>&1 | awk '
        /^# pass / { p = $3 } /^# fail / { f = $3 } /^# cancelled / { f += $3 } /^# skipped / { s = $3 } { print }
        END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 }'
}

# The page is followed in a copy, with the programs that are built already; everything else is as in a
# clone. Its site and its own tools/test run on ports above the others.
prepare_tutorial() { :; }
suite_tutorial() {
    local copy base=${FOOTLIGHT_TEST_PORT_BASE:-18080}
    copy=$(mktemp -d /tmp/footlight-tutorial-XXXXXX)
    chmod 755 "$copy"
    tar --exclude=./var --exclude=./build --exclude=./node_modules --exclude=./.git -cf - . |
        tar -xf - --no-same-owner -C "$copy"
    mkdir -p "$copy/build/release" "$copy/build/debug"
    cp build/debug/footlight "$copy/build/debug/"
    cp build/debug/footlight "$copy/build/release/"
    [ ! -d node_modules ] || cp -r node_modules "$copy/"
    env -u FOOTLIGHT_SITE -u FOOTLIGHT_URL \
        FOOTLIGHT_PREBUILT=yes FOOTLIGHT_PORT_BASE=$((base + 40)) FOOTLIGHT_TEST_PORT_BASE=$((base + 60)) \
        python3 tests/tutorial/follow.py "$copy"
    rm -rf "$copy"
}

# --- sanitizers and fuzzing -----------------------------------------------------------------------

prepare_sanitize() {
    step "building with sanitizers"
    build asan
    step_done
    need_stores
}
suite_sanitize() {
    export ASAN_OPTIONS=abort_on_error=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
    export build_preset=asan
    local suite
    {
        run_unit_programs build/asan | count_cmocka
        footlight test tests/realtime 2>&1
        for suite in runtime billing; do in_runtime "$suite" 2>&1; done
    } | add_counts 4
}

prepare_analyse() { :; }
suite_analyse() {
    if tools/analyse; then echo "1 passed, 0 failed, 0 skipped"; else echo "0 passed, 1 failed, 0 skipped"; fi
}

fuzz_targets() { (cd tests/fuzz && ls -- *_fuzz.c | sed 's/\.c$//'); }
prepare_fuzz() {
    step "building the fuzz targets"
    # shellcheck disable=SC2046
    { cmake -S . -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang \
        -DFOOTLIGHT_FUZZ=ON && cmake --build build/fuzz --target $(fuzz_targets); } \
        > "$logs/build-fuzz.log" 2>&1 || fail "the fuzz targets do not build" "$logs/build-fuzz.log"
    step_done
}
# Replays the committed inputs, then looks for new ones. New inputs stay below var/.
fuzz_one() { # TARGET SECONDS
    local found=$var/fuzz/$1
    mkdir -p "$found"
    "build/fuzz/$1" -max_total_time="$2" -timeout=20 -rss_limit_mb=3000 -artifact_prefix="$var/fuzz/" \
        "$found" "tests/fuzz/corpus/$1" > "$logs/$1.log" 2>&1
}
suite_fuzz() {
    local good=0 bad=0 target
    export -f fuzz_one
    export var logs
    fuzz_targets | xargs -P "$(nproc)" -I{} bash -c \
        'fuzz_one {} '"${FOOTLIGHT_FUZZ_SECONDS:-20}"' && touch "$logs/{}.good" || rm -f "$logs/{}.good"'
    for target in $(fuzz_targets); do
        if [ -e "$logs/$target.good" ]; then
            rm "$logs/$target.good"
            good=$((good + 1))
            echo "$target: $(grep -E '^Done|DONE' "$logs/$target.log" | tail -n 1)"
        else
            bad=$((bad + 1))
            echo "$target failed:"
            tail -n 30 "$logs/$target.log"
        fi
    done
    echo "$good passed, $bad failed, 0 skipped"
    [ $bad = 0 ]
}
