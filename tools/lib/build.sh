# Building the program and collecting the browser libraries.

# With FOOTLIGHT_PREBUILT the programs are there already: packages, and the test that follows the tutorial.
build() { # PRESET [TARGET…]
    local preset=$1
    if [ -n "${FOOTLIGHT_PREBUILT:-}" ]; then
        [ -x "build/$preset/footlight" ] || fail "FOOTLIGHT_PREBUILT is set, but there is no build/$preset/footlight"
        build_preset=$preset
        return 0
    fi
    shift
    build_preset=$preset
    local log=$var/log/build.log
    { cmake --preset "$preset" && cmake --build --preset "$preset" ${1:+--target "$@"}; } > "$log" 2>&1 ||
        fail "the build failed" "$log"
}

# npm's libraries, once for each package-lock.json.
install_browser_libraries() { # production | all
    local stamp=node_modules/.footlight-$1 wanted
    wanted=$(cksum < package-lock.json)
    if [ ! -e "$stamp" ] || [ "$(< "$stamp")" != "$wanted" ]; then
        step "fetching browser libraries with npm"
        local omit=--omit=dev
        [ "$1" = production ] || omit=--include=dev
        npm ci $omit --no-audit --no-fund --ignore-scripts > "$var/log/npm.log" 2>&1 ||
            fail "npm could not fetch the browser libraries" "$var/log/npm.log"
        printf '%s' "$wanted" > "$stamp"
        [ "$1" = production ] || printf '%s' "$wanted" > node_modules/.footlight-production
        step_done
    fi
    tools/assets "$var" > "$var/log/assets.log" 2>&1 ||
        fail "the browser libraries could not be collected" "$var/log/assets.log"
}
