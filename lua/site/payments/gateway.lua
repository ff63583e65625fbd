--- A gateway of the kind that CCBill and Segpay are: the buyer is sent there with a signed address, and
-- the gateway posts what became of it, signed with the same key, from addresses that it publishes.
--
-- Signed is the text of all fields but `sig`, sorted by name, as name=value lines: HMAC-SHA-256, in hex.
local addresses = require "site.payments.addresses"
local config = require "runtime.config"
local crypto = require "runtime.crypto"
local http = require "runtime.http"
local reconciliation = require "store.reconciliation"
local text = require "runtime.text"

local gateway = { name = "gateway" }

local FIELDS_MOST = 30
local VALUE_MOST = 300
local LINES_MOST = 100000

function gateway.label(t) return config.get("payments.gateway.name") or t("payments.gateway") end
function gateway.origin()
  return (config.get("payments.gateway.url", "")):match("^(https://[%w.:-]+)")
end

--- The signature of a table of fields.
function gateway.sign(fields)
  local names = {}
  for name in pairs(fields) do
    if name ~= "sig" then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do names[i] = name .. "=" .. tostring(fields[name]) end
  return crypto.hex(crypto.hmac_sha256(config.get("payments.gateway.key", ""), table.concat(names, "\n")))
end

function gateway.begin(order, site)
  local url = config.get("payments.gateway.url")
  if not url or #config.get("payments.gateway.key", "") < 16 then
    return nil, "payments.gateway.url or .key is not set"
  end
  local fields = {
    merchant = config.get("payments.gateway.merchant", ""), order = order.public_id,
    amount = order.price_minor, currency = order.currency, at = os.time(),
    back = site.url .. "/credits/return/" .. order.public_id,
  }
  fields.sig = gateway.sign(fields)
  local parts = {}
  for name, value in pairs(fields) do parts[#parts + 1] = name .. "=" .. text.url(tostring(value)) end
  table.sort(parts)
  return url .. (url:find("?", 1, true) and "&" or "?") .. table.concat(parts, "&")
end

-- Such gateways take refunds on pages of theirs, and report them.
function gateway.refund() return "sent" end

local function unescape(value)
  value = value:gsub("+", " ")
  if value:gsub("%%%x%x", ""):find("%", 1, true) then return nil end
  return (value:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- The fields of the raw body; nil when one is malformed, came twice, is too long or holds control characters.
local function parse(raw)
  local fields, count = {}, 0
  for part in raw:gmatch("[^&]+") do
    local name, value = part:match("^([%w_]+)=(.*)$")
    value = value and unescape(value)
    count = count + 1
    if not value or fields[name] or count > FIELDS_MOST or #value > VALUE_MOST or value:find("%c") then return nil end
    fields[name] = value
  end
  return fields
end

local types = { sale = "paid", pending = "pending", decline = "failed", expired = "expired",
  cancel = "cancelled", refund = "refunded", chargeback = "disputed", chargeback_won = "won",
  chargeback_lost = "lost" }

local function integer(value)
  return value and value:find("^%d+$") and #value <= 12 and math.tointeger(tonumber(value)) or nil
end

local function is_name(value)
  return value ~= nil and #value >= 1 and #value <= 100 and not value:find("[^%w_.:-]")
end

function gateway.read(req, raw)
  if not addresses.contains(config.get("payments.gateway.addresses", ""), req.remote) then
    return nil, 403, "from an address that is not the gateway's"
  end
  if #config.get("payments.gateway.key", "") < 16 then return nil, 400, "payments.gateway.key is not set" end
  local fields = parse(raw)
  if not fields or not fields.sig then return nil, 400, "not readable, or not signed" end
  if not crypto.equal(gateway.sign(fields), fields.sig:lower()) then
    return nil, 400, "the signature is not right"
  end
  local at = integer(fields.at)
  if not at or math.abs(os.time() - at) > config.get("payments.gateway.tolerance", 3600) then
    return nil, 400, "too old, or of the future"
  end
  if fields.merchant ~= config.get("payments.gateway.merchant", "") then return nil, 400, "another merchant's" end
  local amount = integer(fields.amount)
  if not is_name(fields.id) or not types[fields.event] or not is_name(fields.order) or not amount
    or fields.ref and not is_name(fields.ref) or fields.case and not is_name(fields.case) then
    return nil, 400, "not an event"
  end
  return { { id = fields.id, type = types[fields.event], order = fields.order, amount = amount,
    currency = fields.currency, payment = fields.ref, dispute = fields.case, reason = fields.reason } }
end

-- A line of the list: order,payment,amount,currency,refunded; nil if it is none.
local function payment_of(line)
  local order, payment, amount, currency, refunded = line:match("^([^,]*),([^,]*),(%d+),(%u%u%u),(%d+)$")
  amount, refunded = integer(amount), integer(refunded)
  if not amount or not refunded or not is_name(payment) then return nil end
  return { order = is_name(order) and order or nil, payment = payment, amount = amount, currency = currency,
    refunded = refunded }
end

--- What was paid between two moments (seconds): the list that such gateways have for download, signed as
-- everything else, in the header `signature` over the body. Without `payments.gateway.report`, what was
-- reported.
function gateway.payments(from, to)
  local url = config.get("payments.gateway.report")
  if not url then return reconciliation.reported("gateway", from, to) end
  local fields = { merchant = config.get("payments.gateway.merchant", ""), from = from, to = to, at = os.time() }
  fields.sig = gateway.sign(fields)
  local parts = {}
  for name, value in pairs(fields) do parts[#parts + 1] = name .. "=" .. text.url(tostring(value)) end
  table.sort(parts)
  local answer, reason = http.request { url = url .. (url:find("?", 1, true) and "&" or "?") .. table.concat(parts, "&"),
    method = "GET", timeout = 30 }
  if not answer then return nil, reason end
  if answer.status ~= 200 then return nil, ("status %d"):format(answer.status) end
  local body = answer.body or ""
  local wanted = crypto.hex(crypto.hmac_sha256(config.get("payments.gateway.key", ""), body))
  if not crypto.equal(wanted, (answer.headers["signature"] or ""):lower()) then return nil, "the list is not signed" end
  local list = {}
  for line in body:gmatch("[^\r\n]+") do
    local payment = payment_of(line)
    if not payment or #list == LINES_MOST then return nil, "the list is not readable, or too long" end
    list[#list + 1] = payment
  end
  return list
end

return gateway
