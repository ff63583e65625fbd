--- From what stores and Redis hold to what templates show.
local config = require "runtime.config"
local format = require "footlight.format"

local present = {}

local HUES = 12 -- classes .hue-1 … in css/site.css

-- The colour of a room without a picture: of its name, so that it stays the same.
local function hue_of(slug)
  local sum = 0
  for i = 1, #slug do sum = (sum * 31 + slug:byte(i)) % 65521 end
  return sum % HUES
end

-- "Mara Lind" → "ML", "Jonas" → "Jo".
local function initials_of(name)
  local letters = {}
  for word in name:gmatch("%S+") do
    letters[#letters + 1] = word:match("^" .. utf8.charpattern) or ""
    if #letters == 2 then return table.concat(letters) end
  end
  local stop = utf8.offset(name, 3)
  return stop and name:sub(1, stop - 1) or name
end

--- Credits as people read them; amounts are micro-credits.
function present.credits(amount, locale) return format.credits(amount, locale) end

local signs = { USD = "$", EUR = "€", GBP = "£" }

--- 1099, "USD" → "$10.99".
function present.money(minor, currency)
  local sign = signs[currency]
  local sum = ("%d.%02d"):format(minor // 100, minor % 100)
  return sign and (sign .. sum) or (sum .. " " .. currency)
end

--- What cards and the room page show. `row` is of store.rooms, `now` of site.live.
function present.room(row, now, req)
  now = now or { state = "offline" }
  local live = now.state == "live" or now.state == "grace"
  local tags, card_tags = row.tags or {}, {}
  for i = 1, math.min(3, #tags) do card_tags[i] = tags[i] end
  local room = {
    id = row.id, account_id = row.account_id, slug = row.slug, name = row.stage_name,
    title = row.title or "", bio = row.bio or "", tags = tags, card_tags = card_tags,
    rate = row.rate or 0, rate_text = present.credits(row.rate or 0, req.locale),
    tips_offline = row.tips_offline, away = row.away,
    show_id = row.show_id, show_kind = row.show_kind or "public",
    private_rate = row.private_rate, private_minimum = row.private_minimum,
    state = now.state, live = live, starting = now.state == "starting",
    watching = now.watching or 0, since = now.since or 0,
    hue = hue_of(row.slug), initials = initials_of(row.stage_name),
  }
  room.description = room.title ~= "" and room.title
    or req.t("room.description", { name = room.name })
  -- A picture of a paid show is what people pay for.
  if live and now.thumb and room.rate == 0 and not room.show_id then
    room.thumb = ("/thumbs/%s/%s-640.webp"):format(row.slug, now.thumb)
  end
  return room
end

local tones = {
  credited = "good", paid = "good", refunded = "soft", refund_pending = "warn", review = "warn",
  pending = "warn", created = "soft", redirected = "soft", failed = "bad", expired = "soft",
  cancelled = "soft", disputed = "bad", charged_back = "bad",
}
local over = { failed = true, expired = true, cancelled = true }

function present.order(row, req)
  local t = req.t
  return {
    id = row.public_id, state = row.state, tone = tones[row.state] or "soft",
    state_text = t("order.state." .. row.state),
    credits_text = present.credits(row.credits + row.promo_credits, req.locale),
    price_text = present.money(row.price_minor, row.currency),
    created_iso = format.iso(row.created_at),
    created_text = format.datetime(row.created_at, req.locale),
    waiting = row.state == "pending" or row.state == "paid",
    over = over[row.state] or false,
    resume = (row.state == "created" or row.state == "redirected")
      and "/credits/pay/" .. row.public_id or nil,
  }
end

local model_tones = {
  approved = "good", submitted = "warn", in_review = "warn", changes_requested = "warn",
  rejected = "bad", suspended = "bad", banned = "bad", draft = "soft", expired = "warn",
  closed = "soft",
}
function present.model_tone(state) return model_tones[state] or "soft" end

local browsers = { { "Edg/", "Edge" }, { "OPR/", "Opera" }, { "Firefox/", "Firefox" },
  { "Chrome/", "Chrome" }, { "Safari/", "Safari" } }
local systems = { { "Android", "Android" }, { "iPhone", "iPhone" }, { "iPad", "iPad" },
  { "Windows", "Windows" }, { "Mac OS X", "macOS" }, { "Linux", "Linux" } }

local function first(list, text)
  for _, pair in ipairs(list) do
    if text:find(pair[1], 1, true) then return pair[2] end
  end
end

--- "Firefox on Linux" from a User-Agent.
function present.device(agent, t)
  local browser, system = first(browsers, agent or ""), first(systems, agent or "")
  if browser and system then
    return t("account.device_of", { browser = browser, system = system })
  end
  return browser or system or t("account.unknown_device")
end

function present.site()
  return { name = config.get("site.name") or "Footlight",
    url = (config.get("site.url") or "http://localhost:8080"):gsub("/$", "") }
end

return present
