-- JSON, text, the cache, files and child processes.
local cache = require "runtime.cache"
local config = require "runtime.config"
local file = require "runtime.file"
local json = require "runtime.json"
local metrics = require "runtime.metrics"
local process = require "runtime.process"
local task = require "runtime.task"
local text = require "runtime.text"
local testing = require "footlight.testing"

describe("runtime.json", function()
  it("keeps integers, up to 64 bits", function()
    for _, number in ipairs { "0", "-1", "9007199254740993", "9223372036854775807", "-9223372036854775808" } do
      local value = json.decode(number)
      assert.equal("integer", math.type(value))
      assert.equal(number, json.encode(value))
    end
    assert.equal("float", math.type(json.decode("1.0")))
    assert.equal("1.0", json.encode(1.0))
    assert.equal("0.1", json.encode(0.1))
  end)

  it("brings values back", function()
    local value = { list = { 1, 2, 3 }, empty = json.array(), object = {}, yes = true, null = json.null,
      text = 'a"\\/\n\t\0é€😀', nested = { { { 1.5 } } } }
    local again = json.decode(json.encode(value))
    assert.same(value, again)
    assert.equal('[[],{}]', json.encode { json.array(), {} })
    assert.equal("[]", json.encode(json.decode("[]")))
    assert.equal("😀", json.decode('"\\ud83d\\ude00"'))
  end)

  it("writes text that may stand in a script", function()
    assert.is_nil(json.encode("</script><!--"):find("<", 1, true))
  end)

  it("refuses what is not JSON, with the place", function()
    for _, bad in ipairs { "", "{", "[1,]", "[1 2]", "{a:1}", "'a'", "01", "1.", "-", "+1", "NaN", "1e999", "nul",
      '"a', '"\\x"', '"\\ud800"', '"\1"', '"\xff"', "[1] 2", '{"a" 1}', ("["):rep(100), ("1"):rep(80) } do
      local value, why = json.decode(bad)
      assert.is_nil(value, bad)
      assert.matches("at byte %d+$", why)
    end
    assert.is_nil(json.decode("[[[]]]", 2))
    assert.is_truthy(json.decode("[[[]]]", 3))
  end)

  it("refuses to encode what JSON cannot hold", function()
    local loop = {}
    loop[1] = loop
    for _, bad in ipairs { 0 / 0, math.huge, print, { [1.5] = 1 }, { [true] = 1 }, loop } do
      assert.is_false((pcall(json.encode, bad)))
    end
    assert.equal('{"1":"a","x":"b"}', json.encode { [1] = "a", x = "b" })
  end)
end)

describe("runtime.text", function()
  it("cleans what people wrote", function()
    assert.equal("a b c", text.clean("  a \t  b\u{3000}c\n"))
    assert.equal("a\n  b", text.clean("\r\na\r\n  b \n\n", true))
    assert.equal("Zoë 👩‍👩‍👧", text.clean("Zoë 👩‍👩‍👧"))
  end)

  it("refuses what misleads or breaks lines", function()
    for _, bad in ipairs { "a\0b", "a\27[31m", "a\u{202E}b", "a\u{200B}b", "a\u{2028}b", "a\u{E0041}", "\xff",
      "a\u{FFFE}", "a" .. ("\u{301}"):rep(5) } do
      local clean, why = text.clean(bad)
      assert.is_nil(clean)
      assert.is_string(why)
    end
  end)

  it("counts and cuts by code points", function()
    assert.equal(3, text.length("aé😀"))
    assert.is_nil(text.length("\xc3"))
    assert.equal("aé", text.cut("aé😀", 2))
    assert.equal("aé😀", text.cut("aé😀", 9))
  end)

  it("folds case for comparing names", function()
    assert.equal(text.fold("ZOË Straße Ж"), text.fold("zoë STRASSE ж"))
  end)

  it("escapes for HTML and URLs", function()
    assert.equal("&lt;a href=&quot;&amp;&quot;&gt;", text.html('<a href="&">'))
    assert.equal("a%20b%2F%C3%A9", text.url("a b/é"))
    assert.equal("a b/é", text.unurl("a%20b%2F%C3%A9"))
    assert.is_nil(text.unurl("%zz"))
  end)
end)

