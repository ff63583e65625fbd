--- Shows from the viewer's side: asking for one, buying, joining, spying, and ending it.
local billing = require "runtime.billing"
local form = require "footlight.form"
local present = require "site.present"
local redis = require "runtime.redis"
local room_of = require "site.room_of"
local rooms = require "store.rooms"
local rules = require "store.show_rules"
local access = require "site.show_access"
local offers = require "site.show_offers"
local show_evidence = require "site.show_evidence"
local shows = require "store.shows"
local task = require "runtime.task"

local HOLD_MORE = 7200 -- seconds beyond what it pays for: until it is taken or given back

local ask_form = form.define {
  { "kind", form.choice { "private", "spy", "group", "ticket" } },
  { "rate", form.text { max = 11, pattern = "^%d+$" } },
  { "minimum", form.integer { min = 0, max = 60, optional = true } },
  { "show", form.integer { min = 1, max = 999999999, optional = true } },
}
local end_form = form.define {
  { "show", form.integer { min = 1, max = 999999999 } },
}

local function available(account)
  local wallet = billing.wallet(account.id)
  return wallet.paid + wallet.bonus
end

-- A refusal: a page of its own with the way back, or JSON.
local function refuse(req, room, status, key, values)
  local text = req.t(key, values)
  if req:wants_json() then return req:json_response({ ok = false, error = text }, status) end
  local link = status == 402 and { href = "/credits?next=/r/" .. room.slug, label = req.t("credits.buy") }
    or { href = "/r/" .. room.slug, label = req.t("room.back", { name = room.name }) }
  return req:render("site/message", { heading = req.t("show.refused"), text = text, link = link }, status)
end

-- The page that comes next has a player: its ticket must be for the show that hooks and media know of.
local function await_projection(room)
  for _ = 1, 30 do
    local stage = shows.on_stage(room.id)
    if redis.call("HGET", "p:model:" .. room.slug, "show") == tostring(stage and stage.id or 0) then return end
    task.sleep(0.05)
  end
end

local function done(req, room)
  if req:wants_json() then return req:json_response { ok = true } end
  return req:redirect("/r/" .. room.slug)
end

local function price_changed(req, room, rate)
  return refuse(req, room, 409, "show.price_changed", { rate = present.credits(rate or 0, req.locale) })
end

local function short_of(req, room, needed)
  if available(req.account) >= needed then return nil end
  return refuse(req, room, 402, "show.no_credits", { amount = present.credits(needed, req.locale) })
end

local asks = {}
local unavailable = { off = "show.off", open = "show.open", busy = "show.busy" }

function asks.private(req, room, values)
  if not room.live or room.away then return refuse(req, room, 409, "show.not_live", { name = room.name }) end
  if not room.private_rate then return refuse(req, room, 409, "show.off") end
  if room.private_rate ~= values.rate or room.private_minimum ~= (values.minimum or 0) then
    return price_changed(req, room, room.private_rate)
  end
  local short = short_of(req, room, values.rate * math.max(room.private_minimum, 1))
  if short then return short end
  local show, why = shows.request { model_id = room.id, account_id = req.account.id, rate = values.rate,
    minimum = values.minimum or 0 }
  if show then return done(req, room) end
  if why == "price" then return price_changed(req, room, rooms.by_slug(room.slug).private_rate) end
  return refuse(req, room, 409, unavailable[why], { name = room.name })
end

