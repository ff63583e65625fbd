-- Shows: every move that the states allow and every one that they do not, two who act at once, what is paid
-- in each way that a show may end, and the pages of both sides.
local billing = require "runtime.billing"
local config = require "runtime.config"
local db = require "runtime.db"
local job = require "jobs.shows"
local outbox_job = require "jobs.outbox"
local people = dofile(config.root .. "/tests/site/people.lua")
local realtime = require "runtime.realtime"
local redis = require "runtime.redis"
local rules = require "store.show_rules"
local shows = require "store.shows"
local streaming = require "runtime.streaming"
local task = require "runtime.task"
local testing = require "footlight.testing"

local CREDIT = 1000000
local RATE, MINIMUM = 60 * CREDIT, 2

local function drain()
  while outbox_job.step("spec") > 0 do end
end

local function go(model, state)
  if state == "offline" then
    redis.call("DEL", "live:" .. model.slug)
    redis.call("SREM", "live", model.slug)
  else
    redis.call("HSET", "live:" .. model.slug, "state", state, "since", tostring(task.now_ms()), "thumb", "5")
    redis.call("SADD", "live", model.slug)
  end
end

local function priced(values)
  values = values or {}
  local model, account = people.model()
  local version = db.one("SELECT version FROM room_settings WHERE model_id = ?", model.id).version
  local function price(name, otherwise)
    if values[name] == false then return nil end
    return values[name] or otherwise
  end
  assert.is_true(shows.set_prices { model_id = model.id, version = version, private_rate = price("private_rate", RATE),
    private_minimum = values.minimum or MINIMUM, spy_rate = price("spy_rate", 30 * CREDIT),
    group_rate = price("group_rate", 60 * CREDIT), group_minimum = 2, group_size = 2 })
  go(model, "live")
  return model, account
end

local function viewer(credits)
  local account = people.account()
  if credits > 0 then
    billing.credit { op = "spec:" .. account.name, account = account.id, amount = credits * CREDIT, type = "purchase" }
  end
  return account
end

local function requested(model, account, more)
  local values = { model_id = model.id, account_id = account.id, rate = RATE, minimum = MINIMUM }
  for name, value in pairs(more or {}) do values[name] = value end
  return shows.request(values)
end

local function state_of(show) return shows.by_id(show.id).state end

-- What hooks or media would write down: this session watched from `ago` until `last` ms ago.
local function watched(show, account, sid, ago, last, state, price, reason)
  local now = task.now_ms()
  redis.call("HSET", "show:" .. show.id, sid, ("%d %d %d %s %d %s"):format(account.id, now - ago, now - last,
    state, price or -1, reason or "-"))
end

local function accepted(model, account)
  local show = assert(requested(model, account))
  assert(billing.hold { op = ("show:%d:%d"):format(show.id, account.id), account = account.id,
    amount = rules.to_hold(show), payee = model.id, type = "private", seconds = 600 })
  assert.is_true(shows.accept(show.id, rules.to_hold(show)))
  return show
end

local function active(model, account)
  local show = accepted(model, account)
  watched(show, account, "w:" .. show.id, 500, 0, "open")
  job.step()
  assert.equal("active", state_of(show))
  return show
end

local function settled(show)
  testing.wait_for(function()
    job.step()
    return rules.is_over(state_of(show)) and shows.count_unsettled(show.id) == 0
  end, 10, "the settlement")
end

local function spent(account, credits)
  local wallet = billing.wallet(account.id)
  assert.equal(0, wallet.held)
  return credits * CREDIT - wallet.paid - wallet.bonus
end

