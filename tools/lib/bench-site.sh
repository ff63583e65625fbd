# What the streaming benchmarks share: a site of the release build under var/bench, and one encoder.
# Sourced after the other files of tools/lib.

site_folder=bench site_offset=60 site_demo=no site_preset=release
open_environments=() failures=() encoder=''
bench_end() {
    trap - EXIT INT TERM
    [ -z "$encoder" ] || kill "$encoder" 2> /dev/null || true
    var=$root/var/$site_folder
    stop_all
}

bench_site() { # [browser]
    ensure_service_user
    ulimit -n "$(ulimit -Hn)"
    trap 'code=$?; bench_end; exit $code' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    choose_var "$root/var/$site_folder"
    logs=$var/log
    [ "${1:-}" != browser ] || install_browser_libraries all
    step "building the release"
    build release
    step_done
    step "starting a site"
    need_site
    step_done
}

stream_is_live() { redis-cli -s "$var/run/redis-main.sock" hget "live:$slug" state | grep -qx live; }

# Starts bench_encode, which the caller defines, as the demo's broadcasting model; sets slug.
bench_publish() {
    local answer url
    answer=$(footlight demo --json)
    url=$(sed -n 's/.*"publish_url":"\([^"]*\)".*/\1/p' <<< "$answer")
    url=${url//\\\//\/}
    slug=$(sed -n 's/.*"slug":"\([^"]*\)".*/\1/p' <<< "$answer")
    bench_encode "$url" 2> "$var/log/encoder.log" &
    encoder=$!
    wait_until 20 live stream_is_live || fail "the stream did not go live" "$var/log/encoder.log"
}
