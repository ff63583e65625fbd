-- What tools/bench meters needs before it begins: credits in the viewers' wallets, and their tickets. Reads
-- "account:credits" lines from FOOTLIGHT_BENCH_IN (credits 0: as good as without end), writes one line a
-- viewer to FOOTLIGHT_BENCH_OUT: account, credits, ticket.
local billing = require "runtime.billing"
local streaming = require "runtime.streaming"
local task = require "runtime.task"

local CREDIT, PLENTY = 1000000, 100000
local RATE = 60 * CREDIT
local slug = os.getenv "FOOTLIGHT_BENCH_SLUG" or "mara"

describe("viewers", function()
  it("have credits and tickets", function()
    local viewers, out = {}, assert(io.open(os.getenv "FOOTLIGHT_BENCH_OUT" or "/dev/null", "w"))
    for line in io.lines(os.getenv "FOOTLIGHT_BENCH_IN") do
      local id, credits = line:match "^(%d+):(%d+)$"
      viewers[#viewers + 1] = { account = math.tointeger(tonumber(id)), credits = math.tointeger(tonumber(credits)) }
    end
    for first = 1, #viewers, 200 do
      local tasks = {}
      for i = first, math.min(first + 199, #viewers) do
        local viewer = viewers[i]
        tasks[#tasks + 1] = task.spawn(function()
          billing.credit { op = "bench:" .. viewer.account, account = viewer.account, type = "purchase",
            amount = (viewer.credits == 0 and PLENTY or viewer.credits) * CREDIT, bucket = "paid",
            reason = "bench", actor = "bench" }
        end)
      end
      task.wait_all(tasks)
    end
    for _, viewer in ipairs(viewers) do
      out:write(("%d %d %s\n"):format(viewer.account, viewer.credits,
        (streaming.issue_ticket { account = viewer.account, slug = slug, rate = RATE, ttl = 3600 })))
    end
    assert(out:close())
    assert.is_true(#viewers > 0)
  end)
end)