describe("the states of a show", function()
  it("follow each other as they may and in no other way", function()
    local model = priced()
    local legal = {
      private = { requested = "declined expired withdrawn accepted", accepted = "active ending",
        active = "paused ending", paused = "active ending", ending = "settled" },
      group = { pooling = "active cancelled", active = "settled cancelled" },
      ticket = { announced = "selling cancelled", selling = "live cancelled", live = "settled cancelled" },
    }
    local count = 0
    for kind, states in pairs(rules.states) do
      for _, from in ipairs(states) do
        for _, to in ipairs(states) do
          local may = (" " .. (legal[kind][from] or "") .. " "):find(" " .. to .. " ", 1, true) ~= nil
          assert.equal(may, rules.may_move(kind, from, to), kind .. ": " .. from .. " → " .. to)
          local account = viewer(0)
          local _, id = db.exec([[INSERT INTO shows (model_id, requester_id, kind, state, end_reason)
            VALUES (?, ?, ?, ?, 'model')]], model.id, kind == "private" and account.id or nil, kind, from)
          local ok, moved = pcall(shows.move, { id = id, from = from, to = to, reason = "model" })
          assert.equal(may, ok, kind .. ": " .. from .. " → " .. to)
          if may then
            assert.is_true(moved)
            -- Whoever saw the former state comes too late.
            assert.is_false(shows.move { id = id, from = from, to = to, reason = "model" })
          end
          assert.equal(may and to or from, shows.by_id(id).state)
          db.exec("DELETE FROM shows WHERE id = ?", id)
          count = count + 1
        end
      end
    end
    assert.equal(9 * 9 + 4 * 4 + 5 * 5, count)
  end)

  it("have one winner when two act at once", function()
    local model = priced()
    local show = requested(model, viewer(500))
    local tabs = {}
    for i, to in ipairs { "declined", "withdrawn", "expired", "declined", "withdrawn" } do
      tabs[i] = task.spawn(shows.move, { id = show.id, from = "requested", to = to, reason = "model" })
    end
    local won = 0
    for _, tab in ipairs(tabs) do
      if tab:wait(10) then won = won + 1 end
    end
    assert.equal(1, won)
  end)

  it("give a stream to one show at a time", function()
    local model = priced()
    local first, second = requested(model, viewer(500)), requested(model, viewer(500))
    local tabs = { task.spawn(shows.accept, first.id, 0), task.spawn(shows.accept, second.id, 0) }
    local won = {}
    for i, tab in ipairs(tabs) do won[i] = tab:wait(10) and 1 or 0 end
    assert.equal(1, won[1] + won[2])
    assert.is_nil((requested(model, viewer(500))))
  end)

  it("let a viewer ask once, at the price that there is", function()
    local model, other = priced(), priced()
    local account = viewer(500)
    assert.same({ nil, "price" }, { requested(model, account, { rate = RATE + CREDIT }) })
    assert.same({ nil, "price" }, { requested(model, account, { minimum = MINIMUM + 1 }) })
    local tabs, won = {}, 0
    for i = 1, 4 do tabs[i] = task.spawn(requested, i % 2 == 0 and model or other, account) end
    for _, tab in ipairs(tabs) do
      if tab:wait(10) then won = won + 1 end
    end
    assert.equal(1, won)
    assert.same({ nil, "off" }, { requested(priced { private_rate = false }, viewer(500)) })
  end)

  it("let a request expire that nobody answers", function()
    local model = priced()
    local show = requested(model, viewer(500), { seconds = 0 })
    job.step()
    assert.equal("expired", state_of(show))
    local other = requested(model, viewer(500))
    job.step()
    assert.equal("requested", state_of(other))
  end)
end)

