-- runtime.redis over a cluster: two real nodes with half of the slots each, in a process with its own settings.
-- How slots move and nodes are lost is in tests/unit/redis_topology_test.c.
local config = require "runtime.config"
local environment = require "footlight.testing.environment"
local file = require "runtime.file"
local inside = require "runtime.testing"
local process = require "runtime.process"
local task = require "runtime.task"
local testing = require "footlight.testing"

describe("redis.main.address with a cluster", function()
  local folder = "tmp/cluster-spec"
  local place = config.get("var") .. "/" .. folder
  local nodes = {}

  local function cli(node, ...)
    local result = assert(process.run { "redis-cli", "-s", node.socket, ... })
    return result.output
  end

  -- A cluster wants TCP: two ports that nobody uses now.
  local free = "import socket; s = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]\n"
    .. "print(*[x.getsockname()[1] for x in s])"
  local function start(number)
    local port, bus = process.run({ "python3", "-c", free }).output:match("(%d+) (%d+)")
    local node = { socket = ("%s/%d.sock"):format(place, number), port = port, bus = bus }
    node.task = task.spawn(function()
      process.run { "redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket", node.socket,
        "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-config-file",
        ("node-%d.conf"):format(number), "--dir", place, "--save", "", limit = 60 }
    end)
    testing.wait_for(function() return cli(node, "ping") == "PONG\n" end, 10, "redis-server")
    nodes[number] = node
  end

  setup(function()
    assert(file.mkdir(folder))
    start(1)
    start(2)
    cli(nodes[1], "cluster", "addslotsrange", "0", "8191")
    cli(nodes[2], "cluster", "addslotsrange", "8192", "16383")
    cli(nodes[1], "cluster", "meet", "127.0.0.1", nodes[2].port, nodes[2].bus)
    for _, node in ipairs(nodes) do
      testing.wait_for(function() return cli(node, "cluster", "info"):find("cluster_state:ok", 1, true) end, 10)
    end
  end)
  teardown(function()
    for _, node in ipairs(nodes) do
      node.task:cancel()
      pcall(node.task.wait, node.task)
    end
    for _, name in ipairs(file.list(folder)) do file.remove(folder .. "/" .. name) end
    file.remove(folder)
  end)

  it("is used as if it were one server", function()
    assert(file.write(folder .. "/site.lua", environment.settings(
      ('site.redis.main.address = "cluster:127.0.0.1:%s"'):format(nodes[1].port))))
    assert(file.write(folder .. "/inner_spec.lua", [[
      local redis = require "runtime.redis"
      it("is so", function()
        -- Answers of a pipeline come in its order, whichever node answers first.
        local set = redis.pipeline(function(p) for i = 1, 200 do p.call("SET", "k:" .. i, i) end end)
        assert.equal(200, set.n)
        local got = redis.pipeline(function(p) for i = 1, 200 do p.call("GET", "k:" .. i) end end)
        for i = 1, 200 do assert.equal(tostring(i), got[i]) end
        local ok, problem = pcall(redis.pipeline, function(p)
          p.call("SET", "a", "text") p.call("INCR", "a") p.call("SET", "b", "later")
        end)
        assert.is_false(ok)
        assert.matches("not an integer", problem)
        assert.equal("later", redis.call("GET", "b"))
        -- A script goes where its key is, and is sent again where that node does not know it.
        local script = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
        for i = 1, 20 do assert.equal(i * 2, redis.eval(script, { "k:" .. i }, { i })) end
        assert.matches("CROSSSLOT", select(2, pcall(redis.call, "MGET", "k:1", "k:2", "k:3")))
        redis.call("MSET", "{x}1", "one", "{x}2", "two")
        assert.same({ "one", "two" }, redis.call("MGET", "{x}1", "{x}2"))
        local news <close> = redis.subscribe("news")
        for _ = 1, 4 do redis.publish("news", "hello") end -- at any of them
        for _ = 1, 4 do assert.equal("hello", (news:receive(5))) end
      end)]]))
    local result = assert(process.run { inside.program(), "--root", config.root, "--site", place .. "/site.lua",
      "test", place .. "/inner_spec.lua" })
    assert.equal(0, result.status, result.output .. result.errors)
    local first, second = tonumber(cli(nodes[1], "dbsize")), tonumber(cli(nodes[2], "dbsize"))
    assert.is_true(first > 20 and second > 20, ("%d and %d keys"):format(first, second))
  end)
end)
