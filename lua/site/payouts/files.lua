--- The files of a batch: CSV for people, pain.001 (ISO 20022) for the bank. Both are made from the same
-- lines { reference, holder, iban, bic, minor, currency } and from nothing else, so the same batch gives
-- the same bytes.
local files = {}

local MOST = 99999999999 -- of one transfer, in minor units: what SEPA takes

local function amount(minor) return ("%d.%02d"):format(minor // 100, minor % 100) end

-- A spreadsheet takes what begins like this for a formula and carries it out.
local function cell(value, numbers)
  local text = tostring(value):gsub("[\r\n]", " ")
  local plain = numbers and text:find("^%-%d+%.?%d*$")
  if not plain and text:find("^%s*[=+%-@\t]") then text = "'" .. text end
  return '"' .. text:gsub('"', '""') .. '"'
end

--- Rows of cells as CSV. With `numbers`, negative ones stay as they are; everything else that could be a
-- formula is made a text.
function files.csv(rows, numbers)
  local lines = {}
  for i, row in ipairs(rows) do
    local cells = {}
    for k, value in ipairs(row) do cells[k] = cell(value, numbers) end
    lines[i] = table.concat(cells, ",")
  end
  return table.concat(lines, "\r\n") .. "\r\n"
end

--- The lines of a batch as CSV, with a head.
function files.batch_csv(lines)
  local rows = { { "reference", "holder", "iban", "bic", "amount", "currency" } }
  for _, line in ipairs(lines) do
    rows[#rows + 1] = { line.reference, line.holder, line.iban, line.bic or "", amount(line.minor), line.currency }
  end
  return files.csv(rows)
end

local plain = { ["ä"] = "ae", ["ö"] = "oe", ["ü"] = "ue", ["Ä"] = "Ae", ["Ö"] = "Oe", ["Ü"] = "Ue", ["ß"] = "ss",
  ["à"] = "a", ["á"] = "a", ["â"] = "a", ["ã"] = "a", ["å"] = "a", ["æ"] = "ae", ["ç"] = "c", ["č"] = "c",
  ["ć"] = "c", ["è"] = "e", ["é"] = "e", ["ê"] = "e", ["ë"] = "e", ["ě"] = "e", ["í"] = "i", ["î"] = "i",
  ["ï"] = "i", ["ł"] = "l", ["Ł"] = "L", ["ñ"] = "n", ["ń"] = "n", ["ó"] = "o", ["ô"] = "o", ["õ"] = "o",
  ["ø"] = "o", ["Ø"] = "O", ["ř"] = "r", ["š"] = "s", ["Š"] = "S", ["ú"] = "u", ["ù"] = "u", ["û"] = "u",
  ["ý"] = "y", ["ž"] = "z", ["Ž"] = "Z", ["É"] = "E", ["Å"] = "A" }

-- The characters that all banks take; others become what is nearest, or a dot.
local function bank_text(text, most)
  text = text:gsub(utf8.charpattern, function(char)
    if plain[char] then return plain[char] end
    return char:find("^[%w/%-?:().,'+ ]$") and char or "."
  end)
  return text:sub(1, most)
end

-- { name, children or text, attribute = … } → XML. Names are ours; texts are escaped.
local function element(node, depth, out)
  local pad = ("  "):rep(depth)
  local head = node[1] .. (node.attribute or "")
  local name = node[1]
  if type(node[2]) == "table" then
    out[#out + 1] = pad .. "<" .. head .. ">"
    for i = 2, #node do element(node[i], depth + 1, out) end
    out[#out + 1] = pad .. "</" .. name .. ">"
  else
    local text = tostring(node[2]):gsub("&", "&amp;"):gsub("<", "&lt;"):gsub(">", "&gt;")
    out[#out + 1] = ("%s<%s>%s</%s>"):format(pad, head, text, name)
  end
end

local function agent(bic)
  return { "FinInstnId", bic and { "BIC", bic } or { "Othr", { "Id", "NOTPROVIDED" } } }
end

--- pain.001.001.03: { id, at ("2026-11-24T10:00:00"), day, payer = { name, iban, bic }, lines }.
function files.pain001(values)
  local total = 0
  for _, line in ipairs(values.lines) do
    assert(line.currency == "EUR", "a SEPA transfer is in euros")
    assert(line.minor > 0 and line.minor <= MOST, "no amount of a SEPA transfer")
    total = total + line.minor
  end
  local count = #values.lines
  local payment = { "PmtInf",
    { "PmtInfId", values.id }, { "PmtMtd", "TRF" }, { "BtchBookg", "true" }, { "NbOfTxs", count },
    { "CtrlSum", amount(total) }, { "PmtTpInf", { "SvcLvl", { "Cd", "SEPA" } } },
    { "ReqdExctnDt", values.day }, { "Dbtr", { "Nm", bank_text(values.payer.name, 70) } },
    { "DbtrAcct", { "Id", { "IBAN", values.payer.iban } } }, { "DbtrAgt", agent(values.payer.bic) },
    { "ChrgBr", "SLEV" } }
  for _, line in ipairs(values.lines) do
    local transfer = { "CdtTrfTxInf",
      { "PmtId", { "EndToEndId", line.reference } },
      { "Amt", { "InstdAmt", amount(line.minor), attribute = (' Ccy="%s"'):format(line.currency) } } }
    if line.bic and line.bic ~= "" then transfer[#transfer + 1] = { "CdtrAgt", agent(line.bic) } end
    transfer[#transfer + 1] = { "Cdtr", { "Nm", bank_text(line.holder, 70) } }
    transfer[#transfer + 1] = { "CdtrAcct", { "Id", { "IBAN", line.iban } } }
    transfer[#transfer + 1] = { "RmtInf", { "Ustrd", line.reference } }
    payment[#payment + 1] = transfer
  end
  local out = { '<?xml version="1.0" encoding="UTF-8"?>' }
  element({ "Document", { "CstmrCdtTrfInitn",
    { "GrpHdr", { "MsgId", values.id }, { "CreDtTm", values.at }, { "NbOfTxs", count },
      { "CtrlSum", amount(total) }, { "InitgPty", { "Nm", bank_text(values.payer.name, 70) } } },
    payment }, attribute = ' xmlns="urn:iso:std:iso:20022:tech:xsd:pain.001.001.03"' }, 0, out)
  return table.concat(out, "\n") .. "\n"
end

return files