describe("a private show", function()
  it("begins when its viewer watches, and is the projection's from its acceptance to its end", function()
    local model = priced()
    local account = viewer(500)
    local function said() return redis.call("HMGET", "p:model:" .. model.slug, "show", "show_kind") end
    drain()
    assert.same({ "0", "public" }, said())
    local orders = redis.subscribe("ctl:media")
    local show = accepted(model, account)
    drain()
    assert.same({ tostring(show.id), "private" }, said())
    local wanted = ('"show":%d'):format(show.id)
    testing.wait_for(function() return (orders:receive(1) or ""):find(wanted, 1, true) end, 5, "the order")
    watched(show, account, "w:1", 2000, 0, "open")
    job.step()
    assert.equal("active", state_of(show))
    assert.equal("ending", shows.finish(show.id, "model"))
    drain()
    assert.same({ "0", "public" }, said())
    assert.is_true(tonumber(redis.call("HGET", "p:model:" .. model.slug, "show_at")) > task.now_ms() - 10000)
    orders:close()
  end)

  it("ends unpaid when its viewer never comes", function()
    local model = priced()
    local account = viewer(500)
    local show = accepted(model, account)
    db.exec("UPDATE shows SET deadline = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND WHERE id = ?", show.id)
    settled(show)
    assert.equal("settled", state_of(show))
    assert.equal(0, spent(account, 500))
  end)

  it("pauses without the picture, goes on with it, and ends without it after a while", function()
    local model = priced()
    local account = viewer(500)
    local show = active(model, account)
    go(model, "grace")
    job.step()
    assert.equal("paused", state_of(show))
    go(model, "live")
    job.step()
    assert.equal("active", state_of(show))
    go(model, "offline")
    job.step()
    db.exec("UPDATE shows SET deadline = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND WHERE id = ?", show.id)
    watched(show, account, "w:" .. show.id, 60000, 20000, "over", 0, "ended")
    settled(show)
    assert.equal("no_media", shows.by_id(show.id).end_reason)
    -- Forty seconds at a credit a second, not the minimum: the model's side ended it.
    assert.equal(40 * CREDIT, spent(account, 500))
  end)

  it("costs its minimum when the viewer ends it, and nothing in the first ten seconds", function()
    for seconds, price in pairs { [9] = 0, [10] = 0, [11] = 120, [119] = 120 } do
      local model = priced()
      local account = viewer(500)
      local show = active(model, account)
      watched(show, account, "w:" .. show.id, seconds * 1000, 0, "over", 0, "left")
      shows.finish(show.id, "viewer")
      settled(show)
      assert.equal(price * CREDIT, spent(account, 500), seconds .. " seconds")
    end
  end)

  it("costs what was watched when the model or a moderator ends it", function()
    for reason, seconds in pairs { model = 30, moderator = 70, server_restart = 45 } do
      local model = priced()
      local account = viewer(500)
      local show = active(model, account)
      watched(show, account, "w:" .. show.id, seconds * 1000, 0, "over", 0, "show over")
      shows.finish(show.id, reason)
      settled(show)
      assert.equal(seconds * CREDIT, spent(account, 500), reason)
      local mine = shows.participant(show.id, account.id)
      assert.equal(seconds * CREDIT, mine.captured)
    end
  end)

  it("takes the minimum while it runs, so that no hold outlives its purpose, and meters beyond it", function()
    local model = priced()
    local account = viewer(500)
    local show = active(model, account)
    -- A meter that is free for the minimum charges nothing of it.
    local sid = "spec:" .. show.id
    assert(billing.open { sid = sid, account = account.id, rate = RATE, payee = model.id,
      free = rules.prepaid_seconds(show, 0) })
    billing.evidence(sid)
    watched(show, account, sid, 125000, 0, "open")
    testing.wait_for(function()
      job.step()
      return shows.participant(show.id, account.id).captured == 120 * CREDIT
    end, 10, "the minimum to be taken")
    billing.close(sid, "spec")
    watched(show, account, sid, 125000, 0, "over", 0, "left")
    shows.finish(show.id, "viewer")
    settled(show)
    testing.wait_for(function() return billing.wallet(account.id).held == 0 end, 10, "the meter to close")
    assert.equal(120 * CREDIT, spent(account, 500))
    assert.equal(0, rules.prepaid_seconds(show, 125000))
    assert.equal(50, rules.prepaid_seconds(show, 70000))
  end)

  it("ends when the credits do, and when the viewer stays away", function()
    local model = priced()
    local account = viewer(120)
    local show = active(model, account)
    watched(show, account, "w:" .. show.id, 120000, 0, "over", 0, "funds")
    settled(show)
    assert.equal("no_credit", shows.by_id(show.id).end_reason)
    assert.equal(120 * CREDIT, spent(account, 120))
    assert.equal(0, billing.wallet(account.id).paid)
  end)

  it("is settled after a restart by what was saved last, also when Redis has lost the evidence", function()
    local model = priced()
    local account = viewer(500)
    local show = active(model, account)
    shows.save_evidence(shows.participant(show.id, account.id).id, 33000)
    redis.call("DEL", "show:" .. show.id)
    shows.finish(show.id, "server_restart")
    settled(show)
    assert.equal(33 * CREDIT, spent(account, 500))
    job.settle()
    assert.equal(33 * CREDIT, spent(account, 500))
  end)
end)

