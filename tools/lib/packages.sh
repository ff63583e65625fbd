# Debian packages: what is needed, what is missing, and installing it without starting or enabling
# a single system service.

# Everything that builds and runs the site.
packages_site=(
    cmake ninja-build gcc libc6-dev pkg-config
    libuv1-dev liblua5.4-dev lua-cjson-dev libhiredis-dev libmariadb-dev libsodium-dev
    libcurl4-openssl-dev zlib1g-dev libbrotli-dev brotli node-llhttp
    mariadb-server-core mariadb-client redis-tools nginx libnginx-mod-rtmp ffmpeg
    curl ca-certificates procps
)
# What the tests need on top.
packages_test=(
    libcmocka-dev lua5.4 lua-busted lua-check clang libclang-rt-14-dev chromium fonts-dejavu-core
    rtmpdump python3 python3-websockets lua5.1 lua-http git libxml2-utils clang-tidy cppcheck
    gstreamer1.0-tools gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
)

package_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2> /dev/null | cut -c2)" = i ]
}
packages_missing() {
    local name
    for name in "$@"; do
        # Any flavour of nginx will do, and any Node.js that brings npm.
        [ "$name" = nginx ] && [ -x /usr/sbin/nginx ] && continue
        package_installed "$name" || echo "$name"
    done
    command -v npm > /dev/null || echo npm
}

# Runs as root: in a shell that is root already, or through sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

install_packages() {
    local missing
    mapfile -t missing < <(packages_missing "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get > /dev/null ||
        fail "this is not Debian; install these by hand: ${missing[*]}"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo > /dev/null ||
            fail "these packages are missing, and neither root nor sudo is here to install them: ${missing[*]}"
        # May ask for the password, on the terminal.
        sudo -v || sudo -n true 2> /dev/null ||
            fail "these packages are missing, and sudo does not let $(id -un) install them: ${missing[*]}"
    fi
    step "installing ${#missing[@]} Debian packages (a first run downloads some hundred megabytes)"
    as_root bash "$root/tools/lib/install-quietly" "${missing[@]}" > "$var/log/apt.log" 2>&1 ||
        fail "apt-get could not install: ${missing[*]}" "$var/log/apt.log"
    step_done
}
