-- What the streaming specs share: models and viewers made as the site makes them, real encoders and
-- players as child processes. The specs run beside a running site (tools/test streaming starts one).
local accounts = require "store.accounts"
local billing = require "runtime.billing"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local http = require "runtime.http"
local models = require "store.models"
local process = require "runtime.process"
local redis = require "runtime.redis"
local rooms = require "store.rooms"
local stream_keys = require "store.stream_keys"
local streaming = require "runtime.streaming"
local task = require "runtime.task"
local testing = require "footlight.testing"

local support = { CREDIT = 1000000 }
local CREDIT = support.CREDIT

local function word()
  local text = {}
  for i = 1, 10 do text[i] = string.char(97 + crypto.random_below(26)) end
  return table.concat(text)
end

--- An approved model with a stream key, known to the hooks service: { id, slug, key, account }.
function support.model(rate)
  local slug, key = "s" .. word(), nil
  local id = db.transaction(function(tx)
    local account = accounts.create({ name = slug, state = "active" }, tx)
    local model = models.create({ account_id = account.id, slug = slug, stage_name = "Spec " .. slug,
      state = "submitted" }, tx)
    local row = models.by_id(model, tx)
    models.move({ id = model, version = row.state_version, from = row.state, to = "in_review" }, tx)
    row = models.by_id(model, tx)
    models.move({ id = model, version = row.state_version, from = row.state, to = "approved" }, tx)
    rooms.save({ model_id = model, version = 1, rate = rate or 0 }, tx)
    key = stream_keys.rotate(model, tx)
    return model
  end)
  testing.wait_for(function()
    return redis.call("HGET", "p:key:" .. streaming.key_hash(key), "slug") == slug
      and redis.call("HGET", "p:model:" .. slug, "state") == "approved"
      and tonumber(redis.call("HGET", "p:model:" .. slug, "rate")) == (rate or 0)
  end, 10, "the projections of " .. slug)
  return { id = id, slug = slug, key = key, account = models.by_id(id).account_id }
end

--- A viewer with so many credits: the account's id.
function support.viewer(credits)
  local name = "v" .. word()
  local account = db.transaction(function(tx) return accounts.create({ name = name, state = "active" }, tx) end)
  if credits > 0 then
    billing.credit { op = "spec:" .. name, account = account.id, amount = credits * CREDIT, type = "purchase" }
  end
  return account.id
end

local function publish_address(key) return config.get("rtmp.publish_url") .. "/" .. key end

--- The command that publishes a test picture and a tone.
local function encoder(key, seconds)
  return {
    "ffmpeg", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25",
    "-f", "lavfi", "-i", "sine=440", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency",
    "-g", "25", "-c:a", "aac", "-t", tostring(seconds), "-f", "flv", publish_address(key),
    limit = seconds + 20,
  }
end

support.encoder = encoder

--- Publishes for so long and waits for the end: the exit status.
function support.publish_whole(key, seconds)
  return assert(process.run(encoder(key, seconds))).status
end

support.publish_address = publish_address

--- Publishes until stopped, with another encoder's command if one is given. A to-be-closed value with :stop().
function support.publish(model, command)
  local running = task.spawn(process.run, command or encoder(model.key, 100))
  local publisher = {}
  function publisher:stop()
    if self.stopped then return end
    self.stopped = true
    running:cancel("the test is over")
    pcall(running.wait, running, 5)
    testing.wait_for(function() return support.state(model) ~= "live" end, 10, "the publisher's end")
  end
  setmetatable(publisher, { __close = function(self) self:stop() end })
  support.wait_state(model, "live")
  return publisher
end

function support.state(model)
  local live = streaming.live(model.slug)
  return live and live.state or "offline"
end

function support.wait_state(model, state, limit)
  testing.wait_for(function() return support.state(model) == state end, limit or 10,
    model.slug .. " to be " .. state)
end

function support.ticket(model, terms)
  terms = terms or {}
  terms.slug = model.slug
  return (streaming.ticket(terms))
end

--- Plays by RTMP with rtmpdump until the stream ends or for so many seconds; bytes and milliseconds.
function support.play(model, ticket, seconds, name)
  local path = os.tmpname()
  local began = task.monotonic_ms()
  local address = ("%s/%s%s"):format(config.get("rtmp.play_url"), name or model.slug, ticket and "?t=" .. ticket or "")
  process.run { "rtmpdump", "-q", "--live", "--stop", tostring(seconds), "-r", address, "-o", path,
    limit = seconds + 5 }
  local took = task.monotonic_ms() - began
  local file = io.open(path, "rb")
  local bytes = file and file:seek("end") or 0
  if file then file:close() end
  os.remove(path)
  return bytes, took
