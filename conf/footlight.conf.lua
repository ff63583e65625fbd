-- Footlight's settings and what they are when nobody says otherwise.
--
-- Read in this order, later files win key by key:
--   1. this file
--   2. conf/<environment>.lua
--   3. your own file, named by --site or FOOTLIGHT_SITE (tools/start writes one under var/conf/)
-- Change things in 3; this file belongs to the release. A key that is not known, or a value of the wrong
-- kind, stops the start with a sentence that names it.
--
-- At hand here: env("NAME" [, default]) reads an environment variable, secret("name") the file of that
-- name in secrets.directory. Texts may hold ${root} and ${var}. Nothing else: no files, no commands.

-- FOOTLIGHT_PORT_BASE moves all ports at once: 8080 becomes N, 8081 N+1, and so on; RTMP becomes N+9.
local base = tonumber(env("FOOTLIGHT_PORT_BASE", "")) or 8080
local rtmp_port = base == 8080 and 1935 or base + 9
local rtmp_host = rtmp_port == 1935 and "localhost" or "localhost:" .. rtmp_port

local function loopback(offset) return "127.0.0.1:" .. (base + offset) end

return {
  -- development: errors are shown in the browser, changed files are live at once.
  -- production: errors are shown in the log only; `footlight reload` makes changes live.
  environment = env("FOOTLIGHT_ENVIRONMENT", "development"),

  -- Everything that is made at run time: sockets, logs, uploads, mail, secrets.
  var = env("FOOTLIGHT_VAR", "var"),

  -- After TERM: how long open requests may take to finish.
  drain_seconds = 10,

  -- `footlight console`: a socket of each service in ${var}/run, for the user it runs as only.
  console = { enabled = true, deadline_ms = 10000 }, -- how long one line may take

  site = {
    name = "Footlight",
    url = "http://localhost:" .. base, -- without a slash at the end; links in mails start with it
  },

  -- Where the services listen. nginx stands in front of them; none of these should be public.
  -- A service with several instances uses one address more for each: + 10 ports.
  listen = {
    web = loopback(1),
    realtime = loopback(2),
    hooks = loopback(3),
    media = loopback(4),
    jobs = loopback(5), -- /healthz and /metrics only
  },

  -- Processes of each service.
  services = {
    web = { count = 1 },
    realtime = { count = 1 },
    hooks = { count = 1 }, -- one for all hosts: it alone knows what is live and where
    media = { count = 1 },
    jobs = { count = 1 },
  },

  -- Also "host:port", "sentinel:NAME@host:port,host:port"; of money "cluster:host:port,host:port" too.
  redis = {
    main = { address = "unix:${var}/run/redis-main.sock" },   -- may be lost: it is rebuilt
    money = { address = "unix:${var}/run/redis-money.sock" }, -- wallets: appendfsync always, noeviction
  },

  mariadb = {
    socket = "${var}/run/mariadb.sock", -- or host and port
    user = "footlight",
    database = "footlight",
    pool = 10, -- connections of one process
    queue = 1000, -- requests that wait for one; more fail at once with "busy"
    wait_ms = 2000, -- how long they wait at most
    query_ms = 5000, -- how long a statement may take
    -- replica = { host = "10.0.0.2" }, -- what db.replica reads from; also port, socket, user, password, pool
  },

  -- ticket, token, cookie, hooks, seal, segment: a file each, 64 hex digits. tools/start makes them.
  -- Whoever changes `seal` must keep the old one until the data has been sealed anew.
  secrets = { directory = "${var}/secrets" },

  rtmp = {
    publish_url = "rtmp://" .. rtmp_host .. "/publish", -- what broadcasters enter in their program
    play_url = "rtmp://" .. rtmp_host .. "/live",
    address = "127.0.0.1:" .. rtmp_port,
    control = "http://" .. loopback(8) .. "/control",
    stat = "http://" .. loopback(8) .. "/stat",
    -- Further hosts with an nginx-rtmp (docs/streaming.md, "Several hosts"); IP addresses, no names:
    -- hosts = { b = { address = "192.0.2.2:1935", control = "http://192.0.2.2:8088/control", stat = "http://192.0.2.2:8088/stat" } },
  },

  media = {
    hls = "${var}/media/hls",
    keys = "${var}/media/hls", -- where nginx-rtmp puts them: beside the segments
    keyframes = "${var}/media/keyframes",
    thumbs = "${var}/deploy/thumbs",
    recordings = "${var}/media/recordings",
    recordings_bytes = 20 * 1024 * 1024 * 1024, -- of one model: beyond it nothing more is recorded
    recordings_days = 30, -- then a recording is removed
  },

  -- Where visitors are. Without a file (lines "first,last,CC" or "network/bits,CC", as DB-IP, IP2Location
  -- and others give away) and without a header nobody knows, and rules about countries do nothing.
  geo = {
    -- file = "/var/lib/footlight/countries.csv",
    -- header = "CF-IPCountry", -- only behind a proxy that sets it itself, whatever the client sent
    -- blocked = "KP IR",       -- countries that may not see any room
  },

  mail = {
    -- smtp = "smtp://user:password@host:587"; without it, mails are files in the mailbox
    from = "Footlight <noreply@localhost>",
    mailbox = "${var}/mail",
  },

  -- Who takes the money for credits, the first one being offered first (docs/payments.md).
  payments = {
    providers = "sandbox", -- also stripe, gateway; "none" sells nothing
    stripe = {
      base = "https://api.stripe.com",
      tolerance = 300, -- seconds that a signature stays good
      -- key = "sk_…", webhook_secrets = "whsec_…"
    },
    gateway = {
      name = "Card or bank",
      tolerance = 3600,
      -- report = "https://…": the list of what was paid, for the reconciliation (docs/payments.md)
      -- url = "https://…", merchant = "…", key = "…", addresses = "192.0.2.0/24, 2001:db8::/32"
    },
  },

  -- The account that models are paid from, for the files that the bank gets.
  -- payouts = { name = "…", iban = "…", bic = "…" },

  -- Limits of one request, message or job run in Lua. 0 is no limit.
  lua = {
    deadline_ms = 10000,       -- waits included
    cpu_ms = 500,              -- computing only
    stall_ms = 20,             -- computing where it cannot give way to others (a comparator of table.sort)
    memory = 32 * 1024 * 1024, -- bytes
    coroutines = 20000,        -- at once, in one process
  },

  -- Argon2id for passwords: what one check costs.
  crypto = {
    argon2_operations = 2,
    argon2_memory = 64 * 1024 * 1024,
  },

  http = {
    trusted_proxies = "127.0.0.1,::1", -- whose X-Forwarded-For counts
  },

  log = { level = "info" }, -- debug, info, warn, error
}
