-- Rooms that may not be seen from everywhere: the form, the listing, the room, its tickets, its pictures.
local config = require "runtime.config"
local geo = require "runtime.geo"
local outbox_job = require "jobs.outbox"
local people = dofile(config.root .. "/tests/site/people.lua")
local redis = require "runtime.redis"
local regions = require "site.regions"
local rooms = require "store.rooms"
local task = require "runtime.task"
local testing = require "footlight.testing"

local function live(model)
  redis.call("HSET", "live:" .. model.slug, "state", "live", "since", tostring(task.now_ms()), "thumb", "7")
  redis.call("SADD", "live", model.slug)
end

local function drain()
  while outbox_job.step("spec") > 0 do end
end

local HERE, THERE = "192.0.2.0/24", "192.0.2.9"

describe("regions", function()
  it("take codes of countries and networks, and refuse what is neither", function()
    local model, owner = people.model()
    local studio = people.signed_in(owner)
    local page = studio:get "/studio/blocks"
    for _, wrong in ipairs { { countries = "XX" }, { countries = "Germany" }, { networks = "10.0.0.0/33" }, { networks = "unix" },
      { networks = "example.org" }, { countries = ("DE "):rep(400) } } do
      assert.equal(422, studio:submit(page, wrong, "/studio/blocks").status)
    end
    assert.equal("", rooms.by_model(model.id).blocked_countries)
    assert.equal(200, studio:submit(page, { countries = "de, at DE", networks = "192.0.2.7\n2001:db8::/32" }, "/studio/blocks").status)
    local room = rooms.by_model(model.id)
    assert.equal("AT DE", room.blocked_countries)
    assert.equal("192.0.2.7,2001:db8::/32", room.blocked_networks)
    drain()
    assert.same({ "AT DE", "192.0.2.7,2001:db8::/32" }, redis.call("HMGET", "p:model:" .. model.slug, "countries", "networks"))
  end)

  it("hide the room, its tickets and its pictures from those addresses, not from its owner", function()
    local model, owner = people.model()
    live(model)
    local guest, viewer, studio = people.client(), people.signed_in(people.account()), people.signed_in(owner)
    local elsewhere = people.client()
    for _, client in ipairs { guest, viewer, studio } do client.options.remote = THERE end
    assert.equal(200, guest:get("/r/" .. model.slug).status)
    testing.wait_for(function() return guest:get("/search?q=" .. model.slug):has("/thumbs/" .. model.slug)
      or guest:get("/search?q=" .. model.slug).body:find("/thumbs/" .. model.slug, 1, true) end, 5, "the listing")
    local token = viewer:get("/r/" .. model.slug .. "/tip"):form("/tip").fields.csrf_token
    local orders = redis.subscribe("ctl:media")
    rooms.set_blocks(model.id, "", HERE)
    drain()
    testing.wait_for(function() return (orders:receive(1) or ""):find('"ask"', 1, true) end, 5, "the order")
    orders:close()
    for _, client in ipairs { guest, viewer } do
      local room = client:get("/r/" .. model.slug)
      assert.equal(404, room.status)
      assert.is_true(room:has "This room is not available where you are.")
      assert.is_nil(room.body:find("data-ticket", 1, true))
      assert.is_nil(client:get("/search?q=" .. model.slug).body:find("/r/" .. model.slug .. '"', 1, true))
      assert.is_nil(client:get("/").body:find("/thumbs/" .. model.slug, 1, true))
      assert.equal(404, client:get("/r/" .. model.slug .. "/show").status)
    end
    local answer = viewer:request("POST", "/r/" .. model.slug .. "/watch", { headers = { accept = "application/json" },
      form = { rate = "0", csrf_token = token } })
    assert.equal(404, answer.status)
    assert.is_nil(answer.body:find('"ticket"', 1, true))
    assert.equal(200, studio:get("/r/" .. model.slug).status)
    assert.equal(200, elsewhere:get("/r/" .. model.slug).status)
    rooms.set_blocks(model.id, "", "")
    assert.equal(200, guest:get("/r/" .. model.slug).status)
  end)

  it("are asked again for each player", function()
    local model = people.model()
    local account = people.account()
    rooms.set_blocks(model.id, "DE", "192.0.2.0/24")
    drain()
    local function may(address, who) return (regions.may_watch { slug = model.slug, address = address, account = who }) end
    assert.is_false(may("192.0.2.200", account.id))
    assert.is_false(may("::ffff:192.0.2.200", 0))
    assert.is_true(may("198.51.100.7", account.id))
    assert.is_true(may("192.0.2.200", rooms.by_model(model.id).account_id))
    assert.is_true(may("not an address", 0))
  end)

  it("know a country by its code only", function()
    assert.is_true(regions.bars({ countries = "AT DE" }, "DE", "192.0.2.1"))
    assert.is_false(regions.bars({ countries = "AT DE" }, "E", "192.0.2.1"))
    assert.is_false(regions.bars({ countries = "AT DE" }, nil, "192.0.2.1"))
    assert.is_false(regions.bars({ countries = "", networks = "" }, "DE", "192.0.2.1"))
    assert.is_true(geo.inside("2001:db8::9", "10.0.0.0/8, 2001:db8::/32"))
    assert.is_false(geo.inside("2001:db9::9", "10.0.0.0/8, 2001:db8::/32"))
    assert.same({ false, 1 }, { geo.networks "10.0.0.0/8, x" })
  end)
end)
