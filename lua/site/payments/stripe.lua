--- Stripe Checkout: the buyer pays on Stripe's page, and what became of it comes as signed events.
--
-- The signature is over the raw body and the time of sending (HMAC-SHA-256). Stripe repeats events for
-- three days until it gets a 200, signed anew each time, and in any order.
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local http = require "runtime.http"
local json = require "runtime.json"
local text = require "runtime.text"

local stripe = { name = "stripe" }

local VERSION = "2024-06-20"
local SIGNATURES_MOST = 10
local HEADER_MOST = 2000
local PAGES_MOST = 1000 -- of a hundred payments each

function stripe.label(t) return t("payments.stripe") end
function stripe.origin() return "https://checkout.stripe.com" end

-- { { "a[b]", "c" }, … } → a=b&… in that order.
local function encode(fields)
  local parts = {}
  for i, field in ipairs(fields) do parts[i] = text.url(field[1]) .. "=" .. text.url(tostring(field[2])) end
  return table.concat(parts, "&")
end

-- The answer's object; or nil, why, and whether Stripe has refused it for good. Without a key for repeats it
-- is a question, and changes nothing.
local function call(path, key, fields)
  local secret = config.get("payments.stripe.key")
  if not secret then return nil, "payments.stripe.key is not set", true end
  local headers = { ["Authorization"] = "Bearer " .. secret, ["Stripe-Version"] = VERSION }
  local asked = { url = config.get("payments.stripe.base") .. path, timeout = 8, headers = headers }
  if key then
    asked.method, asked.body = "POST", encode(fields)
    headers["Idempotency-Key"], headers["Content-Type"] = key, "application/x-www-form-urlencoded"
  else
    asked.method, asked.url = "GET", asked.url .. "?" .. encode(fields)
  end
  local answer, reason = http.request(asked)
  if not answer then return nil, reason, false end
  local object = json.decode(answer.body or "")
  if answer.status == 200 and type(object) == "table" then return object end
  local told = type(object) == "table" and type(object.error) == "table" and object.error.code or ""
  -- 409: the same key is under way; 429: too fast. Both may succeed later.
  local final = answer.status >= 400 and answer.status < 500 and answer.status ~= 409 and answer.status ~= 429
  return nil, ("status %d %s"):format(answer.status, tostring(told)), final
end

function stripe.begin(order, site)
  local back = site.url .. "/credits/return/" .. order.public_id
  local session, reason = call("/v1/checkout/sessions", "order:" .. order.public_id, {
    { "mode", "payment" },
    { "client_reference_id", order.public_id },
    { "success_url", back },
    { "cancel_url", back },
    { "line_items[0][quantity]", 1 },
    { "line_items[0][price_data][currency]", order.currency:lower() },
    { "line_items[0][price_data][unit_amount]", order.price_minor },
    { "line_items[0][price_data][product_data][name]", site.name .. ": " .. order.pack_name },
    { "metadata[order]", order.public_id },
    { "payment_intent_data[metadata][order]", order.public_id },
  })
  if not session then return nil, reason end
  if type(session.url) ~= "string" or not session.url:find("^https?://[^%s]+$")
    or type(session.id) ~= "string" or not session.id:find("^[%w_]+$") then
    return nil, "the session has no address"
  end
  return session.url, session.id
end

function stripe.refund(order, refund)
  if not order.payment_ref then return "refused", "the payment is not known" end
  local object, reason, final = call("/v1/refunds", "refund:" .. refund.id, {
    { "payment_intent", order.payment_ref },
    { "amount", refund.amount_minor },
    { "metadata[order]", order.public_id },
  })
  if not object then
    if final then return "refused", reason end
    return nil, reason
  end
  if object.status == "succeeded" then return "done", object.id end
  if object.status == "failed" or object.status == "canceled" then return "refused", object.status end
  return "sent"
end

-- ---- events ---------------------------------------------------------------------------------------

