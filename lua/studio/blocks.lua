--- The studio's page of countries and addresses that may not see the room.
local form = require "footlight.form"
local forms = require "site.forms"
local geo = require "runtime.geo"
local config = require "runtime.config"
local models = require "store.models"
local rooms = require "store.rooms"

local COUNTRIES, NETWORKS = 250, 100

-- ISO 3166-1, as of 2024.
local known = {}
for code in ([[AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
  CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD
  GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM
  KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA
  NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ
  SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU
  WF WS XK YE YT ZA ZM ZW]]):gmatch "%a%a" do known[code] = true end

local function countries_of(text)
  local list, seen = {}, {}
  for word in text:gmatch "[^%s,;]+" do
    local code = word:upper()
    if not known[code] then return nil end
    if not seen[code] then list[#list + 1], seen[code] = code, true end
  end
  table.sort(list)
  return #list <= COUNTRIES and list or nil
end

local function networks_of(text)
  local list = {}
  for word in text:gmatch "[^%s,;]+" do list[#list + 1] = word end
  local good, count = geo.networks(table.concat(list, ","))
  return good and count == #list and count <= NETWORKS and list or nil
end

local blocks_form = form.define {
  { "countries", form.text { max = 1000, optional = true, lines = true, check = function(text)
    if not countries_of(text) then return "blocks.bad_countries" end
  end } },
  { "networks", form.text { max = 4000, optional = true, lines = true, check = function(text)
    if not networks_of(text) then return "blocks.bad_networks" end
  end } },
}

local function model_of(req)
  local model = models.by_account(req.account.id)
  if not model then req:not_found() end
  return model
end

local function page(req, model, shown, status)
  local room = rooms.by_model(model.id)
  return req:render("studio/blocks", { model = model, countries_known = geo.known() or config.get "geo.header" ~= nil,
    form = shown or forms.fresh { countries = room.blocked_countries, networks = room.blocked_networks:gsub(",", "\n") } }, status)
end

return function(site)
  site:group({ prefix = "/studio/blocks", signed_in = true }, function(group)
    group:get("/", { name = "studio_blocks" }, function(req) return page(req, model_of(req)) end)

    group:post("/", function(req)
      local model = model_of(req)
      local values, errors = blocks_form:read(req)
      if errors then return page(req, model, forms.failed(values, errors), 422) end
      rooms.set_blocks(model.id, table.concat(countries_of(values.countries or ""), " "),
        table.concat(networks_of(values.networks or ""), ","))
      req:flash(req.t "blocks.saved", "success")
      return req:redirect "/studio/blocks"
    end)
  end)
end
