# The private servers of one site: everything lives under $var. Sourced after common.sh by scripts
# that have called choose_var and choose_ports.

# choose_var DIRECTORY : where everything that is made at run time lives. If the service user may not
# walk into this folder (a clone in /root, say), what the servers need is kept in /var/lib and
# DIRECTORY becomes a link to it.
choose_var() {
    local wanted=$1
    if [ "$(id -u)" = 0 ] && [ ! -e "$wanted" ] && ! as_service test -r "$root/CMakeLists.txt" 2> /dev/null; then
        local elsewhere
        elsewhere=/var/lib/footlight/$(printf '%s' "$wanted" | sha256sum | cut -c1-12)
        mkdir -p "$elsewhere" "$(dirname "$wanted")"
        chmod 755 /var/lib/footlight
        ln -s "$elsewhere" "$wanted"
    fi
    mkdir -p "$wanted" || fail "cannot make the folder $wanted"
    var=$(cd "$wanted" && pwd -P)
    local folder
    for folder in run run/pids log secrets data tmp deploy deploy/thumbs mail media/hls \
        media/recordings media/keyframes nginx/logs nginx/temp conf bin; do
        mkdir -p "$var/$folder" || fail "cannot make the folder $var/$folder"
    done
    # Debian's redis-server package is a service around a link to this very binary, which tells what
    # it is by its name.
    [ -e "$var/bin/redis-server" ] || ln -sf /usr/bin/redis-check-rdb "$var/bin/redis-server"
    chmod 700 "$var/secrets" "$var/conf"
    chmod 755 "$var" "$var/run"
    give_to_service
}
give_to_service() {
    [ "$(id -u)" != 0 ] || chown -R "$service_user:$service_user" "$var"
}