describe("runtime.cache", function()
  before_each(function() cache.clear("spec:") end)

  it("keeps values, not tables", function()
    local value = { 1, { a = "b" } }
    cache.set("spec:x", value)
    local got = cache.get("spec:x")
    assert.same(value, got)
    assert.not_equal(value, got)
    cache.delete("spec:x")
    assert.is_nil(cache.get("spec:x"))
  end)

  it("forgets after the expiry", function()
    cache.set("spec:y", 1, 0.01)
    assert.equal(1, cache.get("spec:y"))
    testing.wait_for(function() return cache.get("spec:y") == nil end)
  end)

  it("is bounded: the least used go first", function()
    local big = ("x"):rep(1000000)
    cache.set("spec:first", big)
    for i = 1, 40 do cache.set("spec:" .. i, big) end
    assert.is_nil(cache.get("spec:first"))
    assert.equal(big, cache.get("spec:40"))
    cache.clear("spec:")
  end)

  it("fetches once", function()
    local calls = 0
    local function load()
      calls = calls + 1
      task.sleep(0.001)
      return "v"
    end
    assert.equal("v", cache.fetch("spec:f", 10, load))
    assert.equal("v", cache.fetch("spec:f", 10, load))
    assert.equal(1, calls)
    assert.is_nil(cache.fetch("spec:g", 10, function() return nil end))
  end)
end)

describe("runtime.file", function()
  setup(function() assert(file.mkdir("tmp/spec/deep")) end)

  it("writes, reads, lists, tells and removes", function()
    assert.is_true(file.write("tmp/spec/deep/a.txt", "one\0two"))
    assert.equal("one\0two", file.read("tmp/spec/deep/a.txt"))
    assert.same({ "a.txt" }, file.list("tmp/spec/deep"))
    local info = file.stat(config.get("var") .. "/tmp/spec/deep/a.txt")
    assert.equal(7, info.size)
    assert.equal("file", info.kind)
    assert.is_true(file.rename("tmp/spec/deep/a.txt", "tmp/spec/deep/b.txt"))
    assert.is_true(file.remove("tmp/spec/deep/b.txt"))
    local nothing, _, kind = file.read("tmp/spec/deep/b.txt")
    assert.is_nil(nothing)
    assert.equal("missing", kind)
  end)

  it("reads below the root and writes nothing there", function()
    assert.matches("return", file.read(config.root .. "/conf/test.lua"))
    assert.is_false((pcall(file.write, config.root .. "/../x", "")))
    if config.root:sub(1, 1) == "/" then assert.is_false((pcall(file.write, config.root .. "/x", ""))) end
  end)

  it("goes nowhere else", function()
    for _, bad in ipairs { "/etc/passwd", "../x", "tmp/../../x", "tmp/..", "", "a\0b" } do
      assert.is_false((pcall(file.read, bad)), bad)
    end
  end)

  it("has a limit for what it reads", function()
    file.write("tmp/spec/big", ("x"):rep(100))
    assert.is_nil((file.read("tmp/spec/big", 99)))
    assert.is_string(file.read("tmp/spec/big", 100))
  end)
end)

