--- A room: the page, the ticket for its picture, the token for its chat, and tips.
local billing = require "runtime.billing"
local crypto = require "runtime.crypto"
local form = require "footlight.form"
local format = require "footlight.format"
local forms = require "site.forms"
local log = require "runtime.log"
local access = require "site.show_access"
local offers = require "site.show_offers"
local present = require "site.present"
local realtime = require "runtime.realtime"
local room_of = require "site.room_of"
local show_panel = require "studio.show_panel"

local CREDIT = 1000000
local HISTORY = 50
local TOKEN_SECONDS = 900

local tip_form = form.define {
  { "amount", form.integer { min = 1, max = 100000 } },
  { "message", form.text { max = 200, optional = true } },
  { "anonymous", form.checkbox { optional = true } },
  { "key", form.text { min = 8, max = 64, pattern = "^[%w_-]+$" } },
}
local watch_form = form.define {
  { "rate", form.integer { min = 0, max = 999999999 } },
}

local function own(req, room)
  return req.account ~= nil and req.account.id == room.account_id
end

-- ---- the chat as the page is made -----------------------------------------------------------------

local function line_of(message, offset, req)
  if message.type ~= "chat" and message.type ~= "tip" then return nil end
  local from = type(message.from) == "table" and message.from or {}
  return {
    type = message.type, offset = offset, text = message.text or "",
    name = from.name or req.t("chat.anonymous"), role = from.role or "viewer",
    amount_text = message.amount and present.credits(message.amount, req.locale),
  }
end

