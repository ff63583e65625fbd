-- `footlight console`: what a line gives, and the whole way into a service process of our own.
local config = require "runtime.config"
local console = require "footlight.console"
local environment = require "footlight.testing.environment"
local inspect = require "footlight.inspect"
local json = require "runtime.json"
local process = require "runtime.process"
local task = require "runtime.task"
local inside = require "runtime.testing"
local testing = require "footlight.testing"

local function evaluate(source)
  local answer = console.evaluate(7, source)
  return answer.values and table.concat(answer.values, " | ") or nil, answer
end

describe("inspect", function()
  it("shows values as people read them", function()
    assert.equal('"a\\n\\"b\\" é"', inspect.value('a\n"b" é'))
    assert.equal('"\\xFF"', inspect.value("\xFF"))
    assert.equal("{}", inspect.value {})
    assert.equal('{\n  1,\n  "two",\n  ["a b"] = true,\n  name = {\n    x = 1,\n  },\n}',
      inspect.value { 1, "two", name = { x = 1 }, ["a b"] = true })
  end)

  it("keeps its limits", function()
    local round = {}
    round.own = round
    assert.matches("own = (a table around this one)", inspect.value(round), 1, true)
    local deep = {}
    for _ = 1, 50 do deep = { deep } end
    assert.is_true(#inspect.value(deep) < 500)
    local wide = {}
    for i = 1, 100000 do wide[i] = ("x"):rep(5000) end
    assert.is_true(#inspect.value(wide) < 80 * 1024)
    assert.equal("(table whose __tostring fails)",
      inspect.value(setmetatable({}, { __tostring = function() error "no" end })))
  end)
end)

describe("a line of the console", function()
  after_each(function() console.forget(7) end)

  it("is an expression, statements, or the beginning of something", function()
    assert.equal("3", (evaluate "1 + 2"))
    assert.equal('1 | nil | "x"', (evaluate '1, nil, "x"'))
    assert.equal("", (evaluate "n = 4"))
    assert.equal("5", (evaluate "n + 1"))
    assert.equal("10", (evaluate "_ * 2"))
    local _, answer = evaluate "for i = 1, 3 do"
    assert.is_true(answer.incomplete)
    assert.is_nil(rawget(_G, "n"))
  end)

  it("prints to its client", function()
    local _, answer = evaluate "print('a', 1) print(nil)"
    assert.equal("a\t1\nnil\n", answer.output)
    _, answer = evaluate "for i = 1, 2000 do print(('x'):rep(100)) end"
    assert.is_true(#answer.output < 70 * 1024)
    assert.matches("202000 bytes printed in all", answer.output, 1, true)
  end)

  it("tells errors with their trace, and what does not compile", function()
    local _, answer = evaluate "function outer() local t = nil; local x = t.x return x end function go() local v = outer() return v end"
    assert.is_nil(answer.error)
    _, answer = evaluate "go()"
    assert.matches("^console:1: attempt to index a nil value", answer.error)
    assert.matches("in global 'outer'", answer.error)
    _, answer = evaluate "1 +* 2"
    assert.matches("unexpected symbol", answer.error)
    _, answer = evaluate "error { status = 404 }"
    assert.matches("status = 404", answer.error)
  end)

  it("may wait, and has the modules at hand", function()
    assert.equal('"done"', (evaluate "(function() task.sleep(0.005) return 'done' end)()"))
    assert.equal("true", (evaluate "type(json.encode) == 'function' and type(store.accounts.by_id) == 'function'"))
    assert.equal("nil", (evaluate "no_such_module"))
  end)

  it("answers in JSON what is asked in JSON", function()
    assert.equal("2", json.decode(console.answer(7, '{"source":"1+1"}')).values)
    assert.matches("a question is", json.decode(console.answer(7, "1+1")).error)
  end)
end)

describe("footlight console", function()
  local folder, site, server

  local function footlight(input, ...)
    local words = { inside.program(), "--root", config.root, "--site", site, "console", ... }
    words.input, words.limit = input, 25
    return assert(process.run(words))
  end
  local function ask(...) return footlight(nil, "realtime", ...) end
  local function with_input(input) return footlight(input, "realtime") end

  setup(function()
    folder = assert(process.run { "mktemp", "-d", "/tmp/footlight-console-XXXXXX" }).output:gsub("%s+$", "")
    local source = environment.settings(([[
site.listen.realtime = "unix:%s/run/realtime.sock"
site.var = "%s"
site.console = { deadline_ms = 700 }]]):format(folder, folder))
    assert(os.execute(("mkdir -p %s/run && printf test > %s/run/rtmp.boot"):format(folder, folder)))
    site = folder .. "/site.lua"
    local descriptor <close> = assert(io.open(site, "w"))
    descriptor:write(source)
    descriptor:close()
    server = task.spawn(function()
      process.run { inside.program(), "--root", config.root, "--site", site, "serve", "realtime", limit = 100 }
    end)
    testing.wait_for(function() return ask("--eval", "1").status == 0 end, 20, "the service")
  end)

  teardown(function()
    if server then server:cancel() end
    pcall(server.wait, server)
    if folder then os.execute("rm -rf " .. folder) end
  end)

  it("runs a line in the process", function()
    local done = ask("--eval", "config.service, task.sleep(0.01)")
    assert.equal("", done.errors)
    assert.equal('"realtime"\n', done.output)
    assert.equal(0, done.status)
    done = ask("--eval", "error 'no'")
    assert.equal(1, done.status)
    assert.matches("console:1: no", done.errors)
    assert.equal("3", json.decode(ask("--json", "--eval", "1 + 2").output).values)
  end)

  it("reads lines, whose globals stay, and the parts of one", function()
    local done = with_input "x = 20\nfor i = 1, 2 do\n  x = x + i\nend\nx\nprint 'bye'\n"
    assert.equal("23\nbye\n", done.output)
    assert.equal(0, done.status)
    assert.equal("nil\n", ask("--eval", "x").output)
    done = with_input "for i = 1, 2 do\n"
    assert.equal(1, done.status)
  end)

  it("ends a line at its limit, waiting or computing, and goes on", function()
    local done = with_input "task.sleep(20)\nwhile true do end\n'still here'\n"
    assert.matches("deadline exceeded", done.errors)
    assert.equal('"still here"\n', done.output)
    assert.equal(1, done.status)
  end)

  it("is for the user of the site only, and says when there is none", function()
    local stat = assert(process.run { "stat", "-c", "%a", folder .. "/run/console-realtime-1.sock" })
    assert.equal("600\n", stat.output)
    local done = footlight(nil, "web")
    assert.equal(4, done.status)
    assert.matches("web 1 has no console", done.errors)
  end)
end)