describe("a file in pieces", function()
  local function leftovers()
    local found = {}
    for _, name in ipairs(file.list "tmp") do
      if name:find("^pieces") then found[#found + 1] = name end
    end
    table.sort(found)
    return found
  end
  after_each(function() file.remove "tmp/pieces.bin" end)

  it("is there whole when it is finished, and not before", function()
    do
      local out <close> = assert(file.create "tmp/pieces.bin")
      for i = 1, 5 do assert(out:write(tostring(i):rep(100000))) end
      assert.is_nil(file.stat "tmp/pieces.bin")
      assert.is_true(out:finish())
      assert.equal(500000, file.stat("tmp/pieces.bin").size)
      assert.matches("finished", select(2, pcall(out.write, out, "more")))
    end
    assert.same({ "pieces.bin" }, leftovers())
    local input <close> = assert(file.open "tmp/pieces.bin")
    local all, pieces = 0, 0
    for piece in function() return input:read(200000) end do
      all, pieces = all + #piece, pieces + 1
    end
    assert.same({ 500000, 3 }, { all, pieces })
    input:seek(399999)
    assert.equal("45", input:read(2))
    input:close()
    assert.matches("closed", select(2, pcall(input.read, input)))
  end)

  it("leaves nothing when it is not finished, or its writer is cancelled", function()
    do
      local out <close> = assert(file.create "tmp/pieces.bin")
      out:write "half"
    end
    assert.same({}, leftovers())
    local writer = task.spawn(function()
      local out <close> = assert(file.create "tmp/pieces.bin")
      while true do out:write(("x"):rep(1000000)) end
    end)
    task.sleep(0.02)
    writer:cancel()
    pcall(writer.wait, writer)
    require("footlight.testing").wait_for(function() return #leftovers() == 0 end)
  end)

  it("says why it cannot be opened, and opens nothing elsewhere", function()
    assert.same({ nil, "missing" }, { (file.open "tmp/none"), select(3, file.open "tmp/none") })
    assert.is_nil((file.open "tmp"))
    assert.is_nil((file.create "none/there"))
    assert.is_truthy(assert(file.open(config.root .. "/README.md")):read(1))
    for _, bad in ipairs { "/etc/passwd", "../x" } do
      assert.is_false((pcall(file.create, bad)))
    end
    assert.is_false((pcall(file.open, "/etc/passwd")))
  end)
end)

describe("runtime.process", function()
  it("runs a program with input and gives back what it says", function()
    local result = process.run { "sh", "-c", "cat; echo oops >&2; exit 3", input = "hello" }
    assert.equal(3, result.status)
    assert.equal("hello", result.output)
    assert.equal("oops\n", result.errors)
    assert.is_false(result.timed_out)
  end)

  it("uses no shell of its own", function()
    assert.equal("$HOME; *\n", process.run({ "echo", "$HOME; *" }).output)
  end)

  it("ends what takes too long or says too much", function()
    assert.is_true(process.run({ "sleep", "60", limit = 1 }).timed_out)
    assert.is_true(process.run({ "yes", output_most = 1000 }).overflow)
  end)

  it("says why a program cannot be started", function()
    local nothing, why = process.run { "/no/such/program" }
    assert.is_nil(nothing)
    assert.matches("no such file", why)
  end)

  it("kills the child of a task that is cancelled", function()
    local before = testing.figures()
    local t = task.spawn(function() process.run { "sleep", "60" } end)
    testing.wait_for(function() return testing.figures().handles > before.handles end)
    t:cancel()
    assert.is_false((pcall(t.wait, t)))
    testing.wait_for(function() return testing.figures().handles <= before.handles end)
  end)
end)

describe("process.start", function()
  it("talks with a child, line by line, and learns how it ended", function()
    local child <close> = assert(process.start { "sh", "-c", "while read line; do echo \"<$line>\"; done; echo no more >&2; exit 3" })
    assert.is_true(child:write "one\n")
    assert.equal("<one>\n", (child:read(5)))
    child:write "two\n"
    assert.equal("<two>\n", (child:read(5)))
    assert.same({ nil, "timeout" }, { child:read(0.01) })
    assert.same({ nil, "timeout" }, { child:wait(0.01) })
    assert.is_true(child:pid() > 1)
    child:close_input()
    assert.same({ status = 3, output = "", errors = "no more\n", timed_out = false }, child:wait(5))
    assert.same({ nil, "closed" }, { child:read() })
    assert.is_false(child:write "late")
    assert.is_nil(child:pid())
  end)

  it("makes a child wait that says more than is read, and a writer whose child does not read", function()
    local child <close> = assert(process.start { "sh", "-c", "head -c 8000000 /dev/zero; echo end" })
    task.sleep(0.1)
    assert.same({ nil, "timeout" }, { child:wait(0.05) }) -- it cannot end before it is read
    local total = 0
    for part in function() return child:read(5) end do
      assert.is_true(#part <= 512 * 1024)
      total = total + #part
    end
    assert.equal(8000004, total)
    assert.equal(0, child:wait(5).status)
    local deaf <close> = assert(process.start { "sleep", "10" })
    local ok, why = pcall(task.deadline, 0.1, function() while true do deaf:write(("x"):rep(65536)) end end)
    assert.is_false(ok)
    assert.matches("deadline", why)
  end)

  it("kills what is still there at the end of the block, and says why something cannot start", function()
    local pid
    do
      local child <close> = assert(process.start { "sleep", "60" })
      pid = child:pid()
    end
    require("footlight.testing").wait_for(function()
      return process.run({ "kill", "-0", tostring(pid) }).status ~= 0
    end, 5, "the child to be gone")
    local nothing, reason = process.start { "/no/such/program" }
    assert.is_nil(nothing)
    assert.matches("no such file", reason)
    local child <close> = assert(process.start { "sleep", "60", limit = 1 })
    assert.is_true(child:wait(5).timed_out)
  end)
end)

describe("runtime.metrics", function()
  it("finds the same metric by name and labels", function()
    local labels = { b = "2", a = "1" }
    local one = metrics.counter("footlight_spec_things_total", "Things", labels)
    local before = one:value()
    one:add()
    metrics.counter("footlight_spec_things_total", "Things", labels):add(2)
    assert.equal(before + 3, one:value())
    assert.error_matches(function() one:add(-1) end, "only grows")
  end)
end)

describe("runtime.config", function()
  it("reads settings and shows no secret", function()
    assert.equal("test", config.get("environment"))
    assert.equal("none", config.get("no.such.key", "none"))
    assert.is_nil(config.get("secrets.token"))
    assert.is_nil(config.section("mariadb").password)
    testing.with_settings({ ["site.name"] = "Elsewhere" }, function()
      assert.equal("Elsewhere", config.get("site.name"))
    end)
    assert.not_equal("Elsewhere", config.get("site.name"))
  end)
end)