end

function support.url(path) return (os.getenv("FOOTLIGHT_URL") or config.get("site.url")) .. path end

function support.get(path) return assert(http.request { url = support.url(path), headers = { ["User-Agent"] = "spec" } }) end

--- Watches FLV over HTTP with curl for so many seconds: bytes and milliseconds.
function support.flv(ticket, seconds)
  local path = os.tmpname()
  local began = task.monotonic_ms()
  local outcome = assert(process.run { "curl", "-s", "--max-time", tostring(seconds), "-o", path, "-w", "%{http_code}",
    support.url("/media/flv/" .. ticket), limit = seconds + 5 })
  local took = task.monotonic_ms() - began
  local file = io.open(path, "rb")
  local head = file and file:read(13) or ""
  local bytes = file and file:seek("end") or 0
  if file then file:close() end
  os.remove(path)
  return { status = tonumber(outcome.output), head = head, bytes = bytes, took = took }
end

--- What hooks has written down of the RTMP sessions of the running nginx: lines by client number.
function support.rtmp_sessions()
  local sessions = {}
  local list = redis.call("HGETALL", "hooks:s:" .. config.get("rtmp.boot"))
  for i = 1, #list, 2 do sessions[list[i]] = list[i + 1] end
  return sessions
end

--- nginx's own view: { worker = process id, clients = { [number] = application } }. Its pushes to
-- itself are left out: hooks keeps no session of their sending side.
function support.stat()
  local page = assert(http.request { url = config.get("rtmp.stat") }).body
  local stat = { worker = tonumber(page:match("<pid>(%d+)</pid>")), clients = {} }
  for app in page:gmatch("<application>(.-)</application>") do
    local name = app:match("<name>(.-)</name>")
    for client in app:gmatch("<client>(.-)</client>") do
      local id, flash = client:match("<id>(%d+)</id>"), client:match("<flashver>(.-)</flashver>")
      if flash ~= "ngx-local-relay" or name ~= "publish" then stat.clients[id] = name end
    end
  end
  return stat
end

--- What hooks believes of these slugs and nginx does not do, or what nginx does and hooks does not know,
-- as a sentence; nil: nothing. Other streams may live on in a worker from before a reload, unseen.
function support.disagreement(of)
  local believed, seen = support.rtmp_sessions(), support.stat().clients
  for id, session in pairs(believed) do
    if of[session:match("^%a (%S+)")] and not seen[id] then return ("nginx does not know client %s (%s)"):format(id, session) end
  end
  for id, app in pairs(seen) do
    if not believed[id] then return ("hooks does not know client %s in %s"):format(id, app) end
  end
  local sending = {}
  for _, session in pairs(believed) do
    local kind, slug = session:match("^(%a) (%S+)")
    if kind == "p" then sending[slug] = true end
  end
  for slug in pairs(of) do
    local live = streaming.live(slug)
    if live and live.state ~= "grace" and not sending[slug] then return slug .. " is said to be " .. live.state end
  end
end

--- Process ids, to be given to support.signal: of a service of this site, of nginx.
function support.service_pid(name)
  local pattern = ("%s service %s 1$"):format(os.getenv("FOOTLIGHT_SITE"), name)
  return assert(tonumber(assert(process.run { "pgrep", "-f", "--", pattern }).output), name .. " does not run")
end

function support.nginx_master()
  local file = assert(io.open(config.get("var") .. "/run/pids/nginx"))
  local pid = file:read("n")
  file:close()
  return assert(pid, "nginx does not run")
end

function support.signal(name, pid)
  assert(assert(process.run { "kill", "-" .. name, tostring(pid) }).status == 0, "no process " .. pid)
end

--- Waits until the ticket's session runs, whichever way it is watched.
function support.wait_watching(ticket)
  local nonce = streaming.read_ticket(ticket).nonce
  testing.wait_for(function()
    for _, session in pairs(support.rtmp_sessions()) do
      if session:find(" " .. nonce .. " ", 1, true) then return true end
    end
    return support.get("/media/state/" .. ticket).body:find('"open"', 1, true)
  end, 15, "the session")
end

--- The wallet once no meter holds anything of it.
function support.settled(account)
  return testing.wait_for(function()
    local wallet = billing.wallet(account)
    return wallet.held == 0 and wallet
  end, 20, "the meter to close")
end

return support