require_space() { # MEGABYTES
    local free
    free=$(df -Pm "$var" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$1" ] || fail "only $free MB are free in $var; $1 MB are needed"
}

# choose_ports BASE : 8080 means the well-known ones (RTMP on 1935).
choose_ports() {
    [[ $1 =~ ^[0-9]{1,5}$ ]] && [ "$1" -ge 1024 ] && [ "$1" -le 65000 ] ||
        fail "FOOTLIGHT_PORT_BASE must be a port from 1024 to 65000, not '$1'"
    port_http=$1 port_web=$(($1 + 1)) port_realtime=$(($1 + 2)) port_hooks=$(($1 + 3))
    port_media=$(($1 + 4)) port_jobs=$(($1 + 5)) port_control=$(($1 + 8)) port_rtmp=$(($1 + 9))
    [ "$1" != 8080 ] || port_rtmp=1935
    site_url=http://localhost:$port_http
    # Nobody else can reach a site that is being tried out; FOOTLIGHT_LISTEN=0.0.0.0 opens it.
    listen_host=${FOOTLIGHT_LISTEN:-127.0.0.1}
}
require_ports() {
    local port owner
    for port in $port_http $port_web $port_realtime $port_hooks $port_media $port_jobs $port_control $port_rtmp; do
        owner=$(port_owner "$port")
        [ -z "$owner" ] ||
            fail "port $port is taken by $owner; end it, or choose other ports with FOOTLIGHT_PORT_BASE=18080"
    done
}

# --- secrets and settings -------------------------------------------------------------------------

random_hex() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
make_secrets() {
    local name
    for name in ticket token cookie hooks seal segment mariadb; do
        [ -s "$var/secrets/$name" ] || (umask 077 && random_hex > "$var/secrets/$name.new" &&
            mv "$var/secrets/$name.new" "$var/secrets/$name")
    done
}

# fill TEMPLATE TARGET NAME=VALUE… : replaces {{NAME}}; a hole that is left is an error.
fill() {
    local source=$1 target=$2 text pair
    shift 2
    text=$(< "$source")
    for pair in "$@"; do
        text=${text//"{{${pair%%=*}}}"/"${pair#*=}"}
    done
    # The head of a template names its holes in comments.
    if grep -v '^ *#' <<< "$text" | grep -q '{{[a-z_]*}}'; then
        fail "$source has a hole that nothing fills: $(grep -v '^ *#' <<< "$text" | grep -o '{{[a-z_]*}}' | head -1)"
    fi
    (umask 077 && printf '%s\n' "$text" > "$target")
}

write_site_settings() { # ENVIRONMENT
    site_file=$var/conf/site.lua
    cat > "$site_file" << SITE
-- Written by tools/start at each start: this site's places and ports. Your own settings belong in
-- conf/ (see conf/footlight.conf.lua).
return {
  environment = "$1",
  var = "$var",
  site = { url = "$site_url" },
  listen = {
    web = "127.0.0.1:$port_web", realtime = "127.0.0.1:$port_realtime", hooks = "127.0.0.1:$port_hooks",
    media = "127.0.0.1:$port_media", jobs = "127.0.0.1:$port_jobs",
  },
  redis = {
    main = { address = "unix:$var/run/redis-main.sock" },
    money = { address = "unix:$var/run/redis-money.sock" },
  },
  mariadb = {
    socket = "$var/run/mariadb.sock", user = "$database_user", database = "footlight",
    password = secret "mariadb", admin_user = "$service_user",
  },
  secrets = { directory = "$var/secrets" },
  rtmp = {
    publish_url = "rtmp://localhost$rtmp_suffix/publish", play_url = "rtmp://localhost$rtmp_suffix/live",
    address = "127.0.0.1:$port_rtmp",
    control = "http://127.0.0.1:$port_control/control", stat = "http://127.0.0.1:$port_control/stat",
  },
  media = {
    hls = "$var/media/hls", keys = "$var/media/hls", keyframes = "$var/media/keyframes",
    thumbs = "$var/deploy/thumbs", recordings = "$var/media/recordings",
  },
  mail = { mailbox = "$var/mail" },
}
SITE
}

# The services' user in MariaDB. Not named like the service user, who is its administrator.
database_user=footlight_site

# --- servers --------------------------------------------------------------------------------------

ping_redis() { redis-cli -s "$var/run/redis-$1.sock" ping | grep -q PONG; }
start_redis() { # main | money
    running "redis-$1" > /dev/null && return 0
    mkdir -p "$var/data/redis-$1"
    fill "conf/redis-$1.conf" "$var/conf/redis-$1.conf" run="$var/run" data="$var/data/redis-$1"
    give_to_service
    spawn_as_service "redis-$1" "$var/log/redis-$1.log" "$var/bin/redis-server" "$var/conf/redis-$1.conf"
}

ping_mariadb() { query_mariadb "SELECT 1"; }
query_mariadb() { as_service mariadb --no-defaults --socket="$var/run/mariadb.sock" --user="$service_user" -N -e "$1"; }
start_mariadb() {
    running mariadb > /dev/null && return 0
    mkdir -p "$var/data/mariadb"
    fill conf/mariadb.cnf "$var/conf/mariadb.cnf" run="$var/run" data="$var/data/mariadb" log="$var/log" tmp="$var/tmp"
    give_to_service
    if [ ! -d "$var/data/mariadb/mysql" ]; then
        # A tmpdir of its own: a server that starts removes what looks left behind in a shared one.
        as_service mariadb-install-db --no-defaults --datadir="$var/data/mariadb" --tmpdir="$var/tmp" \
            --skip-name-resolve --skip-test-db \
            --auth-root-authentication-method=socket --auth-root-socket-user="$service_user" \
            > "$var/log/mariadb-install.log" 2>&1 ||
            fail "MariaDB could not make its files" "$var/log/mariadb-install.log"
    fi
    spawn_as_service mariadb "$var/log/mariadb.log" mariadbd --defaults-file="$var/conf/mariadb.cnf"
}
create_database() {
    local password
    password=$(< "$var/secrets/mariadb")
    query_mariadb "CREATE DATABASE IF NOT EXISTS footlight CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
        CREATE USER IF NOT EXISTS $database_user@localhost;
        ALTER USER $database_user@localhost IDENTIFIED BY '$password';" > "$var/log/mariadb-setup.log" 2>&1 ||
        fail "the database could not be made" "$var/log/mariadb-setup.log"
}

start_nginx() {
    running nginx > /dev/null && return 0
    local boot
    boot=$(random_hex | cut -c1-12)
    printf '%s' "$boot" > "$var/run/rtmp.boot"
    start_nginx_at nginx "$var" "$port_http" "$port_control" "$port_rtmp" "$port_media" "$boot"
}

# start_nginx_at NAME FOLDER HTTP-PORT CONTROL-PORT RTMP-PORT MEDIA-PORT BOOT-WORD : one host's nginx, with
# its files below FOLDER.
start_nginx_at() {
    local folder=$2 idle=off
    [ -z "${site_hosts:-}" ] || idle=on
    mkdir -p "$folder"/{conf,media/{hls,keyframes,recordings},nginx/{logs,temp},run,log}
    fill conf/nginx.conf "$folder/conf/nginx.conf" modules=/usr/lib/nginx/modules http_port="$listen_host:$3" \
        control_port="$4" web_servers="server 127.0.0.1:$port_web;" \
        realtime_servers="server 127.0.0.1:$port_realtime;" media_servers="server 127.0.0.1:$6;" \
        hls="$folder/media/hls" thumbs="$var/deploy/thumbs" recordings="$folder/media/recordings" \
        segment_secret="$(< "$var/secrets/segment")"
    fill conf/nginx-rtmp.conf "$folder/conf/nginx-rtmp.conf" rtmp_port="$listen_host:$5" \
        hooks="127.0.0.1:${hooks_proxy_port:-$port_hooks}" hooks_secret="$(< "$var/secrets/hooks")" boot="$7" \
        publish_from="allow publish 127.0.0.1;" idle="$idle" \
        hls="$folder/media/hls" keyframes="$folder/media/keyframes" recordings="$folder/media/recordings"
    give_to_service
    spawn_as_service "$1" "$var/log/$1.log" /usr/sbin/nginx -p "$folder/nginx" \
        -c "$folder/conf/nginx.conf" -e "$folder/nginx/logs/error.log" -g 'daemon off;'
}

# A second host on this machine, ten ports on: an nginx with RTMP and a media service of its own; all
# other services are the first host's. Its settings are the first's but for that.
write_second_host() { # once the site's settings are written
    local base=$((port_http + 10))
    host_folder=$var/host-b
    mkdir -p "$host_folder"/{conf,run,log,tmp}
    sed -e "s|^  var = .*|  var = \"$host_folder\",\n  services = {\n    web = { count = 0 }, realtime = { count = 0 }, \
hooks = { count = 0 }, jobs = { count = 0 },\n  },|" \
        -e "s|media = \"127.0.0.1:$port_media\"|media = \"127.0.0.1:$((base + 4))\"|" \
        -e "s|^  rtmp = {|&\n    host = \"b\",|" \
        -e "s|127.0.0.1:$port_control/|127.0.0.1:$((base + 8))/|g; s|127.0.0.1:$port_rtmp\"|127.0.0.1:$((base + 9))\"|" \
        -e "s|$var/media/|$host_folder/media/|g" "$site_file" > "$host_folder/conf/site.lua"
    sed -i "s|^  rtmp = {|&\n    hosts = { b = {\n      address = \"127.0.0.1:$((base + 9))\", control = \"http://127.0.0.1:$((base + 8))/control\",\n\
      stat = \"http://127.0.0.1:$((base + 8))/stat\",\n    } },|" "$site_file"
}
start_second_host() {
    local base=$((port_http + 10))
    start_nginx_at nginx-b "$host_folder" "$base" $((base + 8)) $((base + 9)) $((base + 4)) \
        "b.$(random_hex | cut -c1-12)"
    spawn_as_service footlight-b "$var/log/footlight-b.log" "$(binary)" --root . --site "$host_folder/conf/site.lua" serve
    wait_until 30 media curl -fs -m 2 -o /dev/null "http://127.0.0.1:$((base + 4))/readyz" ||
        fail "the second host is not ready" "$var/log/footlight-b.log"
}

# The program, from the folder of the project: --root . works even where the service user may not
# walk the path to it.
binary() { echo "./build/${build_preset:-release}/footlight"; }
footlight() { as_service "$(binary)" --root . --site "$site_file" "$@"; }
site_ready() {
    local port
    for port in $port_web $port_realtime $port_hooks $port_media $port_jobs; do
        curl -fs -m 2 -o /dev/null "http://127.0.0.1:$port/readyz" || return 1
    done
    curl -fs -m 5 -o /dev/null "$site_url/"
}
start_footlight() {
    running footlight > /dev/null && return 0
    spawn_as_service footlight "$var/log/footlight.log" "$(binary)" --root . --site "$site_file" serve
}

# Starts MariaDB and both Redis and makes the database; the settings must have been written.
start_stores() {
    start_redis money
    start_redis main
    start_mariadb
    wait_until 15 money ping_redis money || fail "the money Redis does not answer" "$var/log/redis-money.log"
    wait_until 15 main ping_redis main || fail "the main Redis does not answer" "$var/log/redis-main.log"
    wait_until 60 mariadb ping_mariadb || fail "MariaDB does not answer" "$var/log/mariadb.log"
    create_database
}

# In the order in which they need each other, last first.
stop_all() {
    finish broadcaster 3
    finish footlight-b 15
    finish nginx-b 5
    finish footlight 15
    finish nginx 5
    finish mariadb 30
    finish redis-main 10
    finish redis-money 10
}
servers_running() {
    local name
    for name in broadcaster footlight nginx mariadb redis-main redis-money; do
        running "$name" > /dev/null && echo "$name"
    done
    return 0
}