-- "t=1700000000,v1=…,v1=…,v0=…" → seconds, list of v1; nil for anything else.
local function parse_signature(header)
  if type(header) ~= "string" or #header > HEADER_MOST then return nil end
  local at, list = nil, {}
  for part in (header .. ","):gmatch("([^,]*),") do
    local name, value = part:match("^%s*(%w+)=(.-)%s*$")
    if not name then return nil end
    if name == "t" then
      if at or not value:find("^%d+$") or #value > 11 then return nil end
      at = math.tointeger(tonumber(value))
    elseif name == "v1" then
      if #list == SIGNATURES_MOST then return nil end
      list[#list + 1] = value
    end
  end
  if not at or #list == 0 then return nil end
  return at, list
end

--- True, or nil and why the body is not Stripe's. `now` in seconds.
function stripe.verify(header, raw, now)
  local at, signatures = parse_signature(header)
  if not at then return nil, "no readable signature" end
  if math.abs(now - at) > config.get("payments.stripe.tolerance", 300) then
    return nil, "the signature is too old, or of the future"
  end
  local payload, right = at .. "." .. raw, false
  for secret in config.get("payments.stripe.webhook_secrets", ""):gmatch("[^,%s]+") do
    local wanted = crypto.hex(crypto.hmac_sha256(secret, payload))
    for _, signature in ipairs(signatures) do
      if crypto.equal(wanted, signature) then right = true end
    end
  end
  if not right then return nil, "the signature is not right" end
  return true
end

local function word(value, most)
  return type(value) == "string" and #value > 0 and #value <= most and not value:find("[^%w_.:-]") and value or nil
end
local function count(value) return math.type(value) == "integer" and value >= 0 and value or nil end
local function reference(value)
  if type(value) == "table" then value = value.id end -- an object that was expanded
  return word(value, 100)
end

local function session_event(type)
  return function(object)
    local kind = type
    if kind == "completed" then
      kind = (object.payment_status == "paid" or object.payment_status == "no_payment_required")
        and "paid" or "pending"
    end
    return { type = kind, order = word(object.client_reference_id, 22), amount = count(object.amount_total),
      payment = reference(object.payment_intent) }
  end
end

local function dispute_event(object)
  return { payment = reference(object.payment_intent), dispute = word(object.id, 100),
    amount = count(object.amount), reason = word(object.reason, 100),
    due_by = type(object.evidence_details) == "table" and count(object.evidence_details.due_by) or nil }
end

local closed = { won = "won", warning_closed = "won", lost = "lost" }

local kinds = {
  ["checkout.session.completed"] = session_event("completed"),
  ["checkout.session.async_payment_succeeded"] = session_event("paid"),
  ["checkout.session.async_payment_failed"] = session_event("failed"),
  ["checkout.session.expired"] = session_event("expired"),
  ["charge.refunded"] = function(object)
    local metadata = type(object.metadata) == "table" and object.metadata or {}
    return { type = "refunded", order = word(metadata.order, 22), payment = reference(object.payment_intent),
      total = count(object.amount_refunded), amount = count(object.amount_refunded) }
  end,
  ["charge.dispute.created"] = function(object)
    local event = dispute_event(object)
    event.type = "disputed"
    return event
  end,
  ["charge.dispute.closed"] = function(object)
    local event = dispute_event(object)
    event.type = closed[object.status]
    return event.type and event
  end,
}

-- ---- books ----------------------------------------------------------------------------------------

--- What was paid between two moments (seconds), as site/payments/reconcile.lua takes it.
function stripe.payments(from, to)
  local list, after = {}, nil
  for _ = 1, PAGES_MOST do
    local fields = { { "created[gte]", from }, { "created[lt]", to }, { "limit", 100 } }
    if after then fields[4] = { "starting_after", after } end
    local page, reason = call("/v1/charges", nil, fields)
    if not page then return nil, reason end
    if type(page.data) ~= "table" then return nil, "the answer is no list" end
    for _, charge in ipairs(page.data) do
      local id = type(charge) == "table" and word(charge.id, 100)
      local amount, refunded = id and count(charge.amount), id and count(charge.amount_refunded)
      if not amount or not refunded or type(charge.currency) ~= "string" then return nil, "a charge is not readable" end
      after = id
      if charge.paid == true then
        local metadata = type(charge.metadata) == "table" and charge.metadata or {}
        list[#list + 1] = { order = word(metadata.order, 22), payment = reference(charge.payment_intent) or id,
          amount = amount, currency = charge.currency:upper(), refunded = refunded, disputed = charge.disputed == true }
      end
    end
    if page.has_more ~= true then return list end
  end
  return nil, "there are too many payments for one look: ask for fewer days"
end

function stripe.read(req, raw)
  local right, reason = stripe.verify(req.headers["stripe-signature"], raw, os.time())
  if not right then return nil, 400, reason end
  local body = json.decode(raw)
  if type(body) ~= "table" or not word(body.id, 100) or type(body.type) ~= "string"
    or type(body.data) ~= "table" or type(body.data.object) ~= "table" then
    return nil, 400, "not an event"
  end
  local object = body.data.object
  local event = kinds[body.type] and kinds[body.type](object) or { type = "other" }
  event.id = body.id
  event.currency = type(object.currency) == "string" and object.currency:upper() or nil
  if event.type == "refunded" and not event.total then return nil, 400, "a refund without an amount" end
  return { event }
end

return stripe
