-- A picture that stands costs nothing: the encoder is stopped for some seconds and goes on.
local billing = require "runtime.billing"
local config = require "runtime.config"
local process = require "runtime.process"
local support = dofile(config.root .. "/tests/streaming/support.lua")
local task = require "runtime.task"
local testing = require "footlight.testing"

local CREDIT = support.CREDIT
local WATCHED, STOOD = 20, 7

-- Publishes, and can stand still: :signal "STOP", :signal "CONT".
local function publish(model)
  local path = os.tmpname()
  local command = { "bash", "-c", 'echo $$ > "$1"; shift; exec "$@"', "-", path }
  for _, argument in ipairs(support.encoder(model.key, 60)) do command[#command + 1] = argument end
  command.limit = 80
  local running = task.spawn(process.run, command)
  support.wait_state(model, "live")
  local file = assert(io.open(path))
  local pid = file:read "l"
  file:close()
  os.remove(path)
  return {
    signal = function(_, name) assert.equal(0, process.run({ "kill", "-" .. name, pid }).status) end,
    stop = function()
      running:cancel "the test is over"
      pcall(running.wait, running, 5)
      testing.wait_for(function() return support.state(model) ~= "live" end, 10, "the publisher's end")
    end,
  }
end

local function spent(account)
  testing.wait_for(function() return billing.wallet(account).held == 0 end, 20, "the meter's close")
  local wallet = billing.wallet(account)
  return 100 - (wallet.paid + wallet.bonus) / CREDIT
end

describe("a picture that stands", function()
  it("is not charged for, by RTMP, FLV or HLS", function()
    local model = support.model(60 * CREDIT)
    local publisher <close> = setmetatable(publish(model), { __close = function(self) self.stop() end })
    local viewers, tasks = {}, {}
    local function watch(fn)
      local account = support.viewer(100)
      local ticket = support.ticket(model, { account = account, rate = 60 * CREDIT })
      viewers[#viewers + 1] = account
      tasks[#tasks + 1] = task.spawn(fn, ticket)
    end
    watch(function(ticket)
      process.run { "rtmpdump", "-q", "--live", "-r", ("%s/%s?t=%s"):format(config.get "rtmp.play_url", model.slug, ticket),
        "-o", "/dev/null", limit = WATCHED }
    end)
    watch(function(ticket) support.flv(ticket, WATCHED) end)
    watch(function(ticket)
      for _ = 1, WATCHED * 2 do
        support.get("/media/hls/" .. ticket .. "/index.m3u8")
        task.sleep(0.5)
      end
    end)
    task.sleep(5)
    publisher:signal "STOP"
    task.sleep(STOOD)
    publisher:signal "CONT"
    task.wait_all(tasks)
    for i, account in ipairs(viewers) do
      -- Noticed within one look at nginx, or one segment: two or three seconds either way.
      local cost = spent(account)
      assert.is_true(cost <= WATCHED - STOOD + 4, ("viewer %d paid %g"):format(i, cost))
      assert.is_true(cost >= 5, ("viewer %d paid %g"):format(i, cost))
    end
  end)
end)