describe("looking in, groups and tickets", function()
  it("a spy pays by his own meter and nothing besides", function()
    local model = priced()
    local account, spy = viewer(500), viewer(100)
    local show = active(model, account)
    assert.is_true(shows.join { id = show.id, account_id = spy.id, role = "spy", states = { active = true } })
    watched(show, account, "w:a", 20000, 0, "over", 0, "left")
    watched(show, spy, "w:b", 20000, 0, "over", 10 * CREDIT, "show over")
    shows.finish(show.id, "model")
    settled(show)
    local mine = shows.participant(show.id, spy.id)
    assert.equal("settled", mine.state)
    assert.equal(0, mine.captured)
    assert.equal(10 * CREDIT, mine.metered)
    assert.equal(0, spent(spy, 100))
  end)

  it("a group begins when enough are in; all get back what was set aside if the model breaks off", function()
    local model = priced { private_rate = false }
    local one, two = viewer(200), viewer(200)
    local one_client, two_client = people.signed_in(one), people.signed_in(two)
    local show = assert(shows.pool { model_id = model.id })
    assert.same({ nil, "open" }, { shows.pool { model_id = model.id } })
    for _, client in ipairs { one_client, two_client } do
      local page = client:get("/r/" .. model.slug)
      assert.equal(200, client:submit(page, { show = tostring(show.id) }, "/r/" .. model.slug .. "/show").status)
    end
    assert.equal(120 * CREDIT, billing.wallet(one.id).held)
    assert.is_true(shows.move { id = show.id, from = "pooling", to = "active" })
    assert.equal("cancelled", shows.finish(show.id, "model"))
    settled(show)
    assert.equal(0, spent(one, 200))
    assert.equal(0, spent(two, 200))
  end)

  it("a member who leaves pays his minimum; the group goes on", function()
    local model = priced()
    local one = viewer(200)
    local show = assert(shows.pool { model_id = model.id })
    assert(billing.hold { op = ("show:%d:%d"):format(show.id, one.id), account = one.id, amount = 120 * CREDIT,
      payee = model.id, type = "private", seconds = 600 })
    assert.is_true(shows.join { id = show.id, account_id = one.id, role = "member", states = { pooling = true },
      held = 120 * CREDIT })
    assert.is_true(shows.move { id = show.id, from = "pooling", to = "active" })
    watched(show, one, "w:1", 30000, 0, "over", 0, "left")
    assert.is_true(shows.leave(show.id, one.id))
    testing.wait_for(function()
      job.step()
      return shows.participant(show.id, one.id).state == "settled"
    end, 10, "the member")
    assert.equal("active", state_of(show))
    assert.equal(120 * CREDIT, spent(one, 200))
    shows.finish(show.id, "viewer")
  end)

  it("a ticket is taken once the show has lasted five minutes, and given back before", function()
    for seconds, price in pairs { [299] = 0, [300] = 20 } do
      local model = priced { private_rate = false }
      local buyer = viewer(50)
      local show = assert(shows.announce { model_id = model.id, title = "Spec", price = 20 * CREDIT, starts_in = 60 })
      job.step()
      assert.equal("selling", state_of(show))
      local client = people.signed_in(buyer)
      local page = client:get("/r/" .. model.slug)
      local sold = client:submit(page, {}, "/r/" .. model.slug .. "/show")
      assert.equal(200, sold.status)
      assert.is_true(sold:has "You have a ticket")
      assert.equal(20 * CREDIT, billing.wallet(buyer.id).held)
      assert.is_true(shows.move { id = show.id, from = "selling", to = "live" })
      db.exec("UPDATE shows SET started_at = UTC_TIMESTAMP(6) - INTERVAL ? SECOND WHERE id = ?", seconds, show.id)
      assert.equal(price > 0 and "settled" or "cancelled", shows.finish(show.id, "model"))
      settled(show)
      assert.equal(price * CREDIT, spent(buyer, 50), seconds .. " seconds")
    end
  end)
end)

