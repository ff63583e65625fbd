-- What sessions cost beside the rate, a guest's look into a paid room, and the limit that a viewer sets.
local billing = require "runtime.billing"
local config = require "runtime.config"
local db = require "runtime.db"
local people = dofile(config.root .. "/tests/site/people.lua")
local redis = require "runtime.redis"
local streaming = require "runtime.streaming"
local tariff = require "store.tariff"
local task = require "runtime.task"

local CREDIT = 1000000

-- Sets the tariff for as long as fn runs.
local function with(values, fn)
  local before = tariff.current()
  local function set(all)
    for name, known in pairs(tariff.names) do
      if all[known.ticket] then
        assert.is_true(tariff.set(name, math.max(all[known.ticket], known.least), "spec"))
      end
    end
  end
  set(values)
  local ok, problem = pcall(fn)
  set(before)
  if not ok then error(problem, 0) end
end

local function paid_room(rate)
  local model = people.model()
  db.exec("UPDATE room_settings SET rate = ? WHERE model_id = ?", rate, model.id)
  redis.call("HSET", "live:" .. model.slug, "state", "live", "since", tostring(task.now_ms()), "thumb", "5")
  redis.call("SADD", "live", model.slug)
  return model
end

local function ticket_in(page) return page.body:match 'data%-ticket="([^"]+)"' end

describe("the tariff", function()
  it("is kept with its history and its bounds", function()
    with({ free = 7 }, function()
      assert.equal(7, tariff.current().free)
      local history = tariff.history "billing.free_seconds"
      assert.same({ 7, "spec" }, { history[1].number, history[1].reason })
      assert.is_true(history[1].version > history[2].version)
      assert.is_nil((tariff.set("billing.off_bp", 10000, "spec")))
      assert.equal(0, tariff.current().off)
    end)
  end)

  it("stands in the tickets of paid rooms, and in no others", function()
    with({ free = 5, minimum = 3 * CREDIT, increment = 60, off = 2500 }, function()
      local account = people.account()
      billing.credit { op = "spec:" .. account.name, account = account.id, amount = 100 * CREDIT, type = "purchase" }
      local client, model, free = people.signed_in(account), paid_room(60 * CREDIT), paid_room(0)
      local fields = client:get("/r/" .. model.slug):form("/watch").fields
      local answer = client:post("/r/" .. model.slug .. "/watch", fields, { headers = { accept = "application/json" } })
      local terms = streaming.read_ticket(answer:json().ticket)
      assert.same({ 5, 3 * CREDIT, 60, 2500, 60 * CREDIT, "paid" },
        { terms.free, terms.minimum, terms.increment, terms.off, terms.rate, terms.policy })
      terms = streaming.read_ticket(ticket_in(client:get("/r/" .. free.slug)))
      assert.same({ 0, 0, 0, 0, "free" }, { terms.free, terms.minimum, terms.increment, terms.off, terms.policy })
    end)
  end)
end)

describe("a free room", function()
  it("gives a guest's page another ticket once a stream that was interrupted is back", function()
    local model, guest = paid_room(0), people.client()
    local page = guest:get("/r/" .. model.slug)
    local answer = guest:request("POST", "/r/" .. model.slug .. "/watch", { headers = { accept = "application/json" },
      form = { rate = "0", csrf_token = page.body:match 'name="csrf_token" value="([^"]+)"' } })
    assert.equal(200, answer.status, answer.body)
    assert.equal("free", streaming.read_ticket(answer:json().ticket).policy)
  end)
end)

describe("a guest's look into a paid room", function()
  it("is one for an address, and ends by itself", function()
    local model = paid_room(60 * CREDIT)
    with({ preview = 20 }, function()
      local guest = people.client()
      local terms = streaming.read_ticket(ticket_in(guest:get("/r/" .. model.slug)))
      assert.same({ "preview", 0, 20, 0 }, { terms.policy, terms.rate, terms.limit, terms.account })
      assert.is_nil(ticket_in(guest:get("/r/" .. model.slug)))
      assert.is_nil(ticket_in(people.signed_in(people.account()):get("/r/" .. model.slug)))
    end)
    assert.is_nil(ticket_in(people.client():get("/r/" .. model.slug)))
  end)
end)

describe("the limit that a viewer sets", function()
  it("holds for the meters at once, and can be taken away", function()
    local account = people.account()
    billing.credit { op = "spec:" .. account.name, account = account.id, amount = 100 * CREDIT, type = "purchase" }
    local client = people.signed_in(account)
    local page = client:get "/account"
    assert.equal(422, client:submit(page, { minutes = "1441" }, "/account/limit").status)
    page = client:submit(page, { minutes = "1" }, "/account/limit")
    assert.equal(200, page.status)
    assert.equal(60, billing.allowance(account.id).own_limit)
    -- Six leases of ten seconds, and no seventh.
    for i = 1, 6 do
      assert.is_table(billing.open { sid = ("spec:%s:%d"):format(account.name, i), account = account.id, rate = CREDIT })
    end
    local opened, reason = billing.open { sid = "spec:" .. account.name .. ":7", account = account.id, rate = CREDIT }
    assert.same({ nil, "day_limit" }, { opened, reason })
    client:submit(client:get "/account", { minutes = "0" }, "/account/limit")
    assert.is_table(billing.open { sid = "spec:" .. account.name .. ":8", account = account.id, rate = CREDIT })
    for i = 1, 8 do billing.close(("spec:%s:%d"):format(account.name, i), "spec") end
  end)
end)