function asks.spy(req, room, values)
  local show = shows.on_stage(room.id)
  if not show or show.id ~= values.show or show.kind ~= "private" or not show.spy_rate then
    return refuse(req, room, 409, "show.gone")
  end
  if show.spy_rate ~= values.rate then return price_changed(req, room, show.spy_rate) end
  local short = short_of(req, room, (values.rate + 59) // 60)
  if short then return short end
  local joined = shows.join { id = show.id, account_id = req.account.id, role = "spy",
    states = { active = true, paused = true } }
  return joined and done(req, room) or refuse(req, room, 409, "show.gone")
end

-- What is set aside first, then the place in the show: if that is gone, all is given back.
local function join_with_hold(req, room, show, role, states, seconds)
  if shows.participant(show.id, req.account.id) then return done(req, room) end
  local amount = rules.to_hold(show)
  local short = short_of(req, room, amount)
  if short then return short end
  local hold = show_evidence.hold_of(show.id, req.account.id)
  local held, why = billing.hold { op = hold, account = req.account.id, amount = amount, payee = room.id,
    type = "private", seconds = math.min(seconds, 86400), actor = "account:" .. req.account.id }
  if not held then
    if why == "frozen" then return refuse(req, room, 409, "tip.frozen") end
    return refuse(req, room, 402, "show.no_credits", { amount = present.credits(amount, req.locale) })
  end
  local joined = shows.join { id = show.id, account_id = req.account.id, role = role, states = states, held = amount }
  -- Another tab of the same viewer may have been quicker: then the hold is that one's.
  if joined or shows.participant(show.id, req.account.id) then return done(req, room) end
  billing.release { op = hold, account = req.account.id }
  return refuse(req, room, 409, "show.gone")
end

local function open_show(room, values, kind)
  local show = values.show and shows.by_id(values.show)
  if not show or show.model_id ~= room.id or show.kind ~= kind then return nil end
  return show
end

function asks.group(req, room, values)
  local show = open_show(room, values, "group")
  if not show or show.state ~= "pooling" then return refuse(req, room, 409, "show.gone") end
  if show.rate ~= values.rate then return price_changed(req, room, show.rate) end
  return join_with_hold(req, room, show, "member", { pooling = true },
    shows.POOL_SECONDS + show.minimum * 60 + HOLD_MORE)
end

function asks.ticket(req, room, values)
  local show = open_show(room, values, "ticket")
  local states = { selling = true, live = true }
  if not show or not states[show.state] then return refuse(req, room, 409, "show.gone") end
  if show.price ~= values.rate then return price_changed(req, room, show.price) end
  return join_with_hold(req, room, show, "buyer", states, math.max(show.starts_in, 0) + 3600 + HOLD_MORE)
end

local function end_show(req, room, values)
  local show = shows.by_id(values.show)
  local mine = show and shows.participant(show.id, req.account.id)
  if not mine or show.model_id ~= room.id then req:not_found() end
  if rules.is_over(show.state) or show.state == "ending" or mine.state == "settled" then return done(req, room) end
  if show.kind == "private" and mine.role == "viewer" then
    if show.state == "requested" then
      shows.move { id = show.id, from = "requested", to = "withdrawn", reason = "viewer" }
    else
      shows.finish(show.id, "viewer")
      await_projection(room)
    end
  elseif show.kind == "ticket" then
    return refuse(req, room, 409, "show.ticket_kept")
  else
    shows.leave(show.id, req.account.id)
  end
  return done(req, room)
end

return function(site)
  -- The part of the room page that shows move, for pages that are open.
  site:get("/r/:slug/show", { name = "show_part" }, function(req)
    local room = room_of(req)
    if req.headers["sec-fetch-dest"] == "document" then return req:redirect("/r/" .. room.slug) end
    return req:render("partials/show", { room = room, show = offers.of(req, room, access.of(req, room)),
      login_url = "/login?next=/r/" .. room.slug })
  end)

  site:post("/r/:slug/show", {
    name = "show", signed_in = true, limit = { name = "show", count = 30, seconds = 60, by = "account" },
  }, function(req)
    local room = room_of(req)
    local values, errors = ask_form:read(req)
    if errors then return refuse(req, room, 422, "show.bad_form") end
    if req.account.id == room.account_id then return refuse(req, room, 422, "show.own") end
    values.rate = math.tointeger(tonumber(values.rate))
    return asks[values.kind](req, room, values)
  end)

  site:post("/r/:slug/show/end", {
    name = "show_end", signed_in = true, limit = { name = "show", count = 30, seconds = 60, by = "account" },
  }, function(req)
    local room = room_of(req)
    local values, errors = end_form:read(req)
    if errors then return refuse(req, room, 422, "show.bad_form") end
    return end_show(req, room, values)
  end)
end