describe("the pages", function()
  -- Who is live is looked up once a second.
  local function wait_page(client, address, text)
    return testing.wait_for(function()
      local page = client:get(address)
      return page:has(text) and page
    end, 5, text)
  end

  it("take a request at the price that was shown and at no other", function()
    local model = priced()
    local account = viewer(500)
    local client = people.signed_in(account)
    local page = client:get("/r/" .. model.slug)
    assert.equal(409, client:submit(page, { rate = tostring(RATE - CREDIT) }, "/r/" .. model.slug .. "/show").status)
    assert.equal(409, client:submit(page, { minimum = "0" }, "/r/" .. model.slug .. "/show").status)
    assert.equal(422, client:submit(page, { rate = "much" }, "/r/" .. model.slug .. "/show").status)
    local asked = client:submit(page, {}, "/r/" .. model.slug .. "/show")
    assert.equal(200, asked.status)
    assert.is_true(asked:has "You have asked")
    -- A second tab with the same page.
    assert.equal(409, client:submit(page, {}, "/r/" .. model.slug .. "/show").status)
    local withdrawn = client:submit(asked, {}, "/r/" .. model.slug .. "/show/end")
    assert.equal(200, withdrawn.status)
    assert.is_false(withdrawn:has "You have asked")
  end)

  it("want the minimum to be there", function()
    local model = priced()
    local account = viewer(120)
    local client = people.signed_in(account)
    local page = client:get("/r/" .. model.slug)
    billing.tip { op = "spec:" .. model.slug, account = account.id, amount = CREDIT, payee = model.id, slug = model.slug }
    assert.equal(402, client:submit(page, {}, "/r/" .. model.slug .. "/show").status)
    local guest = people.client()
    assert.is_nil(guest:get("/r/" .. model.slug):form("/r/" .. model.slug .. "/show"))
  end)

  it("let the model accept, and everybody else see that she is in private and nothing of it", function()
    local model, owner = priced()
    local account = viewer(500)
    local client, studio, guest = people.signed_in(account), people.signed_in(owner), people.client()
    local before = guest:get("/r/" .. model.slug)
    assert.truthy(before.body:find("data-ticket=", 1, true))
    assert.truthy(before.body:find("/thumbs/" .. model.slug, 1, true))
    local outsider = people.signed_in(viewer(500))
    local token = outsider:get("/r/" .. model.slug):form("/show").fields.csrf_token
    client:submit(client:get("/r/" .. model.slug), {}, "/r/" .. model.slug .. "/show")
    local show = assert(shows.request_of(account.id))
    local page = studio:get "/studio/shows"
    assert.is_true(page:has(account.name))
    local accepting = studio:submit(page, { ["do"] = "accept" }, "/studio/shows/" .. show.id)
    assert.equal(200, accepting.status)
    assert.equal("accepted", state_of(show))
    assert.equal(120 * CREDIT, billing.wallet(account.id).held)
    -- The other tab, with the same page.
    assert.equal(409, studio:submit(page, { ["do"] = "accept" }, "/studio/shows/" .. show.id).status)
    assert.equal(409, studio:submit(page, { ["do"] = "decline" }, "/studio/shows/" .. show.id).status)

    local room = guest:get("/r/" .. model.slug)
    assert.is_nil(room.body:find("data-ticket=", 1, true))
    assert.is_nil(room.body:find("/thumbs/" .. model.slug, 1, true))
    assert.is_true(room:has "private show")
    local list = wait_page(guest, "/search?q=" .. model.slug, "In private")
    assert.is_nil(list.body:find("/thumbs/" .. model.slug, 1, true))
    local watching = outsider:request("POST", "/r/" .. model.slug .. "/watch",
      { headers = { accept = "application/json" }, form = { rate = "0", csrf_token = token } })
    assert.equal(409, watching.status)
    assert.is_nil(watching.body:find("ticket", 1, true))

    local text = client:get("/r/" .. model.slug).body:match('data%-ticket="([^"]+)"')
    local ticket = assert(streaming.read_ticket(text))
    assert.equal(show.id, ticket.show)
    assert.equal("private", ticket.policy)
    assert.equal(RATE, ticket.rate)
    assert.equal(MINIMUM * 60, ticket.free)
    local own = assert(streaming.read_ticket(studio:get("/r/" .. model.slug).body:match('data%-ticket="([^"]+)"')))
    assert.equal(show.id, own.show)
    assert.equal(0, own.rate)

    local ended = studio:submit(studio:get "/studio/shows", { ["do"] = "end" }, "/studio/shows/" .. show.id)
    assert.equal(200, ended.status)
    settled(show)
    assert.equal(0, spent(account, 500))
    assert.truthy(guest:get("/r/" .. model.slug).body:find("data-ticket=", 1, true))
  end)

  it("let a viewer look in at its own price, and only while the model lets him", function()
    local model = priced()
    local account, spy = viewer(500), viewer(50)
    local show = active(model, account)
    local client = people.signed_in(spy)
    local page = client:get("/r/" .. model.slug)
    local action = "/r/" .. model.slug .. "/show"
    assert.equal(409, client:submit(page, { rate = "1" }, action).status)
    local inside = client:submit(page, {}, action)
    local ticket = assert(streaming.read_ticket(inside.body:match('data%-ticket="([^"]+)"')))
    assert.equal("spy", ticket.policy)
    assert.equal(30 * CREDIT, ticket.rate)
    assert.equal(show.id, ticket.show)
    assert.is_nil(inside.body:find("data-chat-form", 1, true))
    shows.finish(show.id, "model")
    local closed = priced { spy_rate = false }
    active(closed, viewer(500))
    assert.is_nil(client:get("/r/" .. closed.slug):form("/r/" .. closed.slug .. "/show"))
  end)

  it("show a request to its model only", function()
    local model = priced()
    local show = requested(model, viewer(500))
    local _, other = priced()
    local stranger = people.signed_in(other)
    local page = stranger:get "/studio/shows"
    local token = page:form("/studio/shows/ticket").fields.csrf_token
    local answer = stranger:request("POST", "/studio/shows/" .. show.id, { form = { ["do"] = "accept", csrf_token = token } })
    assert.equal(404, answer.status)
    assert.equal("requested", state_of(show))
  end)

  it("keep prices that make sense, and tell of a room that was changed meanwhile", function()
    local _, owner = priced()
    local studio = people.signed_in(owner)
    local page = studio:get "/studio/shows"
    assert.equal(422, studio:submit(page, { private_rate = "0" }, "/studio/shows/prices").status)
    assert.equal(422, studio:submit(page, { private_minimum = "61" }, "/studio/shows/prices").status)
    assert.equal(422, studio:submit(page, { price = "0", title = "x", minutes = "5" }, "/studio/shows/ticket").status)
    assert.equal(200, studio:submit(page, { private_rate = "90" }, "/studio/shows/prices").status)
    assert.equal(409, studio:submit(page, { private_rate = "95" }, "/studio/shows/prices").status)
  end)

  it("say that the model is away", function()
    local model, owner = priced()
    local studio = people.signed_in(owner)
    assert.equal(200, studio:submit(studio:get "/studio/shows", { away = "yes" }, "/studio/shows/away").status)
    wait_page(people.client(), "/search?q=" .. model.slug, "Away")
    local client = people.signed_in(viewer(500))
    assert.is_nil(client:get("/r/" .. model.slug):form("/r/" .. model.slug .. "/show"))
  end)

  it("tell the viewer what became of his request, and what it cost", function()
    local model, owner = priced()
    local account = viewer(500)
    local client, studio = people.signed_in(account), people.signed_in(owner)
    local room = "/r/" .. model.slug
    local declined = assert(requested(model, account))
    assert.equal(200, studio:submit(studio:get "/studio/shows", { ["do"] = "decline" }, "/studio/shows/" .. declined.id).status)
    local page = client:get(room)
    assert.is_true(page:has(model.stage_name .. " declined this time. Nothing was charged."))
    local expired = assert(requested(model, account, { seconds = 0 }))
    job.step()
    assert.equal("expired", state_of(expired))
    assert.is_true(client:get(room):has "did not answer in time. Nothing was charged.")
    local show = active(model, account)
    watched(show, account, "w:" .. show.id, 83000, 0, "over", 0, "show over")
    shows.finish(show.id, "model")
    settled(show)
    assert.is_true(client:get(room):has(model.stage_name .. " ended the show. Watched 1:23, paid 83 credits."))
    assert.is_true(studio:get("/studio/shows"):has "You ended your last show.")
    assert.is_true(studio:get("/studio/shows"):has "brought 83 credits.")
    assert.is_false(people.signed_in(viewer(500)):get(room):has "ended the show")
  end)

  it("show a request on every page of the studio, and take the answer from any of them", function()
    local model, owner = priced()
    local account = viewer(500)
    local show = assert(requested(model, account))
    local studio = people.signed_in(owner)
    for _, address in ipairs { "/studio", "/studio/shows", "/studio/broadcast", "/studio/shows/panel", "/r/" .. model.slug } do
      local page = studio:get(address)
      assert.equal(200, page.status, address)
      assert.is_true(page:has(account.name .. " asks for a private show."), address)
    end
    local page = studio:get "/studio/shows/panel"
    local fields = page:form("/studio/shows/" .. show.id).fields
    local function answer(what)
      return studio:request("POST", "/studio/shows/" .. show.id,
        { headers = { accept = "application/json" }, form = { ["do"] = what, csrf_token = fields.csrf_token } })
    end
    assert.equal(200, answer("accept").status)
    assert.equal("accepted", state_of(show))
    local late = answer("decline")
    assert.equal(409, late.status)
    assert.truthy(late.body:find("not open any more", 1, true))
    assert.is_true(studio:get("/studio/shows/panel"):has("Waiting for " .. account.name))
  end)

  it("give an open page the part that changed, to each what is his", function()
    local model = priced()
    local account = viewer(500)
    local show = active(model, account)
    local address = "/r/" .. model.slug .. "/show"
    local mine = people.signed_in(account):get(address)
    assert.truthy(mine.body:find('data-show-running', 1, true))
    assert.is_nil(mine.body:find("<html", 1, true))
    local other = people.signed_in(viewer(100)):get(address)
    assert.is_nil(other.body:find('data-show-running', 1, true))
    assert.truthy(other.body:find('data-show-spy', 1, true))
    assert.is_nil(people.client():get(address).body:find(account.name, 1, true))
    shows.finish(show.id, "model")
  end)

  it("say what is missing before a viewer asks in vain", function()
    local model = priced()
    local page = people.signed_in(viewer(50)):get("/r/" .. model.slug)
    assert.is_nil(page:form("/r/" .. model.slug .. "/show"))
    assert.is_true(page:has "It takes 120 credits to begin with, 70 more than you have.")
  end)
end)

describe("the meters of a show", function()
  it("tell each what it costs him, and the model what it comes to, but not what a viewer has left", function()
    local model, owner = priced()
    local account, spy = viewer(200), viewer(100)
    local show = active(model, account)
    assert.is_true(shows.join { id = show.id, account_id = spy.id, role = "spy", states = { active = true } })
    watched(show, account, "w:a", 150000, 0, "open")
    watched(show, spy, "w:b", 20000, 0, "open")
    local function heard(id)
      job.step()
      local last = realtime.history("user:" .. id, 1).messages[1]
      return last and last.data.type == "meter" and last.data.spies == 1 and last.data
    end
    local function wait(id) return testing.wait_for(function() return heard(id) end, 10, "the meter") end
    local mine = wait(account.id)
    assert.same({ 150, 150 * CREDIT }, { mine.seconds, mine.cost })
    assert.equal(80, mine.left) -- two hundred credits, of which the minimum has paid for two minutes
    assert.same({ 20, 10 * CREDIT }, { wait(spy.id).seconds, wait(spy.id).cost })
    local hers = wait(owner.id)
    assert.equal(160 * CREDIT, hers.cost)
    assert.is_nil(hers.left)
    shows.finish(show.id, "model")
  end)
end)
