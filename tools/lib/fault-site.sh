# A whole site of its own for an attack. Sourced after common.sh, servers.sh and build.sh by scripts that then call
# fault_site FOLDER PORTS, which settles its places, and fault_site_start.

fault_site() { # NAME BASE : its places below var/, and its ports
    ensure_service_user
    choose_var "$root/var/$1"
    choose_ports "$2"
    rtmp_suffix=:$port_rtmp
    site_file=$var/conf/site.lua
    only_one "$var/run/fault.lock" tools/fault
    stop_all
    rm -rf "${var:?}"/data/mariadb "$var"/data/redis-* "$var"/log "$var"/media "$var"/deploy
    choose_var "$root/var/$1"
    local preset=${FOOTLIGHT_BUILD:-build/release}
    build "${preset##*/}" footlight
    export build_preset
    trap 'code=$?; trap - EXIT; stop_all; exit $code' EXIT
    trap 'exit 130' INT TERM
    make_secrets
    write_site_settings development
    require_ports
    give_to_service
}

fault_site_start() {
    start_stores
    footlight migrate > "$var/log/migrate.log" 2>&1 || fail "a migration failed" "$var/log/migrate.log"
    start_nginx
    start_footlight
    wait_until 30 site site_ready || fail "the site is not ready" "$var/log/footlight.log"
    tools/lib/demo "$var" > "$var/log/demo.log" 2>&1 || fail "the demo data could not be made" "$var/log/demo.log"
}
