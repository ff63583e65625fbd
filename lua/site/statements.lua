--- An account's statement of a month, for its owner and for staff: on a page, and as CSV.
local files = require "site.payouts.files"
local finances = require "store.finances"
local format = require "footlight.format"
local periods = require "store.ledger_periods"
local present = require "site.present"

local statements = {}

local MONTHS_BACK = 24
local SHOWN, EXPORTED = 500, 20000

--- The month that a query names, this one if it names none that can be.
function statements.month(req)
  local now = os.date "!%Y-%m"
  local month = req.query.month
  if type(month) ~= "string" or not periods.bounds(month) or month > now then return now end
  return month
end

--- For a select: this month and those before it.
function statements.months()
  local list, today = {}, os.date "!*t"
  for i = 0, MONTHS_BACK do
    local month = os.date("!%Y-%m", os.time { year = today.year, month = today.month - i, day = 15, hour = 12 })
    list[i + 1] = { value = month, label = month }
  end
  return list
end

--- What templates/partials/statement.html shows.
function statements.shown(account_id, month, req)
  local from, to = periods.bounds(month)
  local found = finances.statement(account_id, from, to, SHOWN + 1)
  local rows = {}
  for i, line in ipairs(found.lines) do
    if i > SHOWN then break end
    rows[i] = { at_iso = format.iso(line.at), at_text = format.datetime(line.at, req.locale),
      what = req.t("ledger.type." .. line.type), note = line.reason or line.model,
      amount_text = present.credits(line.amount, req.locale) }
  end
  return { month = month, opening_text = present.credits(found.opening, req.locale), rows = rows,
    closing_text = present.credits(found.closing, req.locale), more = #found.lines > SHOWN }
end

-- Exact: all six decimals of a micro-credit.
local function exact(micro)
  local sign = micro < 0 and "-" or ""
  micro = math.abs(micro)
  return ("%s%d.%06d"):format(sign, micro // 1000000, micro % 1000000)
end
statements.exact = exact

--- The CSV of a month as a response.
function statements.csv(account_id, name, month, req)
  local from, to = periods.bounds(month)
  local found = finances.statement(account_id, from, to, EXPORTED + 1)
  if #found.lines > EXPORTED then req:conflict(req.t("statement.too_long")) end
  local rows = { { "time", "type", "reference", "reason", "paid", "bonus", "debt", "credits" },
    { from, "opening", "", "", "", "", "", exact(found.opening) } }
  for _, line in ipairs(found.lines) do
    rows[#rows + 1] = { format.iso(line.at), line.type, line.ref_id or line.idem_key, line.reason or "", exact(line.paid),
      exact(line.bonus), exact(line.debt), exact(line.amount) }
  end
  rows[#rows + 1] = { to, "closing", "", "", "", "", "", exact(found.closing) }
  local answer = req:text_response(files.csv(rows, true), 200, "text/csv; charset=utf-8")
  answer.headers["Content-Disposition"] = ('attachment; filename="statement-%s-%s.csv"'):format(name, month)
  return answer
end

return statements