-- The last lines and the place in the channel behind them, so that nothing falls between the page
-- and its subscription. Without Redis: an empty chat that starts from nowhere.
local function chat_of(slug, req)
  local ok, history = pcall(realtime.history, "chat:" .. slug, HISTORY)
  if not ok then
    log.warn("the chat is not known", { slug = slug, error = tostring(history) })
    return {}, { offset = 0, epoch = "" }
  end
  local lines = {}
  for _, item in ipairs(history.messages) do
    lines[#lines + 1] = line_of(item.data, item.offset, req)
  end
  return lines, { offset = history.offset, epoch = history.epoch }
end

-- ---- tickets --------------------------------------------------------------------------------------

local function note_of(req, room, found)
  local t = req.t
  if found.kind == "out" or found.kind == "spy" then return t("room.note_show." .. found.show.kind, { name = room.name }) end
  if room.starting then return t("room.note_starting", { name = room.name }) end
  if not room.live then return t("room.note_offline", { name = room.name }) end
  if room.state == "grace" then return t("room.note_grace") end
  if room.rate == 0 or own(req, room) then return t("room.note_live") end
  if not req.account then return t("room.note_paid_guest", { rate = room.rate_text }) end
  return t("room.note_paid")
end

-- ---- tips -----------------------------------------------------------------------------------------

local function available(account)
  local wallet = billing.wallet(account.id)
  return wallet.paid + wallet.bonus
end

local function tip_page(req, room, shown, status, more)
  local balance = available(req.account)
  local variables = {
    room = room, form = shown, tip_key = crypto.random_token(18),
    balance_text = present.credits(balance, req.locale),
  }
  for key, value in pairs(more or {}) do variables[key] = value end
  if req:wants_json() and status then
    local first = shown.error_list[1]
    return req:json_response({ ok = false, error = first and first.text }, status)
  end
  return req:render("site/tip", variables, status)
end

local function tell_room(req, room, values)
  local from = values.anonymous and { name = req.t("chat.anonymous"), role = "viewer" }
    or { id = req.account.id, name = req.account.name, role = req.account.role }
  local ok, reason = pcall(realtime.publish, "chat:" .. room.slug, {
    type = "tip", from = from, amount = values.amount * CREDIT, text = values.message or "",
    at = os.time() * 1000,
  })
  if ok then ok, reason = pcall(realtime.tipped, "chat:" .. room.slug, req.account.id) end
  -- The tip is booked; that the room does not hear of it is a pity, not an error.
  if not ok then log.warn("a tip was not shown", { slug = room.slug, error = tostring(reason) }) end
end

local function send_tip(req)
  local room = room_of(req)
  local t = req.t
  local function refuse(text, status, values, more)
    return tip_page(req, room, forms.failed(values, { [""] = text }), status, more)
  end
  if own(req, room) then return refuse(t("tip.own"), 422) end
  local values, errors = tip_form:read(req)
  if errors then return tip_page(req, room, forms.failed(values, errors), 422) end
  if not room.live and not room.tips_offline then
    return refuse(t("tip.offline", { name = room.name }), 422, values)
  end
  local amount = values.amount * CREDIT
  local result, reason = billing.tip {
    op = ("tip:%d:%s"):format(req.account.id, values.key), account = req.account.id,
    amount = amount, payee = room.id, slug = room.slug, message = values.message or "",
    anonymous = values.anonymous and true or false,
  }
  if not result and reason == "no_funds" then
    local short = math.max(amount - available(req.account), CREDIT)
    return refuse(t("tip.short_error"), 422, values,
      { short_of = format.credits((short + CREDIT - 1) // CREDIT * CREDIT, req.locale) })
  elseif not result and reason == "frozen" then
    return refuse(t("tip.frozen"), 409, values)
  elseif not result then
    return refuse(t("tip.repeat_other"), 409, values)
  end
  if not result.repeated then tell_room(req, room, values) end
  local thanks = t("tip.thanks", { name = room.name, amount = present.credits(amount, req.locale) })
  if req:wants_json() then
    return req:json_response { ok = true, text = thanks, key = crypto.random_token(18) }
  end
  req:flash(thanks, "success")
  return req:redirect("/r/" .. room.slug)
end

return function(site)
  site:get("/r/:slug", { name = "room" }, function(req)
    local room = room_of(req)
    local history, position = chat_of(room.slug, req)
    local found = access.of(req, room)
    local watching = found.kind == "in" or found.kind == "own"
    local playable = room.live and (watching or found.kind == "public" and (room.rate == 0 or found.own))
    return req:render("site/room", {
      room = room, own_room = own(req, room), history = history, position = position,
      note = note_of(req, room, found),
      ticket = playable and access.ticket(req, room, found) or access.preview(req, room, found),
      show = offers.of(req, room, found), panel = found.own and show_panel.of(req, room) or nil,
      in_show = found.kind == "in" or found.kind == "own" and found.show ~= nil,
      public_now = found.kind == "public",
      tip_form = forms.fresh(), tip_key = crypto.random_token(18),
    })
  end)

  -- A ticket for the player: the first one of a paid show, and another after an interruption.
  site:post("/r/:slug/watch", {
    name = "watch", limit = { name = "watch", count = 30, seconds = 60, by = "ip" },
  }, function(req)
    local room = room_of(req)
    local t = req.t
    local function refuse(status, text)
      if req:wants_json() then return req:json_response({ ok = false, error = text }, status) end
      req:flash(text, "warning")
      return req:redirect("/r/" .. room.slug)
    end
    if not room.live then
      return refuse(409, t("room.note_offline", { name = room.name }))
    end
    local found = access.of(req, room)
    if found.kind == "out" or found.kind == "spy" then
      return refuse(409, t("room.note_show." .. found.show.kind, { name = room.name }))
    end
    if found.kind == "public" and room.rate > 0 and not found.own then
      if not req.account then
        return refuse(403, t("room.note_paid_guest", { rate = room.rate_text }))
      end
      local values, errors = watch_form:read(req)
      if errors or values.rate ~= room.rate then
        return refuse(409, t("room.price_changed", { rate = room.rate_text }))
      end
      if available(req.account) < (room.rate + 59) // 60 then
        return refuse(402, t("room.no_credits"))
      end
    end
    if not req:wants_json() then return req:redirect("/r/" .. room.slug) end
    return req:json_response { ok = true, ticket = access.ticket(req, room, found) }
  end)

  -- What a page shows to the realtime service as its visitor; asked for again before it expires.
  site:get("/realtime-token", { name = "realtime_token" }, function(req)
    local account = req.account
    -- A guest's token in place of a viewer's would take the chat away for as long as it lasts.
    if req.session_unknown then req:fail(503) end
    local token = realtime.token {
      account = account and account.id or 0, name = account and account.name or nil,
      role = account and account.role or nil, session = req.session and tostring(req.session.id) or nil,
      caps = account and { "chat:*" } or nil, seconds = TOKEN_SECONDS,
    }
    return req:json_response { token = token, seconds = TOKEN_SECONDS }
  end)

  site:get("/r/:slug/tip", { name = "tip", signed_in = true }, function(req)
    local room = room_of(req)
    if own(req, room) then return req:redirect("/r/" .. room.slug) end
    return tip_page(req, room, forms.fresh())
  end)

  site:post("/r/:slug/tip", {
    signed_in = true, limit = { name = "tip", count = 60, seconds = 60, by = "account" },
  }, send_tip)
end
