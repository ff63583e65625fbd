-- Tasks, waiting, cancellation, deadlines, semaphores and channels.
local log = require "runtime.log"
local task = require "runtime.task"
local testing = require "footlight.testing"

describe("task.spawn", function()
  it("runs later, with its arguments, and gives all its results to wait", function()
    local order = {}
    local t = task.spawn(function(a, b)
      order[#order + 1] = "task"
      return a + b, nil, "last"
    end, 1, 2)
    order[#order + 1] = "spawner"
    local sum, hole, last = t:wait()
    assert.same({ "spawner", "task" }, order)
    assert.equal(3, sum)
    assert.is_nil(hole)
    assert.equal("last", last)
  end)

  it("lets the first of very many end before the last begin", function()
    local open, most = 0, 0
    local list = {}
    for i = 1, 1000 do
      list[i] = task.spawn(function()
        open = open + 1
        most = math.max(most, open)
        task.sleep(0)
        open = open - 1
        return i
      end)
    end
    local results = task.wait_all(list)
    assert.equal(1000, #results)
    assert.equal(1000, results[1000])
    assert.is_true(most <= 300, most .. " were open at once")
    -- Not where it cannot wait: inside a comparator it goes on.
    local spawned = {}
    table.sort({ 2, 1 }, function(a, b)
      for _ = 1, 150 do spawned[#spawned + 1] = task.spawn(function() return true end) end
      return a < b
    end)
    assert.equal(#spawned, #task.wait_all(spawned))
  end)

  it("hands its error to the one who waits, as it was raised", function()
    local problem = { code = "full" }
    local t = task.spawn(function() task.sleep(0.001) error(problem) end)
    local ok, why = pcall(t.wait, t)
    assert.is_false(ok)
    assert.equal(problem, why)
  end)

  it("logs an error that nobody waits for, with the place where it was spawned", function()
    testing.expect_log("lua.task_failed")
    local t = task.spawn(function() error("lonely") end)
    testing.wait_for(function() return (t:done()) end)
  end)

  it("can be waited for by several, before and after its end", function()
    local t = task.spawn(function() task.sleep(0.002) return "x" end)
    local list = {}
    for i = 1, 5 do list[i] = task.spawn(function() return t:wait() end) end
    assert.same({ "x", "x", "x", "x", "x" }, task.wait_all(list))
    assert.equal("x", t:wait())
    assert.same({ true, true }, { t:done() })
  end)
end)

describe("task.wait_all", function()
  it("gives the first results in the order of the list", function()
    local list = {}
    for i = 1, 10 do list[i] = task.spawn(function() task.sleep((11 - i) / 2000) return i end) end
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, task.wait_all(list))
    assert.same({}, task.wait_all({}))
  end)

  it("raises the first error and cancels the rest", function()
    local slow = task.spawn(function() task.sleep(60) end)
    local bad = task.spawn(function() task.sleep(0.001) error("bad", 0) end)
    local ok, why = pcall(task.wait_all, { slow, bad })
    assert.is_false(ok)
    assert.equal("bad", why)
    testing.wait_for(function() return (slow:done()) end)
  end)

  it("gives up after its limit and leaves the tasks alone", function()
    local slow = task.spawn(function() task.sleep(0.03) return 1 end)
    local result, why = task.wait_all({ slow }, 0.005)
    assert.is_nil(result)
    assert.equal("timeout", why)
    assert.equal(1, slow:wait())
  end)
end)

describe("task.wait_any", function()
  it("tells which ended and gives its results", function()
    local slow = task.spawn(function() task.sleep(60) end)
    local quick = task.spawn(function() task.sleep(0.001) return "q" end)
    local index, value = task.wait_any({ slow, quick })
    assert.equal(2, index)
    assert.equal("q", value)
    slow:cancel()
  end)
end)

describe("cancellation", function()
  it("ends a wait at once, closes variables, and cannot be swallowed", function()
    local seen = {}
    local waiting = false
    local t = task.spawn(function()
      local _ <close> = setmetatable({}, { __close = function() seen[#seen + 1] = "closed" end })
      waiting = true
      pcall(task.sleep, 60)
      seen[#seen + 1] = "swallowed"
      task.sleep(60)
      seen[#seen + 1] = "never"
    end)
    testing.wait_for(function() return waiting end)
    t:cancel("no longer wanted")
    local ok, why = pcall(t.wait, t)
    assert.is_false(ok)
    assert.matches("cancelled: no longer wanted", why)
    assert.same({ "swallowed", "closed" }, seen)
  end)

  it("reaches a task that has not begun", function()
    local ran = false
    local t = task.spawn(function() ran = true task.sleep(1) end)
    t:cancel()
    assert.is_false((pcall(t.wait, t)))
    assert.is_false(ran)
  end)
end)

describe("task.deadline", function()
  it("gives the results of what is quick enough", function()
    assert.same({ 1, 2 }, { task.deadline(1, function(a, b) task.sleep(0.001) return a, b end, 1, 2) })
  end)

  it("raises in what is too slow, and the caller goes on", function()
    local ok, why = pcall(task.deadline, 0.005, function() task.sleep(60) end)
    assert.is_false(ok)
    assert.matches("deadline exceeded", why)
    task.sleep(0.001)
  end)

  it("keeps an earlier deadline around it", function()
    local ok = pcall(task.deadline, 0.005, function()
      task.deadline(60, task.sleep, 60)
    end)
    assert.is_false(ok)
  end)

  it("stops computing too", function()
    local ok, why = pcall(task.deadline, 0.02, function() while true do end end)
    assert.is_false(ok)
    assert.matches("deadline exceeded", why)
  end)
end)

describe("task.every", function()
  it("calls again and again, over errors, until it is cancelled", function()
    testing.expect_log("lua.timer_failed")
    local calls = 0
    local t = task.every(0.001, function()
      calls = calls + 1
      if calls == 2 then error("once") end
    end)
    testing.wait_for(function() return calls >= 4 end)
    t:cancel()
    assert.is_false((pcall(t.wait, t)))
    local before = calls
    task.sleep(0.01)
    assert.equal(before, calls)
  end)
end)

describe("testing.skip", function()
  it("lets time pass for timers and the wall clock, in their order", function()
    local began, monotonic = task.now_ms(), task.monotonic_ms()
    local seen = {}
    local function note(what)
      seen[#seen + 1] = ("%s at %d"):format(what, (task.now_ms() - began + 500) // 1000)
    end
    local ticks = task.every(20, function() note "tick" end)
    local sleepers = {
      task.spawn(function() task.sleep(50) note "long" task.sleep(5) note "longer" end),
      task.spawn(function() task.sleep(30) note "short" end),
    }
    local quiet = task.channel()
    local reader = task.spawn(function() note(select(2, quiet:receive(45))) end)
    task.sleep(0.001)
    testing.skip(61)
    ticks:cancel()
    for _, each in ipairs { sleepers[1], sleepers[2], reader } do each:wait(1) end
    assert.same({ "tick at 20", "short at 30", "tick at 40", "timeout at 45", "long at 50", "longer at 55", "tick at 60" }, seen)
    assert.is_true(task.now_ms() - began >= 61000)
    assert.is_true(task.monotonic_ms() - monotonic < 20000)
  end)
end)

describe("semaphore", function()
  it("lets so many in and no more", function()
    local gate, inside, most, list = task.semaphore(3), 0, 0, {}
    for i = 1, 20 do
      list[i] = task.spawn(function()
        local _ <close> = gate:acquire()
        inside = inside + 1
        most = math.max(most, inside)
        task.sleep(0.001)
        inside = inside - 1
      end)
    end
    task.wait_all(list)
    assert.equal(3, most)
    assert.equal(0, inside)
  end)

  it("gives the permit of one that was cancelled to the next", function()
    local gate = task.semaphore(1)
    local held = false
    local holder = task.spawn(function()
      local _ <close> = gate:acquire()
      held = true
      task.sleep(60)
    end)
    testing.wait_for(function() return held end)
    local nothing, why = gate:acquire(0.002)
    assert.is_nil(nothing)
    assert.equal("timeout", why)
    holder:cancel()
    local permit = gate:acquire(1)
    assert.is_truthy(permit)
    permit:release()
    permit:release() -- a second time does nothing
    assert.is_truthy(gate:acquire(0))
  end)
end)

describe("channel", function()
  it("passes values in order and makes a quick sender wait", function()
    local channel, got = task.channel(2), {}
    local sender = task.spawn(function()
      for i = 1, 50 do channel:send(i) end
      channel:close()
      return #got
    end)
    testing.wait_for(function() return #channel == 2 end)
    for value in function() return channel:receive() end do got[#got + 1] = value end
    assert.equal(50, #got)
    assert.equal(50, got[50])
    assert.is_true(sender:wait() >= 47)
    assert.same({ nil, "closed" }, { channel:receive() })
    assert.same({ nil, "closed" }, { channel:send(1) })
  end)

  it("gives up after its limit", function()
    local channel = task.channel()
    assert.same({ nil, "timeout" }, { channel:receive(0.002) })
    channel:send(1)
    assert.same({ nil, "timeout" }, { channel:send(2, 0.002) })
  end)
end)

describe("coroutines of Lua", function()
  it("may wait inside; to their owner they look as if they had blocked", function()
    local inner
    inner = coroutine.create(function(first)
      task.sleep(0.001)
      local second = coroutine.yield(first + 1)
      task.sleep(0.001)
      return second * 2
    end)
    assert.same({ true, 2 }, { coroutine.resume(inner, 1) })
    assert.equal("suspended", coroutine.status(inner))
    assert.same({ true, 20 }, { coroutine.resume(inner, 10) })
    assert.equal("dead", coroutine.status(inner))
  end)

  it("cannot be resumed by others while they wait", function()
    local inner = coroutine.create(function() task.sleep(0.01) return 1 end)
    local t = task.spawn(function() return select(2, coroutine.resume(inner)) end)
    testing.wait_for(function() return coroutine.status(inner) == "normal" end)
    assert.same({ false, "cannot resume non-suspended coroutine" }, { coroutine.resume(inner) })
    assert.equal(1, t:wait())
  end)

  it("cannot yield out of a handler", function()
    local t = task.spawn(function() coroutine.yield(1) end)
    local ok, why = pcall(t.wait, t)
    assert.is_false(ok)
    assert.matches("outside a coroutine", why)
  end)
end)

describe("runtime.log", function()
  it("refuses an event that varies", function()
    assert.error_matches(function() log.info("Order 7 paid") end, "dotted name")
  end)
end)
